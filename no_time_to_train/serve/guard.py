"""Who may ask a server that programs talk to, not pages."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from no_time_to_train.web.guards import Access, Guard

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Scope

OPEN = "/health"
"""Answers without a token, for those who only watch."""


@dataclass(frozen=True)
class Caller:
    """What a request must bring.

    Attributes:
        access: addresses and the limit of bytes.
        token: as ``Authorization: Bearer TOKEN``; None, on a loopback address only, asks for none.
    """

    access: Access
    token: str | None = field(default=None, repr=False)


class ProgramGuard(Guard):
    """The guard of the app, for callers without cookies.

    A page of another site can send requests to a loopback address from the user's browser; all such have an
    Origin, which is refused, and those that a foreign name leads here have a foreign Host.
    """

    def __init__(self, app: ASGIApp, caller: Caller) -> None:
        super().__init__(app, caller.access)
        self.caller = caller

    def _fault(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if self.caller.token is None and headers.get(b"host") not in self.access.hosts:
            return 403, "this server answers only to the address that it was started with"
        if b"origin" in headers:
            return 403, "this server is for programs; a page in a browser may not ask it"
        if self.caller.token is not None and scope["path"] != OPEN:
            given = headers.get(b"authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.caller.token.encode()):
                return 401, "this server needs its token: Authorization: Bearer TOKEN"
        length = headers.get(b"content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return 400, "a request's length must be a number"
        if int(length) > self.access.most_bytes:
            return 413, f"a request may hold {self.access.most_bytes} bytes, this one has {length}"
        return None

    def _knows_token(self, scope: Scope) -> bool:
        return True  # settled above, with a sentence of its own
