"""A server on one address until Ctrl-C or SIGTERM, which end it in an orderly way."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from no_time_to_train.errors import ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"
ANY = {"0.0.0.0": "198.51.100.1", "::": "2001:db8::1"}
"""Hosts that stand for every address, each with one of another machine (of the documentation's nets)."""

SECONDS_TO_FINISH = 3
"""What requests in flight get when the server is told to stop."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that the address is known before anything is printed.

    Args:
        port: 0 takes any that is free.

    Raises:
        ConfigError: the address is taken, or not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((host, port))
        held.listen(128)
    except (OSError, OverflowError) as error:
        held.close()
        raise ConfigError(
            f"{host}:{port} cannot be listened at ({getattr(error, 'strerror', None) or error}); choose "
            f"another --port or --host"
        ) from None
    return held


def origins_of(listening: socket.socket, host: str) -> tuple[str, ...]:
    """Addresses that a browser may reach a socket at, the one to print first."""
    port = listening.getsockname()[1]
    names = [host, "localhost"] if host == LOOPBACK else [host]
    if host in ANY:
        names = [*_address_in_the_network(ANY[host]), socket.gethostname(), LOOPBACK, "localhost"]
    return tuple(f"http://{f'[{name}]' if ':' in name else name}:{port}" for name in names)


def run_server(
    app: ASGIApp,
    listening: socket.socket,
    on_stop: Callable[[], None],
    *,
    seconds: int = SECONDS_TO_FINISH,
) -> None:
    """Serve until a signal asks to stop; then requests in flight are finished and ``on_stop`` was called.

    Args:
        seconds: that requests in flight get.

    Raises:
        ConfigError: the packages of the extra are not there.
    """
    uvicorn = require_uvicorn()

    class Server(uvicorn.Server):  # type: ignore[name-defined,misc]
        def handle_exit(self, number: int, frame: FrameType | None) -> None:
            on_stop()  # streams that never end by themselves
            super().handle_exit(number, frame)

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=seconds,
        lifespan="off",
    )
    server = Server(config)
    with _signals_end_here(server), listening:
        server.run(sockets=[listening])


def require_uvicorn() -> Any:
    """The module ``uvicorn``.

    Raises:
        ConfigError: it, or Starlette, is not installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ConfigError(
            f"a server needs the package {error.name}: pip install 'no-time-to-train[app]'"
        ) from None
    return uvicorn


@contextmanager
def _signals_end_here(server: Any) -> Iterator[None]:
    """Before the server has handlers of its own, a signal stops it as it begins.

    Uvicorn raises the signal again when it has stopped; by then all is done that it asked for.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    former = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _address_in_the_network(elsewhere: str) -> list[str]:
    """This machine's address towards another one, which is asked nothing: UDP sends no packet to connect."""
    family = socket.AF_INET6 if ":" in elsewhere else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as way:
        way.connect((elsewhere, 9))
        return [str(way.getsockname()[0])]
    return []
