"""Several runs in one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from no_time_to_train.dataset import evaluate
from no_time_to_train.errors import DatasetError
from no_time_to_train.evaluation.tables import Spread, summarize_seeds
from tests.dataset.samples import tiny_coco, truth_as_rows, write_json


def test_mean_and_sample_deviation() -> None:
    runs = [{"AP": 0.2, "x": -1.0, "only": 1.0}, {"AP": 0.4, "x": 0.5}, {"AP": 0.6, "x": 0.5}]
    summary = summarize_seeds(runs)
    assert summary == {"AP": Spread(pytest.approx(0.4), pytest.approx(0.2), 3), "x": Spread(-1.0, 0.0, 3)}
    assert summarize_seeds(runs[:1])["AP"] == Spread(0.2, 0.0, 1)
    with pytest.raises(DatasetError, match="no runs"):
        summarize_seeds([])


def test_two_seeds_from_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = tiny_coco()
    truth = write_json(tmp_path / "gt.json", content)
    rows = truth_as_rows(content)
    paths = [write_json(tmp_path / f"seed{i}.json", part) for i, part in enumerate((rows, rows[:1]))]
    evaluate.main([str(truth), *map(str, paths), "--out", str(tmp_path / "all.json")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["bbox", "segm"]
    assert lines[1].split()[:4] == ["AP", "0.6262", "+-", "0.5286"]  # 1 and 51/101/2
    saved = json.loads((tmp_path / "all.json").read_text())
    assert [saved[str(path)]["bbox/AP"] for path in paths] == pytest.approx([1, 51 / 202])


def test_one_run_classes_and_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write_json(tmp_path / "gt.json", tiny_coco())
    rows = write_json(
        tmp_path / "r.json", [row for row in truth_as_rows(tiny_coco()) if row["category_id"] == 7]
    )
    evaluate.main([str(truth), str(rows), "--cat_names", "fig", "--per_class", "--max_dets", "300"])
    out = capsys.readouterr().out
    assert "bbox best_f1" in out
    assert "fig" in out
    assert "AP@300" in out
    assert "date" not in out
    with pytest.raises(SystemExit):
        evaluate.main([str(truth), str(rows), "--class_split", "few_shot_classes"])
    assert "few_shot_classes" in capsys.readouterr().err


def test_lvis_from_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = tiny_coco(
        categories=[{"id": 3, "name": "a", "frequency": "r"}, {"id": 7, "name": "b", "frequency": "f"}]
    )
    truth, rows = (
        write_json(tmp_path / "gt.json", content),
        write_json(tmp_path / "r.json", truth_as_rows(content)),
    )
    evaluate.main([str(truth), str(rows), "--lvis"])
    assert "APr" in capsys.readouterr().out
