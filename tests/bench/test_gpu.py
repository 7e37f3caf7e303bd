"""``benchmarks.gpu`` on the CPU at the smallest sizes: its rows, and that one that fails ends nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import main, run
from benchmarks.gpu_networks import difference, instance_difference
from no_time_to_train.bench.stages.case import SIZES
from no_time_to_train.results import Instances

SMALL = [
    *("--device", "cpu", "--sam2", "nano", "--precisions", "fp32", "--batches", "1"),
    *("--prompt-batches", "16", "--points-per-side", "5", "--whole", "nano", "--timing", "0.001"),
]


def test_a_row_that_fails_or_does_not_fit_ends_nothing(tmp_path: Path) -> None:
    out = tmp_path / "table"

    def fails() -> dict[str, object]:
        raise ValueError("broken |\non purpose")

    def written() -> dict[str, object]:
        assert len(json.loads(out.with_suffix(".json").read_text())["rows"]) == 2
        return {"ms": 1234.5, "cosine": float("nan")}

    tasks = [({"what": "fails"}, 1, fails), ({"what": "long"}, 1e9, fails), ({"what": "works"}, 1, written)]
    rows = run(tasks, 60, out, {"device": "none"})
    assert [row["what"] for row in rows] == ["fails", "long", "works"]
    assert rows[0]["note"] == "ValueError: broken / on purpose"
    assert rows[1]["note"].startswith("skipped: ")
    assert "cosine" not in rows[2]
    assert "| 1234 |" in out.with_suffix(".md").read_text()


def test_a_row_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    def endless() -> dict[str, object]:
        while True:
            torch.zeros(1)

    (row,) = run([({"what": "endless"}, 0.1, endless)], 0.5, tmp_path / "table", {})
    assert row["note"] == "stopped: no time left"


def test_differences() -> None:
    truth = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    found = difference([truth + torch.tensor([[0.0, 0.0], [0.0, 1.0]])], [truth])
    assert found["max_diff"] == 1
    assert found["relative"] == pytest.approx(1 / 50**0.5)
    assert found["cosine"] == pytest.approx(1)
    assert difference([truth / 0], [truth]) == {"note": "NOT FINITE"}
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :4], masks[1, 4:] = True, True
    both = Instances.from_masks(masks, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]))
    one = Instances.from_masks(masks[:1], torch.tensor([0.5]), torch.tensor([0]))
    found = instance_difference([one, both], [both, both])
    assert found["max_diff"] == pytest.approx(0.4)
    assert found["iou"] == [0, 1, 1, 1, 1, 1, 1]
    assert "1 of 7 instances" in found["note"]


@pytest.mark.slow
def test_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "nano", SIZES["nano"]._replace(points_per_side=5))
    words = ["--encoders", "dinov3_nano", "no_such_encoder", "--no-compile", "--seconds", "1000"]
    rows = main([*SMALL, *words, "--out", str(tmp_path / "gpu")])
    table = (tmp_path / "gpu.md").read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("| ") for line in table) == 1 + len(rows)
    assert json.loads((tmp_path / "gpu.json").read_text())["rows"] == rows
    notes = {row["what"]: row.get("note", "") for row in rows}
    assert "UnknownEncoderError" in notes.pop("no_such_encoder")
    assert len(notes) == 7
    for row in rows:
        if row["precision"] == "fp32" and row["what"] in ("dinov3_nano", "sam2 nano image encoder"):
            assert row["relative"] < 1e-5
            assert row["ms"] > 0
            assert row["tflops"] > 0
        if row["precision"] == "fp32" and row["what"] == "instances of nano":
            assert row["note"].startswith("0 of ")
            assert min(row["iou"]) > 0.99
    assert "alone" in notes["whole picture, two processes"]
