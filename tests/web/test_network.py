"""``--host``: reached at another address than loopback, with its token, and by no other name."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from no_time_to_train.web.guards import own_origin
from no_time_to_train.web.running import ANY, listen, origins_of
from tests.app.conftest import finder, pictures  # noqa: F401
from tests.app.serving import Client, served

LOOK = {"image": 0}


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server at every address of this machine, asked at the one that others in the network see."""
    host = address_of_this_machine()
    if host is None:
        pytest.skip("this machine has no address in a network")
    project = tmp_path_factory.mktemp("network") / "project"
    given = [request.getfixturevalue(name) for name in ("pictures", "finder")]
    with served(given[0], project, given[1], host="0.0.0.0") as (_, client):
        assert client.origin.startswith(f"http://{host}:")
        yield client


def address_of_this_machine() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way, suppress(OSError):
        way.connect(("203.0.113.1", 9))
        host = str(way.getsockname()[0])
        return None if ipaddress.ip_address(host).is_loopback else host
    return None


def test_the_printed_address_lets_a_person_in(client: Client) -> None:
    status, headers, _ = client.ask(f"/?token={client.token}", headers={"Cookie": ""})
    assert (status, headers["location"]) == (303, "/")
    assert client.get("/api/state")["images"] == 3
    assert client.ask("/api/view", LOOK)[0] == 200


def test_every_own_address_does(client: Client) -> None:
    port = client.origin.rpartition(":")[2]
    for host in ("127.0.0.1", "127.0.0.2"):  # the second is in no list; Linux alone has it
        near = Client(f"http://{host}:{port}/?token={client.token}")
        try:
            assert near.ask("/api/view", LOOK)[0] == 200
        except OSError:
            assert host == "127.0.0.2"


def test_without_the_token_nobody_is_let_in(client: Client) -> None:
    for path in ("/", "/api/state", "/images/0/view", "/?token=wrong"):
        assert client.ask(path, headers={"Cookie": ""})[0] == 401
    assert client.ask("/api/view", LOOK, {"Cookie": ""})[0] == 401


@pytest.mark.parametrize("host", ["evil.example", "10.1.2.3:{port}", "0.0.0.0:{port}", "{own}", "{own}:1"])
def test_another_host_is_refused_with_the_token_as_well(client: Client, host: str) -> None:
    own, _, port = client.origin.removeprefix("http://").rpartition(":")
    name = host.format(own=own, port=port)
    assert client.ask("/api/state", headers={"Host": name})[0] == 403
    assert client.ask("/api/view", LOOK, {"Host": name})[0] == 403
    assert client.ask("/api/view", LOOK, {"Origin": f"http://{name}"})[0] == 403


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (("192.0.2.7", 80), "http://192.0.2.7:80"),
        (("2001:db8::7", 80), "http://[2001:db8::7]:80"),
        (("::ffff:192.0.2.7", 80), "http://192.0.2.7:80"),
    ],
)
def test_an_address_as_a_browser_writes_it(server: tuple[str, int], expected: str) -> None:
    assert own_origin({"server": server}) == expected


@pytest.mark.parametrize("host", ANY)
def test_every_address_has_one_to_print(host: str) -> None:
    with listen(host, 0) as held:
        first, *others = origins_of(held, host)
    assert urlsplit(first).hostname not in (host, None)
    assert others[-1].startswith("http://localhost:")
