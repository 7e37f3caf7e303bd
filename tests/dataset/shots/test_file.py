"""Few-shot files, read without ever running what is in them."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import pytest

from no_time_to_train.dataset.shots.file import (
    Shot,
    annotation_of_each_shot,
    read_few_shot_file,
    write_few_shot_file,
)
from no_time_to_train.errors import DatasetError

PUBLISHED = {1: [{"img_id": 429819, "ann_ids": [7]}], 16: [{"img_id": 101435, "ann_ids": [8, 9]}]}
TABLE = {1: [Shot(429819, (7,))], 16: [Shot(101435, (8, 9))]}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [dict, OrderedDict, lambda d: defaultdict(list, d)])
def test_published_pickles_are_read(tmp_path: Path, kind: Any, protocol: int) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(kind(PUBLISHED), protocol))
    assert read_few_shot_file(tmp_path / "x.pkl") == TABLE


@pytest.mark.parametrize("name", ["x.pkl", "x.json", "new folder/x.json"])
def test_what_we_write_we_read(tmp_path: Path, name: str) -> None:
    table = {7: [Shot("a", (0, "b"))], "cat": [Shot(1, (2,)), Shot(1, (2,))]}
    write_few_shot_file(tmp_path / name, table)  # type: ignore[arg-type]
    assert read_few_shot_file(tmp_path / name) == table
    assert list(read_few_shot_file(tmp_path / name)) == [7, "cat"]


def test_our_pickle_is_the_published_form(tmp_path: Path) -> None:
    write_few_shot_file(tmp_path / "x.pkl", TABLE)
    assert pickle.loads((tmp_path / "x.pkl").read_bytes()) == PUBLISHED


class Sneaky:
    """Unpickling it in the ordinary way would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({1: Sneaky(tmp_path / "made")}, protocol))
    with pytest.raises(DatasetError, match=r"x\.pkl: the pickle wants to run .*mkdir"):
        read_few_shot_file(tmp_path / "x.pkl")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("called", [eval, getattr, __import__, pickle.loads])
def test_no_builtin_gets_through(tmp_path: Path, called: Any) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(called))
    with pytest.raises(DatasetError, match="wants to run"):
        read_few_shot_file(tmp_path / "x.pkl")


@pytest.mark.parametrize("content", [b"", b"junk", pickle.dumps(PUBLISHED)[:20]])
def test_damaged_pickles(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.pkl: not a few-shot file"):
        read_few_shot_file(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must map category ids"),
        ({1: [{"img_id": 3}]}, "'img_id' and 'ann_ids'"),
        ({1: 5}, "category 1"),
    ],
)
def test_other_structures(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DatasetError, match=message):
        read_few_shot_file(tmp_path / "x.pkl")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such few-shot file"):
        read_few_shot_file(tmp_path / "x.pkl")


def test_repeated_records_stand_for_different_annotations() -> None:
    shots = [Shot(1, (4, 5, 6)), Shot(2, (7,)), Shot(1, (4, 5, 6)), Shot(1, (4, 5, 6)), Shot(1, (4, 5, 6))]
    assert annotation_of_each_shot(shots) == [4, 7, 5, 6, 4]
    assert annotation_of_each_shot([Shot(1, ())]) == []
