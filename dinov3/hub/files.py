"""Where the weights of a hub model come from: a published file, a local path or a URL."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import url2pathname

import torch
from torch import Tensor

REQUEST_FORM = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/"


class PublishedFile(NamedTuple):
    """A checkpoint that Meta gives out on request."""

    arch: str
    dataset: str
    hash: str

    @property
    def name(self) -> str:
        """File name as published."""
        return f"dinov3_{self.arch}_pretrain_{self.dataset}-{self.hash}.pth"

    def find(self) -> Path:
        """Return the file in torch hub's checkpoint folder.

        Raises:
            FileNotFoundError: naming the file and the ways to get it.
        """
        path = checkpoint_folder() / self.name
        if not path.is_file():
            raise FileNotFoundError(
                f"the weights {self.name} were expected at {path} and are not there: ask for them at "
                f"{REQUEST_FORM} and put the file there, or pass weights= with its path or the signed URL "
                "from the answer, or pretrained=False for a model without weights"
            )
        return path


def read_state_dict(
    source: str | Path, check_hash: bool = False, file_hash: str | None = None
) -> dict[str, Tensor]:
    """Read a state dict onto the CPU, without running any code that the file may hold.

    Args:
        source: a local path, a ``file://`` URL, or an ``https://`` URL, which is downloaded into torch hub's
            checkpoint folder unless a file of that name is there.
        check_hash: compare the SHA-256 with the eight hex digits in the name, or with ``file_hash``.
        file_hash: first hex digits of the SHA-256.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: at another hash, or where no hash is known.
        PermissionError: where the server refuses.
    """
    url = urlparse(str(source))
    if url.scheme == "https":
        path = download(str(source), check_hash, file_hash)
    else:
        path = Path(url2pathname(url.path) if url.scheme == "file" else source).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"weights must be a file or an https:// or file:// URL, got {str(source)!r}")
    if check_hash:
        check_sha256(path, file_hash)
    return torch.load(path, map_location="cpu", weights_only=True)


def check_sha256(path: Path, file_hash: str | None = None) -> None:
    """Compare the SHA-256 of a file with ``file_hash``, or else with the hex digits in its name.

    Raises:
        ValueError: if they differ, or neither is there.
    """
    expected = file_hash or hash_in_name(path)
    if expected is None:
        raise ValueError(f"check_hash=True wants a name such as model-08c60483.pth or hash=, got {path.name}")
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    if not sha256.hexdigest().startswith(expected.lower()):
        raise ValueError(
            f"{path.name} should have a SHA-256 that starts with {expected}, got {sha256.hexdigest()}; "
            "the file is damaged or another one, so get it again"
        )


def download(url: str, check_hash: bool = False, file_hash: str | None = None) -> Path:
    """Return the file of an ``https://`` URL in torch hub's checkpoint folder, fetched if it is not there.

    The URL is not shown: a signed one is as good as a password.

    Raises:
        PermissionError: where the server refuses.
    """
    path = checkpoint_folder() / Path(urlparse(url).path).name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        hash_prefix = (file_hash or hash_in_name(path)) if check_hash else None
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix)
        except HTTPError as error:
            if error.code not in (401, 403):
                raise
            raise PermissionError(
                f"the server refuses {path.name} ({error.code}): a signed URL is valid for some days only, "
                f"so ask for a new one at {REQUEST_FORM}"
            ) from None
    return path


def checkpoint_folder() -> Path:
    """Where torch hub keeps files."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def hash_in_name(path: Path) -> str | None:
    """The hex digits of a name such as ``model-08c60483.pth``."""
    found = re.search(r"-([0-9a-f]{8,64})\.", path.name)
    return found.group(1) if found else None
