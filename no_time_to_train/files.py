"""Files that are there whole or not at all, under names that every disk can hold."""

from __future__ import annotations

import codecs
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from no_time_to_train.own_files import digest_of, owner_of, sha256_of

if TYPE_CHECKING:
    from PIL.Image import Image

FORMULA = ("=", "+", "-", "@", "\t", "\r")
LONGEST_NAME = 180
"""Bytes of one name in a path; disks hold 255, and exports put their own endings behind it."""

RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in range(10))}
"""Names that Windows keeps for devices."""


@contextmanager
def whole_file(
    path: str | Path, mode: str = "w", newline: str | None = None, *, durable: bool = True
) -> Iterator[IO[Any]]:
    """Open a file that appears under its name when the block ends, and never when it fails.

    Until then the content is in a hidden file beside it; it is on the disk before it gets the name, so that
    neither a killed run nor a power cut leaves half a file. Folders are made. In the folder of a run only
    own files are replaced, see ``own_files``.

    Args:
        mode: ``w`` for UTF-8 text, ``wb`` for bytes.
        newline: as ``open`` has it; csv files want ``""``.
        durable: also after a power cut; not for what is made again in a moment, since it takes time.

    Raises:
        ConfigError: a file of somebody else has that name.
    """
    target = on_disk(path)
    own = owner_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex[:8]}.part")
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace"}
    try:
        with partial.open(mode, newline=newline, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if own is not None:
            own.note(target, sha256_of(partial))
        partial.replace(target)
    except OSError as error:
        if error.filename in (None, str(partial)):  # a full disk names no file
            error.filename = str(target)
        raise
    finally:
        partial.unlink(missing_ok=True)


def place_link(path: str | Path, leads_to: Path) -> None:
    """Lay a symbolic link, in place of an own one.

    Raises:
        OSError: the disk, or Windows, has none.
    """
    target = on_disk(path)
    own = owner_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex[:8]}.part")
    try:
        partial.symlink_to(leads_to)
        if own is not None:
            own.note(target, digest_of(partial))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def on_disk(path: str | Path) -> Path:
    """A path as this machine's locale wants it; bytes that are no UTF-8 stay as they are."""
    try:
        return Path(os.fsdecode(str(path).encode("utf-8", "surrogateescape")))
    except UnicodeEncodeError:  # half a surrogate pair, which no disk holds
        return Path(path)


def readable(name: str) -> str:
    """A file name as text that every file can hold: what is no UTF-8 in it comes as ``%FF``."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "percent")
    except UnicodeEncodeError:  # half a surrogate pair, as json may have
        return name.encode("utf-8", "replace").decode()


def _percent(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"%{byte:02X}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error("percent", _percent)


def safe_name(name: str, forbidden: str = "") -> str:
    """One name of a path as every disk can hold it: control and ``forbidden`` letters become underscores.

    A long one is cut, with a hash of the whole at its end.
    """
    cleaned = "".join("_" if ord(letter) < 32 or letter in forbidden else letter for letter in readable(name))
    encoded = cleaned.encode()
    if len(encoded) <= LONGEST_NAME:
        return cleaned
    return f"{encoded[: LONGEST_NAME - 9].decode(errors='ignore')}~{sha256(encoded).hexdigest()[:8]}"


def table_row(cells: Iterable[Any]) -> list[Any]:
    """Cells of a CSV row; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return [f"'{cell}" if isinstance(cell, str) and cell[:1] in FORMULA else cell for cell in cells]


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a whole file of bytes."""
    with whole_file(path, "wb") as file:
        file.write(content)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole UTF-8 text file."""
    with whole_file(path) as file:
        file.write(text)


def write_json(path: str | Path, value: Any, indent: int | None = None) -> None:
    """Write a whole json file."""
    write_text(path, json.dumps(value, indent=indent))


def write_picture(path: str | Path, picture: Image, **options: Any) -> None:
    """Write a whole picture in the format of its suffix; ``options`` are Pillow's."""
    kinds = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
    content = io.BytesIO()  # given a file, Pillow does not see that a full disk took a part of its bytes only
    picture.save(content, kinds.get(Path(path).suffix.lower(), "PNG"), **options)
    with whole_file(path, "wb", durable=False) as file:
        file.write(content.getbuffer())
