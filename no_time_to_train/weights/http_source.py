"""One HTTP request for a file or the rest of it, with what the server says about the file."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from no_time_to_train.errors import CheckpointError, GatedWeightsError

TIMEOUT = 60  # seconds without a single byte


@dataclass(frozen=True)
class Remote:
    """A file to fetch.

    Attributes:
        url: ``https://`` (``http://`` for mirrors); what follows ``?`` may be a signature and is never shown.
        sha256: all or the first digits of it, where known.
        headers: sent to the host of ``url`` only, not to where it redirects.
    """

    url: str
    sha256: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.url.partition("?")[0]


class NotFoundError(CheckpointError):
    """The server has no such file."""


class DroppedError(Exception):
    """The connection ended before the file did; what came is kept."""


class RangeRefusedError(DroppedError):
    """The server cannot go on from the byte asked for; the file must begin anew."""


def open_remote(remote: Remote, start: int = 0, tag: str = "") -> Any:
    """Ask for the file, or for the rest of it.

    Args:
        start: bytes that are there already.
        tag: ``ETag`` of the version they are of; the server sends the whole file where it has another.

    Returns:
        The response: status 206 where it goes on from ``start``, 200 where it begins anew.

    Raises:
        GatedWeightsError: the server refuses (401, 403).
        NotFoundError: it has no such file.
        DroppedError: worth another attempt.
        CheckpointError: any other refusal.
    """
    headers = {"User-Agent": "no-time-to-train", **remote.headers}
    if start and tag and not tag.startswith("W/"):
        headers |= {"Range": f"bytes={start}-", "If-Range": tag}
    opener = urllib.request.build_opener(_Redirect)
    try:
        return opener.open(urllib.request.Request(remote.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        raise _refusal(remote, error) from error


def _refusal(remote: Remote, error: urllib.error.HTTPError) -> Exception:
    if error.code in (401, 403):
        why = "the link has expired, the name is wrong, or its owner must give permission"
        return GatedWeightsError(f"{remote} answers {error.code}: {why}")
    if error.code == 404:
        return NotFoundError(f"{remote} does not exist (404); check the name")
    if error.code == 416:
        return RangeRefusedError("the part on disk is no part of the file")
    if error.code in (408, 429) or error.code >= 500:
        return DroppedError(f"server answers {error.code}")
    return CheckpointError(f"{remote} answers {error.code} {error.reason}; try another source")


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects; a token goes to no other host, and the hash stated on the way is kept."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise CheckpointError(f"{req.host} redirects to an unencrypted address; refused")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None:
            if urlsplit(req.full_url).netloc != urlsplit(newurl).netloc:
                request.remove_header("Authorization")
            stated = headers.get("X-Linked-Etag") or getattr(req, "stated_etag", "")
            request.stated_etag = stated  # type: ignore[attr-defined]
        return request

    def http_response(self, request: urllib.request.Request, response: Any) -> Any:
        """Put the hash that a redirect stated onto the last answer."""
        response.stated_etag = getattr(request, "stated_etag", "")
        return response

    https_response = http_response


def stated_hash(response: Any) -> str | None:
    """Hugging Face states the SHA-256 of large files, in the redirect's header or as ETag."""
    headers = response.headers
    for stated in (getattr(response, "stated_etag", ""), headers.get("X-Linked-Etag"), headers.get("ETag")):
        digits = (stated or "").removeprefix("W/").strip('"')
        if re.fullmatch(r"[0-9a-f]{64}", digits):
            return digits
    return None


def total_size(response: Any) -> int | None:
    """Bytes of the whole file, where the server says."""
    match = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range") or "")
    length = match[1] if match else response.headers.get("Content-Length")
    return int(length) if length else None
