"""Files of a Hugging Face repository, over plain HTTP."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from no_time_to_train.errors import CheckpointError
from no_time_to_train.weights.checkpoints import FOLDER_FILES, INDEX_SUFFIX
from no_time_to_train.weights.download import download
from no_time_to_train.weights.http_source import NotFoundError, Remote

PREFIX = "hf-hub:"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
TOKEN_VARIABLE = "HF_TOKEN"
DEFAULT_ENDPOINT = "https://huggingface.co"


def download_from_hub(reference: str, folder: Path) -> Path:
    """Fetch the weights of ``<owner>/<name>[@revision]``, all files of a sharded one.

    Args:
        reference: with or without ``hf-hub:``.
        folder: a folder for the repository is made in it.

    Returns:
        The file, or the index of several.

    Raises:
        GatedWeightsError: the repository needs an accepted account (set ``HF_TOKEN`` if you have one).
        CheckpointError: malformed reference, no weights in it, or the download failed.
    """
    name = reference.removeprefix(PREFIX)
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", name)
    if match is None or ".." in name:
        raise CheckpointError(f"{PREFIX}<owner>/<repository>[@revision] was expected, got {reference!r}")
    repository, revision = match[1], match[2] or "main"
    local = folder / name.replace("/", "--")
    here = copy_from_hub(name, folder)
    if here is not None:
        return _complete(repository, revision, local, here)
    for file in FOLDER_FILES:
        try:
            path = download(_remote(repository, revision, file), local / file)
        except NotFoundError:
            continue
        return _complete(repository, revision, local, path)
    raise CheckpointError(
        f"{PREFIX}{name} holds none of {', '.join(FOLDER_FILES)}; give a repository with a checkpoint"
    )


def copy_from_hub(reference: str, folder: Path) -> Path | None:
    """What an earlier :func:`download_from_hub` left in ``folder``, or None."""
    local = folder / reference.removeprefix(PREFIX).replace("/", "--")
    return next((local / file for file in FOLDER_FILES if (local / file).is_file()), None)


def _complete(repository: str, revision: str, local: Path, path: Path) -> Path:
    """Fetch the files that an index names."""
    if path.name.endswith(INDEX_SUFFIX):
        for shard in sorted(set(json.loads(path.read_text())["weight_map"].values())):
            if Path(shard).name != shard:
                raise CheckpointError(f"{path} names {shard!r}, which is not a file beside it; refused")
            download(_remote(repository, revision, shard), local / shard)
    return path


def _remote(repository: str, revision: str, file: str) -> Remote:
    endpoint = os.environ.get(ENDPOINT_VARIABLE, DEFAULT_ENDPOINT).rstrip("/")
    token = os.environ.get(TOKEN_VARIABLE)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Remote(f"{endpoint}/{repository}/resolve/{revision}/{file}", headers=headers)
