"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")


@contextmanager
def whole_file(path: str | Path, mode: str = "w", newline: str | None = None) -> Iterator[IO[Any]]:
    """Open a file that appears under its name when the block ends, and never when it fails.

    Until then the content is in a hidden file beside it; it is on the disk before it gets the name, so that
    neither a killed run nor a power cut leaves half a file. Folders are made.

    Args:
        mode: ``w`` for UTF-8 text, ``wb`` for bytes.
        newline: as ``open`` has it; csv files want ``""``.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name[:80]}.{uuid.uuid4().hex[:8]}.part")
    try:
        with partial.open(mode, encoding=None if "b" in mode else "utf-8", newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


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
