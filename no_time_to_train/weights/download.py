"""Download one file: resumed when cut, checked, never half there under its own name."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import shutil
import socket
import time
import urllib.error
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from no_time_to_train.errors import CheckpointError
from no_time_to_train.weights.http_source import (
    DroppedError,
    RangeRefusedError,
    Remote,
    open_remote,
    stated_hash,
    total_size,
)

log = logging.getLogger(__name__)

OFFLINE_VARIABLES = ("NTT_OFFLINE", "HF_HUB_OFFLINE")
CHUNK = 1 << 20


def is_offline() -> bool:
    """Whether the environment forbids downloads (``NTT_OFFLINE=1`` or ``HF_HUB_OFFLINE=1``)."""
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in OFFLINE_VARIABLES)


def download(remote: Remote, target: Path, *, attempts: int = 5, pause: float = 1.0) -> Path:
    """Fetch a file, unless it is there already.

    What came before a cut is kept beside the target as ``.part`` and continued, by this call or the next;
    the target appears only when size and hash are right. Processes that want the same file wait for one.

    Args:
        attempts: how often to go on after a cut connection.
        pause: seconds before the second attempt, doubled for each further one.

    Raises:
        GatedWeightsError: the server refuses (401, 403).
        NotFoundError: it has no such file.
        CheckpointError: offline, unreachable, or another size or hash than stated.
    """
    if target.is_file():
        return target
    if is_offline():
        raise CheckpointError(
            f"{target} is not there and downloads are switched off ({' or '.join(OFFLINE_VARIABLES)} "
            f"is set); fetch {remote} elsewhere and put it there"
        )
    from filelock import FileLock  # comes with torch

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(str(target) + ".lock"):
        if not target.is_file():  # another process may have fetched it meanwhile
            _download(remote, target, attempts, pause)
    Path(str(target) + ".lock").unlink(missing_ok=True)
    return target


def _download(remote: Remote, target: Path, attempts: int, pause: float) -> None:
    part = target.with_name(target.name + ".part")
    for attempt in range(1, attempts + 1):
        try:
            sha256 = _fetch(remote, part)
            break
        except (DroppedError, http.client.HTTPException, OSError) as error:
            if isinstance(error, RangeRefusedError):
                part.unlink(missing_ok=True)
            if attempt == attempts or _is_without_network(error):
                raise CheckpointError(
                    f"{remote} could not be fetched ({_reason(error)}); check the network or set a mirror, "
                    "then run again: what came is kept and continued"
                ) from error
            log.info("%s: %s; going on", target.name, _reason(error))
            time.sleep(pause * 2 ** (attempt - 1))
    _check_hash(part, remote, sha256)
    _tag_of(part).unlink(missing_ok=True)
    part.replace(target)


def _is_without_network(error: Exception) -> bool:
    """True when the server's name is not known here: waiting a few seconds does not help."""
    return isinstance(error, urllib.error.URLError) and isinstance(error.reason, socket.gaierror)


def _fetch(remote: Remote, part: Path) -> str | None:
    """Fetch what is missing of ``part``; return the SHA-256 that the server states, if it does.

    Raises:
        DroppedError: the connection ended early.
    """
    tag = _tag_of(part).read_text() if _tag_of(part).is_file() else ""
    have = part.stat().st_size if part.is_file() else 0
    with open_remote(remote, have, tag) as response:
        total = total_size(response)
        resumed = response.status == 206
        start = have if resumed else 0
        _check_space(part, remote, (total or 0) - start)
        _tag_of(part).write_text(response.headers.get("ETag") or "")
        with part.open("ab" if resumed else "wb") as file, _progress(remote, total, start) as bar:
            _copy(response, file, bar)
        size = part.stat().st_size
        if total is not None and size < total:
            raise DroppedError(f"connection cut after {size} of {total} bytes")
        if total is not None and size > total:
            part.unlink()
            raise CheckpointError(f"{remote} should be {total} bytes, {size} came; it was deleted, run again")
        return stated_hash(response)


def _check_space(part: Path, remote: Remote, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise CheckpointError(
            f"{remote} needs {needed / 1e9:.1f} GB in {part.parent}, where {free / 1e9:.1f} GB are free; "
            "make room, or set NTT_CHECKPOINTS to another folder"
        )


def _copy(response: Any, file: IO[bytes], bar: Any) -> None:
    try:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
    except http.client.IncompleteRead as error:
        file.write(error.partial)
        raise DroppedError("connection cut") from error


def _check_hash(part: Path, remote: Remote, stated: str | None) -> None:
    expected = [digits.lower() for digits in (remote.sha256, stated) if digits]
    if not expected:
        log.info("%s: no SHA-256 is published, only its size was checked", remote)
        return
    found = sha256_of(part)
    wrong = [digits for digits in expected if not found.startswith(digits)]
    if wrong:
        part.unlink()
        _tag_of(part).unlink(missing_ok=True)
        raise CheckpointError(
            f"{remote} should have a SHA-256 that starts with {wrong[0]}, got {found}; the file was deleted, "
            "run again or take another source"
        )


def sha256_of(path: Path) -> str:
    """Hex digits of the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _progress(remote: Remote, total: int | None, start: int) -> Any:
    from tqdm import tqdm

    size = f", {total / 1e6:.0f} MB" if total else ""
    log.info("downloading %s%s", remote, f"{size}, from byte {start}" if start else size)
    name = Path(urlsplit(remote.url).path).name
    # None: no bar where standard error is no terminal
    return tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=name, disable=None)


def _tag_of(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", "") or error) or type(error).__name__
