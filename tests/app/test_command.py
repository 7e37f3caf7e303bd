"""``ntt app`` says in a sentence what it cannot work with, before it loads a model."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from no_time_to_train.app import answers, export
from no_time_to_train.app.project import open_project
from no_time_to_train.app.routes import Json
from no_time_to_train.cli import main
from no_time_to_train.errors import ConfigError, DatasetError
from tests.app.serving import write_pictures


def test_no_pictures_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["app", str(tmp_path / "nowhere"), "--no-browser"]) == 2
    assert "no such folder of images" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no image in it"), open_project(tmp_path / "empty"):
        pass


def test_every_format_has_its_words_on_the_page() -> None:
    words = (Path(export.__file__).parent / "page" / "dialogs.js").read_text(encoding="utf-8")
    assert set(export.WITH_MASKS) <= set(re.findall(r'^  (\w+): "\w', words, re.M))


@pytest.mark.parametrize("name", ["uvicorn", "starlette"])
def test_a_missing_extra_is_said(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["app", str(tmp_path)]) == 2
    assert f"needs the package {name}: pip install 'no-time-to-train[app]'" in capsys.readouterr().err


def test_a_project_is_of_its_own_pictures(tmp_path: Path) -> None:
    own, others = write_pictures(tmp_path / "own", 1), write_pictures(tmp_path / "others", 1)
    with open_project(own, tmp_path / "project"):
        pass
    with pytest.raises(ConfigError, match="is the project of the images in"):  # noqa: SIM117
        with open_project(others, tmp_path / "project"):
            pass


@pytest.mark.parametrize("name", ["log.jsonl", "view.json"])
def test_a_project_begins_over_nobodys_files(tmp_path: Path, name: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / name).write_text("mine")  # a torn last line of a log would be cut off
    with pytest.raises(ConfigError, match=f"{name} was not written by a run.*--project"):  # noqa: SIM117
        with open_project(write_pictures(tmp_path / "own", 1), project):
            pass
    assert (project / name).read_text() == "mine"


def test_pictures_that_come_and_go_keep_the_ids_of_the_others(tmp_path: Path) -> None:
    own = write_pictures(tmp_path / "own", 3)
    with open_project(own) as project:
        assert project.folder == tmp_path / "own-ntt"
        assert project.images.names == ["0.png", "1.png", "2.png"]
    (own / "1.png").rename(own / "00.png")
    with open_project(own) as project:
        assert project.images.names == ["0.png", "1.png", "2.png", "00.png"]
        assert list(project.images.errors) == [1]


def test_a_project_among_the_pictures_is_none_of_them(tmp_path: Path) -> None:
    own = write_pictures(tmp_path / "own", 1)
    write_pictures(own / "project" / "thumbs", 2)
    with open_project(own, own / "project") as project:
        assert project.images.names == ["0.png"]


def test_names_of_any_bytes_are_shown_and_found_again(tmp_path: Path) -> None:
    own = write_pictures(tmp_path / "own", 1)
    odd = os.fsdecode(b"\xff\xe4 name.png")
    (own / "0.png").rename(own / odd)
    with open_project(own) as project:
        assert project.images.names == [odd]
        assert project.images.size(0) == (96, 96)
        row = answers.row_of(project, 0)
        assert Json(row).body.isascii()
        assert row["name"] == "%FF%E4 name.png"
    with open_project(own) as project:
        assert project.images.names == [odd]
        assert project.images.errors == {}
