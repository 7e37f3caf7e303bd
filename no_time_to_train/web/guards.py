"""Who may ask: checked before anything else, for every request that reaches a server.

A page in the user's own browser is the danger on a loopback address: another site may send requests there
(the wrong Origin), or bring its own name to resolve to it (the wrong Host).
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 32 * 2**20
"""Of the body of one request."""

READS = ("GET", "HEAD")

POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


@dataclass(frozen=True)
class Access:
    """Who may ask one server.

    Attributes:
        origins: the addresses that it is reached at, ``http://127.0.0.1:8000``; a Host header must be the
            host and port of one of them, or of :func:`own_origin`, and so must the Origin of a write.
        token: given in the address once, kept in a cookie then.
        write_header: name and value of a header that a write needs, which no form and no foreign page sends.
        most_bytes: of the body of one request.
    """

    origins: tuple[str, ...]
    token: str = field(default_factory=lambda: token_urlsafe(24), repr=False)
    write_header: tuple[str, str] = ("X-NTT", "1")
    most_bytes: int = MOST_BYTES

    @property
    def cookie(self) -> str:
        """Its name has the port, of which cookies know nothing: two servers may run on one machine."""
        return f"ntt-{self.origins[0].rpartition(':')[2]}"

    @property
    def hosts(self) -> set[str]:
        """Host headers that are answered."""
        return {origin.partition("//")[2] for origin in self.origins}

    @property
    def address(self) -> str:
        """What a person opens first."""
        return f"{self.origins[0]}/?token={self.token}"


class Guard:
    """ASGI middleware that answers for what :class:`Access` does not allow, and adds the security headers.

    403 for a foreign Host or Origin, 401 without the token, 413 for a body that is too long.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a WebSocket is refused by closing it
        send = _with_headers(send)
        fault = self._fault(scope)
        if fault is not None:
            await _answer(send, *fault)
        elif scope["method"] in READS and scope["path"] == "/" and "token" in _query(scope):
            await self._enter(scope, send)
        elif not self._knows_token(scope):
            await _answer(send, 401, "open the address that was printed at the start; it holds the token")
        else:
            await self._limited(scope, receive, send)

    def _fault(self, scope: Scope) -> tuple[int, str] | None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        origins = (*self.access.origins, own_origin(scope))
        if len(hosts) != 1 or f"http://{_text(hosts[0])}" not in origins:
            return 403, "this server answers only to the address that it was started with"
        if scope["method"] in READS:
            return None
        if _header(scope, "origin") not in origins:
            return 403, "a change must come from this server's own page (its Origin is another)"
        name, value = self.access.write_header
        if _header(scope, name) != value:
            return 403, f"a change needs the header {name}: {value}"
        length = _header(scope, "content-length") or "0"
        if not length.isascii() or not length.isdigit():
            return 400, "a request's length must be a number"
        if int(length) > self.access.most_bytes:
            return 413, f"a request may hold {self.access.most_bytes} bytes, this one has {length}"
        return None

    async def _enter(self, scope: Scope, send: Send) -> None:
        """Change the token of the address into a cookie, so that it does not stay in the address bar."""
        query = _query(scope)
        if not self._is_token(query.pop("token")):
            await _answer(send, 401, "this token is of an earlier start; open the address printed last")
            return
        cookie = f"{self.access.cookie}={self.access.token}; Path=/; HttpOnly; SameSite=Strict"
        place = f"/?{urlencode(query)}" if query else "/"
        headers = [(b"location", place.encode()), (b"set-cookie", cookie.encode())]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _knows_token(self, scope: Scope) -> bool:
        # Not http.cookies, which gives up at the first cookie of another program that it does not like.
        pairs = (part.strip().partition("=") for part in (_header(scope, "cookie") or "").split(";"))
        return any(name == self.access.cookie and self._is_token(value) for name, _, value in pairs)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.access.token.encode())

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request with its body, which is short enough whatever its length header says."""
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.access.most_bytes:
                await _answer(send, 413, f"a request may hold {self.access.most_bytes} bytes")
                return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def read() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, read, send)


def own_origin(scope: Scope) -> str:
    """The address of this machine that a connection came to, ``http://192.168.1.5:8000``.

    A server that listens at every address does not know them all beforehand. A foreign name that resolves to
    one of them is another Host, so it stays refused.
    """
    host, port = scope["server"]
    host = host.removeprefix("::ffff:")  # IPv4, seen through an IPv6 socket
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _with_headers(send: Send) -> Send:
    async def extended(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await send(message)

    return extended


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _header(scope: Scope, name: str) -> str | None:
    wanted = name.lower().encode()
    return next((_text(value) for key, value in scope["headers"] if key == wanted), None)


def _query(scope: Scope) -> dict[str, Any]:
    return dict(parse_qsl(_text(scope["query_string"]), keep_blank_values=True))


def _text(value: bytes) -> str:
    return value.decode("latin-1")
