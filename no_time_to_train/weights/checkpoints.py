"""Read a checkpoint file without running code from it; say in one sentence what is wrong with a bad one."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from no_time_to_train.errors import CheckpointError

if TYPE_CHECKING:  # whoever only asks what is there does not wait for PyTorch
    from torch import Tensor

INDEX_SUFFIX = ".index.json"
FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def read_checkpoint(path: str | Path) -> Any:
    """Read what a checkpoint holds, onto the CPU.

    Args:
        path: ``.pth``, ``.pt``, ``.bin``, ``.ckpt`` or ``.safetensors`` (told apart by content, not name),
            the ``.index.json`` of a sharded one, or the folder of a Hugging Face download.

    Returns:
        The nested dicts as stored; a flat dict of tensors for safetensors.

    Raises:
        CheckpointError: missing, damaged, no checkpoint at all, or one that could run code when read.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise CheckpointError(
            f"there is no weights file {path} (looked in {Path.cwd()}); check the path, or give 'auto'"
        )
    if path.is_dir():
        path = _file_in_folder(path)
    if path.name.endswith(INDEX_SUFFIX):
        return _read_shards(path)
    head = _checked_head(path)
    if is_safetensors(head, path.stat().st_size):
        return _read_safetensors(path)
    return _read_torch(path, is_zip=head.startswith(b"PK"))


def _file_in_folder(folder: Path) -> Path:
    if (folder / ".metadata").is_file() or any(folder.glob("*.distcp")):
        raise CheckpointError(
            f"{folder} is a distributed (DCP) checkpoint, whose metadata is pickled code; if you trust where "
            f"it comes from, convert it once with: python -m torch.distributed.checkpoint.format_utils "
            f"dcp_to_torch {folder} weights.pth"
        )
    for name in FOLDER_FILES:
        if (folder / name).is_file():
            return folder / name
    held = sorted(item.name for item in folder.iterdir())
    raise CheckpointError(
        f"{folder} is a folder; give the weights file itself (the folder holds "
        f"{', '.join(held[:5]) if held else 'nothing'})"
    )


def check_weights_file(path: Path, source: str) -> None:
    """Whether what came from ``source`` is a whole weights file by its form; its tensors are not read.

    Raises:
        CheckpointError: empty, a web page, another answer, or cut short.
    """
    head = _checked_head(path, source)
    if is_safetensors(head, path.stat().st_size):
        try:
            with safe_open(str(path), framework="pt"):
                return
        except SafetensorError as error:
            raise CheckpointError(f"{source} sent a damaged safetensors file ({error}); run again") from error
    if not (zipfile.is_zipfile(path) or head.startswith(b"\x80")):
        raise CheckpointError(
            f"{source} sent no weights but {path.stat().st_size} bytes that begin with {head[:20]!r}; look "
            "at the address in a browser, or take another source"
        )


def _checked_head(path: Path, source: str = "") -> bytes:
    """The first bytes of a file that may be a checkpoint."""
    with path.open("rb") as file:
        head = file.read(1024)
    size, name = path.stat().st_size, source or str(path)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise CheckpointError(f"{name} is empty; download it again")
    if head.startswith(LFS_POINTER):
        raise CheckpointError(
            f"{name} is a Git LFS pointer ({size} bytes), not the weights; run 'git lfs pull' in its "
            "repository, or download the file itself"
        )
    if start.startswith(b"<"):
        raise CheckpointError(_web_page_message(name, head))
    return head


def _web_page_message(path: str, head: bytes) -> str:
    text = head.decode("utf-8", "replace")
    denied = re.search(r"access\s*denied|forbidden|expired", text, re.IGNORECASE)
    kind = "an XML error answer" if "<?xml" in text or "<Error" in text else "a web page (HTML)"
    why = f" that says {denied.group(0)!r}" if denied else ""
    return (
        f"{path} is {kind}{why}, not weights: the link had expired, needs a login, or leads to a page; "
        "download the file itself again (signed links expire after some days)"
    )


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether the file starts as safetensors do: the header's length in eight bytes, then a JSON object.

    A zip or a pickle has something else in the ninth byte; the first ones prove nothing, since a length may
    well begin with the byte that pickles begin with.

    Args:
        head: at least the first nine bytes.
        size: of the file.
    """
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < max(size, 100_000_000)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _read_shards(index: Path) -> dict[str, Tensor]:
    """Join the files that a ``weight_map`` names."""
    shards = shard_names(index)
    missing = [name for name in shards if not (index.parent / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{index} needs {len(shards)} files beside it, of which {len(missing)} are missing "
            f"({', '.join(missing[:3])}); download them too"
        )
    state: dict[str, Tensor] = {}
    for name in shards:
        state |= read_checkpoint(index.parent / name)
    return state


def shard_names(index: Path) -> list[str]:
    """The files that the ``.index.json`` of a sharded checkpoint names.

    Raises:
        CheckpointError: no index, or one that names something else than weights beside it.
    """
    try:
        shards = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{index} should be an index with a weight_map; download it again") from error
    for name in shards:
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*\.(safetensors|bin)", name):
            raise CheckpointError(f"{index} names {name!r}, which is no weights file beside it; refused")
    return shards


def _read_torch(path: Path, is_zip: bool) -> Any:
    import torch

    if is_zip and _is_torchscript(path):
        raise CheckpointError(
            f"{path} is a TorchScript program, which runs code when loaded; give a state dict instead"
        )
    try:
        if path.suffix == ".safetensors":  # torch.load would go by the name
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip or None)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)", str(error))
        if found is None and not is_zip:
            raise _damaged(path, error) from error
        name = next((group for group in found.groups() if group), "") if found else "unknown objects"
        raise CheckpointError(
            f"{path} holds pickled Python objects ({name}) beside tensors, and reading them could run code; "
            "if you trust it, load it where it was made and save its state dict as .safetensors"
        ) from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise _damaged(path, error) from error


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return False  # damaged, which whoever reads it says


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    return CheckpointError(
        f"{path} is damaged, cut short or no checkpoint at all ({path.stat().st_size} bytes; {reason}); "
        "compare its size with the source and download it again"
    )
