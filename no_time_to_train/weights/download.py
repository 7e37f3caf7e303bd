"""Download one file from its address: resumed when cut, checked, never half there under its own name."""

from __future__ import annotations

import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from no_time_to_train.errors import CheckpointError, GatedWeightsError
from no_time_to_train.weights.arrival import (
    HASH,
    NotFoundError,
    accept,
    arriving,
    check_space,
    not_fetched,
    reason_of,
    shown,
    within,
)

log = logging.getLogger(__name__)

CHUNK = 1 << 18
TIMEOUT = 10.0  # seconds for a connection, and without a single byte
WINDOW = 60.0  # seconds over which a connection must keep up
SLOWEST = 20_000  # bytes a second
STRONG_TAG = re.compile(r'"[!#-~]*"')
"""An ``ETag`` that stands for the very bytes (RFC 9110, section 8.8.3); a weak one starts with ``W/``."""


class DroppedError(Exception):
    """The connection ended before the file did; what came is kept."""


class UnreachableError(DroppedError):
    """There was no answer at all: trying again at once does not help."""


class OtherVersionError(DroppedError):
    """What came before is no part of this file: it must begin anew."""


def download(
    url: str, target: Path, sha256: str | None = None, *, attempts: int = 5, pause: float = 1.0
) -> Path:
    """Fetch a weights file, unless it is there already.

    What came before a cut is kept beside the target as ``.part`` and continued, by this call or the next;
    the target appears only when size and hash are right. Processes that want the same file wait for one.

    Args:
        url: ``https://`` (``http://`` for mirrors); what follows ``?`` may be a signature and is never shown.
        sha256: all or the first digits of it, where known.
        attempts: how often to go on after a cut connection.
        pause: seconds before the second attempt, doubled for each further one.

    Raises:
        GatedWeightsError: the server refuses (401, 403).
        NotFoundError: it has no such file.
        CheckpointError: offline, unreachable, too slow, another size or hash than stated, or no weights.
    """
    source = shown(url)
    with arriving(target, source) as wanted:
        if wanted:
            part = target.with_name(target.name + ".part")
            stated = _fetch_all(url, target, part, attempts, pause)
            try:
                accept(part, target, source, sha256, stated)
            finally:
                _tag_of(part).unlink(missing_ok=True)
    return target


def _fetch_all(url: str, target: Path, part: Path, attempts: int, pause: float) -> str | None:
    """Go on until the file is whole; return the SHA-256 that the server states, if it does."""
    for attempt in range(1, attempts + 1):
        try:
            return _fetch(url, part)
        except DroppedError as error:
            if isinstance(error, OtherVersionError):
                part.unlink(missing_ok=True)
            if attempt == attempts or (attempt == 1 and isinstance(error, UnreachableError)):
                raise not_fetched(shown(url), error, target) from error
            log.info("%s: %s; going on", part.stem, reason_of(error))
            time.sleep(pause * 2 ** (attempt - 1))
    raise AssertionError("attempts must be at least 1")


def _fetch(url: str, part: Path) -> str | None:
    """Fetch what is missing of ``part``."""
    tag = _tag_of(part).read_text("latin-1") if _tag_of(part).is_file() else ""
    have = part.stat().st_size if part.is_file() and STRONG_TAG.fullmatch(tag) else 0
    redirects = _Redirects()
    with _open(url, redirects, have, tag) as response:
        start, total = _extent(response, shown(url), have, tag)
        check_space(part.parent, shown(url), total - start)
        _tag_of(part).write_text(response.headers.get("ETag") or "", "latin-1", "replace")
        with part.open("ab" if start else "wb") as file, _progress(shown(url), total, start) as bar:
            _copy(response, file, bar)
        size = part.stat().st_size
        if size < total:
            raise DroppedError(f"connection cut after {size} of {total} bytes")
        own = STRONG_TAG.fullmatch(response.headers.get("ETag") or "")
        stated = (redirects.stated or response.headers.get("X-Linked-Etag") or (own[0] if own else "")).strip(
            '"'
        )
        return stated if HASH.fullmatch(stated) else None


