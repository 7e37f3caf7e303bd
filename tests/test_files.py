"""A file is there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.files import (
    table_row,
    whole_file,
    write_bytes,
    write_json,
    write_picture,
    write_text,
)


def test_what_is_written_is_what_lies_there(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "\N{LATIN SMALL LETTER E WITH ACUTE}")
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\xc3\xa9"
    write_bytes(tmp_path / "b", b"\0\xff")
    assert (tmp_path / "b").read_bytes() == b"\0\xff"
    write_json(tmp_path / "c.json", {"a": [1]})
    assert json.loads((tmp_path / "c.json").read_text()) == {"a": [1]}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "b", "c.json", "new"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(TypeError), whole_file(tmp_path / "a.txt") as file:
        file.write(b"bytes where text is wanted")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.txt", {"a": object()})
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum", "\tx", "a=b", ""])
def test_a_table_holds_no_formula(name: str) -> None:
    """Class and file names come from strangers, and tables are opened in spreadsheets."""
    (cell, number) = table_row([name, -3])
    assert number == -3
    assert cell.lstrip("'") == name
    assert cell.startswith("'") == (name[:1] in ("=", "+", "-", "@", "\t") and name != "")


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.json"])
def test_a_disk_that_takes_a_part_only_leaves_the_old_file(name: str, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8))
    path = tmp_path / name

    def write(picture: Image.Image) -> None:
        if name.endswith("json"):
            write_json(path, picture.tobytes().hex())
        else:
            write_picture(path, picture)

    write(noise.resize((4, 4)))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
        with pytest.raises(OSError, match="File too large") as caught:
            write(noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_who_reads_a_file_while_it_is_replaced_reads_the_old_one(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with (tmp_path / "a.txt").open() as reader:
        write_text(tmp_path / "a.txt", "new")
        assert reader.read() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"
