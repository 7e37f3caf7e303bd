"""Files of a Hugging Face repository, through ``huggingface_hub``: its token, its cache and its protocols."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from no_time_to_train.errors import CheckpointError, GatedWeightsError
from no_time_to_train.weights.arrival import (
    HASH,
    NotFoundError,
    accept,
    arriving,
    check_space,
    not_fetched,
    within,
)
from no_time_to_train.weights.checkpoints import FOLDER_FILES, INDEX_SUFFIX, shard_names
from no_time_to_train.weights.download import SLOWEST, TIMEOUT, WINDOW

PREFIX = "hf-hub:"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
DEFAULT_ENDPOINT = "https://huggingface.co"


def download_from_hub(reference: str, folder: Path) -> Path:
    """Fetch the weights of ``<owner>/<name>[@revision]``, all files of a sharded one.

    Args:
        reference: with or without ``hf-hub:``.
        folder: a folder for the repository is made in it.

    Returns:
        The file, or the index of several.

    Raises:
        GatedWeightsError: the repository needs an accepted account (log in, or set ``HF_TOKEN``).
        CheckpointError: malformed reference, no weights in it, or the download failed.
    """
    name = reference.removeprefix(PREFIX)
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if match is None or ".." in name:
        raise CheckpointError(f"{PREFIX}<owner>/<repository>[@revision] was expected, got {reference!r}")
    repository, revision = match[1], match[2] or "main"
    here = copy_from_hub(name, folder)
    if here is not None:
        return here
    local = folder_of(name, folder)
    for file in FOLDER_FILES:
        try:
            path = _fetch(repository, revision, file, local)
        except NotFoundError:
            continue
        for shard in shard_names(path) if file.endswith(INDEX_SUFFIX) else ():
            _fetch(repository, revision, shard, local)
        return path
    raise CheckpointError(
        f"{PREFIX}{name} holds none of {', '.join(FOLDER_FILES)}; give a repository with a checkpoint"
    )


def copy_from_hub(reference: str, folder: Path) -> Path | None:
    """What an earlier :func:`download_from_hub` left whole in ``folder``, or None."""
    local = folder_of(reference, folder)
    return next((local / file for file in FOLDER_FILES if _is_whole(local / file)), None)


def folder_of(reference: str, folder: Path) -> Path:
    """The repository's folder in ``folder``."""
    return folder / reference.removeprefix(PREFIX).replace("/", "--")


def address_of(repository: str, revision: str = "main", file: str = FOLDER_FILES[0]) -> str:
    """Where a file of a repository is to be had."""
    return f"{_endpoint()}/{repository}/resolve/{revision}/{file}"


def _endpoint() -> str:
    return (os.environ.get(ENDPOINT_VARIABLE) or DEFAULT_ENDPOINT).rstrip("/")


def _is_whole(path: Path) -> bool:
    if not (path.is_file() and path.name.endswith(INDEX_SUFFIX)):
        return path.is_file()
    try:
        return all((path.parent / name).is_file() for name in shard_names(path))
    except CheckpointError:
        return True  # whoever reads it says what is wrong


def _fetch(repository: str, revision: str, file: str, local: Path) -> Path:
    """Fetch one file into ``local``, unless it is there."""
    target, url = local / file, address_of(repository, revision, file)
    with arriving(target, url) as wanted:
        if wanted:
            prefix = f".coming-{file}-"
            for left in local.glob(f"{prefix}*"):  # by a process that was killed
                shutil.rmtree(left)
            coming = Path(mkdtemp(prefix=prefix, dir=local))
            try:
                path, etag = _asked(url, target, lambda: _receive(repository, revision, file, coming))
                if file.endswith(INDEX_SUFFIX):
                    shard_names(path)
                    path.replace(target)
                else:
                    accept(path, target, url, etag if HASH.fullmatch(etag) else None)
            finally:
                shutil.rmtree(coming, ignore_errors=True)
    return target


def _receive(repository: str, revision: str, file: str, coming: Path) -> tuple[Path, str]:
    """The file, and the ETag that the server states for it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download

    facts = get_hf_file_metadata(address_of(repository, revision, file), timeout=TIMEOUT)
    if facts.size is None:
        raise ValueError("the server states no length")
    check_space(coming, address_of(repository, revision, file), facts.size)
    fetch = partial(
        hf_hub_download,
        repository,
        file,
        revision=revision,
        local_dir=coming,
        endpoint=_endpoint(),
        etag_timeout=TIMEOUT,
    )
    path = within(WINDOW + facts.size / SLOWEST, fetch)
    return Path(path), facts.etag or ""


def _asked(url: str, target: Path, work: Callable[[], Any]) -> Any:
    """The library's errors, which differ between its versions, as ours.

    Raises:
        GatedWeightsError, NotFoundError, CheckpointError: in one sentence.
    """
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        return work()
    except CheckpointError:
        raise
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 404 and not isinstance(error, RepositoryNotFoundError | RevisionNotFoundError):
            raise NotFoundError(f"{url} does not exist (404); check the name") from error
        if status in (401, 403) or isinstance(error, RepositoryNotFoundError):
            why = "the name is wrong, or its owner must give permission (log in, or set HF_TOKEN)"
            raise GatedWeightsError(f"{url} answers {status}: {why}") from error
        raise not_fetched(url, error, target) from error
