"""``ntt bench`` at nano size: a real run of both paths, its tables, and that a difference is seen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from no_time_to_train.bench.stages.agreement import match_instances
from no_time_to_train.bench.stages.case import Case, sampled_prompts
from no_time_to_train.bench.stages.meter import IMAGE_STAGES, STAGES
from no_time_to_train.bench.stages.run import Report, run_benchmark
from no_time_to_train.bench.stages.tables import to_json, to_markdown
from no_time_to_train.cli import main
from no_time_to_train.errors import ConfigError
from no_time_to_train.results import Instances

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def report() -> Report:
    case = Case("nano", 96, 128, classes=3, shots=2, random_weights=True)
    return run_benchmark(case, device=CPU, plain_prompts=40, progress=False)


def test_both_paths_agree_on_random_weights(report: Report) -> None:
    found = report.agreement
    assert found is not None
    assert found.holds, found
    assert found.prompts == report.decoded_plain == 40
    assert found.instances > 0
    assert 0 < report.surviving < report.prompts == 400


def test_every_stage_is_in_the_tables(report: Report) -> None:
    text, data = to_markdown(report), to_json(report)
    assert all(f"| {stage} |" in text for stage in STAGES)
    assert "scaled to all of them" in text
    assert "the two paths agree" in text
    assert set(STAGES) | {"one image"} == set(data["fast"]) == set(data["plain"])
    parts = [data["fast"][stage]["cpu"] for stage in IMAGE_STAGES]
    assert data["fast"]["one image"]["cpu"] == pytest.approx(sum(parts))
    assert data["fast"]["point decoder"]["gflop"] > 1
    json.dumps(data)


def test_without_the_plain_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--picture", "64x48", "--classes", "2", "--shots", "1", "--repeats", "1", "--no-plain"]
    assert main(["bench", *words, "--device", "cpu", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (tmp_path / "bench-nano.md").read_text(encoding="utf-8")
    data = json.loads((tmp_path / "bench-nano.json").read_text())
    assert data["plain"] is data["agreement"] is None
    assert data["case"]["width"] == 64


def test_refusals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--picture", "640"]) == 2
    assert "WIDTHxHEIGHT" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--no-plain"):
        run_benchmark(Case(), device=torch.device("meta"))


def test_instances_are_matched_by_label_and_mask() -> None:
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, :4], masks[1, 4:], masks[2, :, :3] = True, True, True
    scores, labels = torch.tensor([0.9, 0.8, 0.005]), torch.tensor([0, 1, 0])
    ours = Instances.from_masks(masks, scores, labels)
    box = (0.0, 0.0, 7.0, 7.0)
    rows = [(4, 1, 0.8, box, masks[1]), (2, 0, 0.9, box, masks[0])]  # another order; the decayed one left out
    assert match_instances(ours, rows) == ([(0, 1), (1, 0)], 0)
    other_label = [(4, 0, 0.8, box, masks[1]), rows[1]]
    assert match_instances(ours, other_label) == ([(0, 1)], 2)
    assert match_instances(replace(ours, scores=scores * 0), rows) == ([], 2)


def test_sampled_prompts() -> None:
    chosen = sampled_prompts(100, 10)
    assert len(chosen.unique()) == 10
    assert (chosen == chosen.sort().values).all()
    assert sampled_prompts(9, None).tolist() == sampled_prompts(9, 20).tolist() == list(range(9))
