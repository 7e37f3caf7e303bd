"""The list of a folder's own files: what is on it may be replaced, as long as nobody changed it."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.errors import ConfigError
from no_time_to_train.files import on_disk, place_link, readable, safe_name, whole_file, write_text
from no_time_to_train.own_files import LEDGER, own_files


def test_a_file_is_noted_before_it_has_its_name(tmp_path: Path) -> None:
    with own_files(tmp_path, "--out"), pytest.raises(TypeError), whole_file(tmp_path / "a") as file:
        file.write(1)
    assert not (tmp_path / "a").exists()
    with own_files(tmp_path, "--out"):
        write_text(tmp_path / "a", "one")
        write_text(tmp_path / "a", "two")
    with (tmp_path / LEDGER).open("a") as file:
        file.write('\n["b", "tor')  # a kill while a line was written
    with own_files(tmp_path, "--out") as own:
        assert own.left_from_before() == ["a"]
        write_text(tmp_path / "c", "new")
    (tmp_path / "a").write_text("changed")
    with own_files(tmp_path, "--out") as own:
        assert own.left_from_before() == ["a", "c"]
        own.remove(["a"])
        with pytest.raises(ConfigError, match=r"a was not written by a run.*choose another --out"):
            write_text(tmp_path / "a", "three")
        with pytest.raises(ConfigError, match="changed since"):
            own.remove_all()
    assert (tmp_path / "a").read_text() == "changed"
    assert (tmp_path / "c").exists()


def test_another_process_of_the_same_run_has_a_list_of_its_own(tmp_path: Path) -> None:
    with own_files(tmp_path, "--out"):
        with own_files(tmp_path, "--out", rank=1):
            write_text(tmp_path / "a", "by the second")
        write_text(tmp_path / "a", "by the first")
    assert (tmp_path / "a").read_text() == "by the first"
    assert {path.name for path in tmp_path.iterdir()} == {"a", LEDGER, f"{LEDGER}.1"}


def test_links_are_own_ones_where_they_lead_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to("/nowhere")
    with own_files(tmp_path, "--out"):
        place_link(tmp_path / "x", tmp_path)
        place_link(tmp_path / "x", tmp_path / "other")
        with pytest.raises(ConfigError):
            place_link(tmp_path / "mine", tmp_path)
    assert (tmp_path / "x").readlink() == tmp_path / "other"
    assert (tmp_path / "mine").readlink() == Path("/nowhere")


def test_outside_of_a_run_everything_is_replaced_as_ever(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "one")
    write_text(tmp_path / "a", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["plain", "größe", "x" * 300, "ö" * 200, "a\0b\n", "\udcff\udcfe", "\ud800"])
def test_every_name_can_be_written_and_shown(name: str, tmp_path: Path) -> None:
    made = safe_name(name)
    write_text(tmp_path / f"{made}_mask_12345.png", readable(name))
    assert (tmp_path / f"{made}_mask_12345.png").read_text() == readable(name)
    assert on_disk(made) == Path(made)
    assert safe_name("x" * 300) != safe_name("x" * 299 + "y")
