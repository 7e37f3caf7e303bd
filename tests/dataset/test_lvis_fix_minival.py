"""LVIS minival gets its segmentations by id, not by position."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from no_time_to_train.dataset.lvis_fix_minival_segm import main, restore_segmentations
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import tiny_coco, write_json


def test_segmentations_come_by_id(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = tiny_coco()
    short = tiny_coco(annotations=[{**full["annotations"][2], "segmentation": [[0, 0, 1, 1, 2, 2]]}])
    paths = [
        str(write_json(tmp_path / name, content)) for name, content in (("m.json", short), ("v.json", full))
    ]
    main([*paths, str(tmp_path / "out.json")])
    fixed = json.loads((tmp_path / "out.json").read_text())
    assert fixed["annotations"] == [full["annotations"][2]]
    assert capsys.readouterr().out.strip().endswith("out.json")


@pytest.mark.parametrize(
    ("change", "message"), [({"id": 99}, "99 .* is missing"), ({"image_id": 2}, "another")]
)
def test_files_of_different_releases_are_refused(change: dict[str, int], message: str) -> None:
    full = tiny_coco()
    with pytest.raises(DatasetError, match=message):
        restore_segmentations(tiny_coco(annotations=[{**full["annotations"][0], **change}]), full)
