"""The part files: what is written is read back, torn lines go, other ranks' parts are not lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.errors import ConfigError
from no_time_to_train.runs.result_writer import ResultWriter, collect


def record(image_id: int) -> dict:
    return {"image_id": image_id, "file_name": f"{image_id}.jpg", "rows": [{"image_id": image_id}]}


def test_records_come_back_in_data_set_order_without_duplicates(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path)
    for image_id in (3, 1, 3, 2):
        writer.write(record(image_id))
    assert [item["image_id"] for item in collect(writer.records(), [1, 2, 3, 4])] == [1, 2, 3]


def test_a_new_run_starts_with_an_empty_folder(tmp_path: Path) -> None:
    ResultWriter(tmp_path).write(record(1))
    assert list(ResultWriter(tmp_path).records()) == []


def test_a_torn_line_is_dropped_and_its_image_is_not_finished(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path, settings={"a": 1})
    writer.write(record(1))
    writer.write(record(2))
    writer.path.write_bytes(writer.path.read_bytes()[:-7])
    resumed = ResultWriter(tmp_path, settings={"a": 1}, resume=True)
    assert resumed.finished == {1}
    resumed.write(record(2))
    assert [item["image_id"] for item in resumed.records()] == [1, 2]


def test_fewer_processes_than_before_still_see_every_part(tmp_path: Path) -> None:
    settings = {"a": 1}
    ResultWriter(tmp_path, 0, settings=settings).write(record(1))
    ResultWriter(tmp_path, 1, settings=settings, resume=True).write(record(2))
    alone = ResultWriter(tmp_path, 0, settings=settings, resume=True)
    assert alone.finished == {1, 2}
    assert {item["image_id"] for item in alone.records(world_size=1)} == {1, 2}


def test_parts_of_other_settings_are_not_continued(tmp_path: Path) -> None:
    ResultWriter(tmp_path, settings={"a": 1})
    with pytest.raises(ConfigError, match="other settings"):
        ResultWriter(tmp_path, settings={"a": 2}, resume=True)


def test_records_are_read_one_by_one_where_they_stand(tmp_path: Path) -> None:
    writer = ResultWriter(tmp_path)
    ResultWriter(tmp_path, rank=3).write({"image_id": "c", "rows": [3]})
    for record in ({"image_id": "a ü", "rows": [1]}, {"image_id": "b", "rows": []}):
        writer.write(record)
    writer.write({"image_id": "a ü", "rows": [2]})
    places = writer.places()
    read = {name: place.read()["rows"] for name, place in places.items()}
    assert read == {"a ü": [2], "b": [], "c": [3]}