def _open(url: str, redirects: _Redirects, start: int, tag: str) -> Any:
    """Ask for the file, or for the rest of it from byte ``start`` on where it has the same ``tag``."""
    headers = {"User-Agent": "no-time-to-train"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": tag}
    try:
        if not _is_web(url):
            raise ValueError("no https address")
        request = urllib.request.Request(url, headers=headers)
        opener = urllib.request.build_opener(redirects)
        return within(WINDOW, lambda: opener.open(request, timeout=TIMEOUT))  # headers may drip as well
    except CheckpointError:
        raise  # of a redirect
    except urllib.error.HTTPError as error:
        raise _refusal(shown(url), error) from error
    except (ValueError, http.client.InvalidURL) as error:
        raise CheckpointError(
            f"{shown(url)} is, or leads to, an address that cannot be opened ({reason_of(error)}); give one "
            "that starts with https://"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(reason_of(error)) from error


def _refusal(source: str, error: urllib.error.HTTPError) -> Exception:
    if error.code in (401, 403):
        why = "the link has expired, the name is wrong, or its owner must give permission"
        return GatedWeightsError(f"{source} answers {error.code}: {why}")
    if error.code == 404:
        return NotFoundError(f"{source} does not exist (404); check the name")
    if error.code == 416:
        return OtherVersionError("the part on disk is no part of the file")
    if error.code in (408, 429) or error.code >= 500:
        return DroppedError(f"server answers {error.code}")
    return CheckpointError(f"{source} answers {error.code} ({reason_of(error)}); try another source")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and keeps the hash that Hugging Face states on the way."""

    stated = ""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not _is_web(newurl) or (_is_web(req.full_url, "https") and not _is_web(newurl, "https")):
            raise CheckpointError(f"{req.host} redirects to an address that is not https; refused")
        self.stated = headers.get("X-Linked-Etag") or self.stated
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_web(url: str, *schemes: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in (schemes or ("https", "http")) and bool(parts.hostname)


def _extent(response: Any, source: str, have: int, tag: str) -> tuple[int, int]:
    """First byte that comes and size of the whole file.

    Raises:
        OtherVersionError: the server goes on elsewhere, or with another file.
        CheckpointError: it does not say how long the file is, so that a cut would not be seen.
    """
    headers = response.headers
    if response.status == 206:
        extent = re.fullmatch(r"bytes (\d{1,15})-\d{1,15}/(\d{1,15})", headers.get("Content-Range") or "")
        if not extent or not have or int(extent[1]) != have or headers.get("ETag", tag) != tag:
            raise OtherVersionError("the server went on with another part than was asked for")
        return have, int(extent[2])
    length = headers.get("Content-Length") or ""
    if response.status != 200 or not re.fullmatch(r"\d{1,15}", length):
        raise CheckpointError(
            f"{source} answers {response.status} and states no length; fetch the file by other means and "
            "give its path"
        )
    return 0, int(length)


def _copy(response: Any, file: IO[bytes], bar: Any) -> None:
    end, came = time.monotonic() + WINDOW, 0
    while chunk := _receive(response):
        file.write(chunk)
        bar.update(len(chunk))
        came += len(chunk)
        if time.monotonic() > end:
            if came < SLOWEST * WINDOW:
                raise DroppedError(f"fewer than {SLOWEST / 1000:.0f} kB a second came")
            end, came = time.monotonic() + WINDOW, 0


def _receive(response: Any) -> bytes:
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise DroppedError(reason_of(error)) from error


def _progress(source: str, total: int, start: int) -> Any:
    from tqdm import tqdm

    log.info("downloading %s, %.0f MB%s", source, total / 1e6, f", from byte {start}" if start else "")
    # None: no bar where standard error is no terminal
    name = source.rpartition("/")[2]
    return tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=None)


def _tag_of(part: Path) -> Path:
    return part.with_name(part.name + ".etag")
