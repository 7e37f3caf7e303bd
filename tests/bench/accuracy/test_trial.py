"""What is remembered from one draw must not leak into the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from no_time_to_train.bench.accuracy.rows import Row, make_row
from no_time_to_train.bench.accuracy.tasks import choose_tasks
from no_time_to_train.bench.accuracy.trial import Trials
from no_time_to_train.models.cache.disk_store import DiskStore
from no_time_to_train.pipeline.fitting import fit
from tests.conftest import ROOT

BASE = ROOT / "no_time_to_train" / "pl_configs" / "accuracy" / "nano.yaml"


def test_a_draw_has_the_same_figures_after_another_one(tmp_path: Path) -> None:
    row = make_row("few points", BASE, {"model_cfg.sam2_infer_cfgs.points_per_side": 6})
    (task,) = choose_tasks(tmp_path / "scenes", None, ["scenes-val"], 2)
    trials = Trials(DiskStore(tmp_path / "cache", 10**9))
    first = trials.run(row, task.episode(0), 1)
    second = trials.run(row, task.episode(1), 1)
    alone = Trials(DiskStore(tmp_path / "other", 10**9)).run(row, task.episode(1), 1)
    assert second == alone != first
    assert first["prompts"] == second["prompts"] == 36  # asked anew, and known from before
    warm = Trials(DiskStore(tmp_path / "cache", 10**9)).run(row, task.episode(1), 1)
    assert warm == alone


def test_a_row_that_trains_has_its_adapter_where_the_guard_keeps_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"model_cfg.sam2_infer_cfgs.points_per_side": 4, "model_cfg.encoder_cfg.name": "dinov3_nano"}
    values = {"rounds": 1, "steps": 1, "folds": 2, "learning_rate": 0.1}
    short = {f"fit_cfgs.{key}": value for key, value in values.items()}
    (task,) = choose_tasks(tmp_path / "scenes", None, ["scenes-val"], 1)
    trials = Trials(DiskStore(tmp_path / "cache", 10**9))
    plain, training = (make_row(name, BASE, keys) for name, keys in (("a", few), ("b", few | short)))
    assert plain.described() != training.described()
    encoder = make_row("c", BASE, few | short | {"fit_cfgs.part": "encoder"})

    def figures(row: Row) -> dict[str, float]:
        found = trials.run(row, task.episode(0), 1)
        assert (found.pop("learning", 0.0) > 0) == (row is not plain)
        return found

    without = figures(plain)
    assert figures(encoder) == without  # one shot is too few
    for kept in (0, 1):

        def choice(*_: Any, kept: int = kept) -> tuple[float, float, float]:
            return kept, 0.0, 0.0

        monkeypatch.setattr(fit, "one_standard_error", choice)
        assert (figures(training) == without) == (not kept)
