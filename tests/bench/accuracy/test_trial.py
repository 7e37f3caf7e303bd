"""What is remembered from one draw must not leak into the next."""

from __future__ import annotations

from pathlib import Path

from no_time_to_train.bench.accuracy.rows import make_row
from no_time_to_train.bench.accuracy.tasks import choose_tasks
from no_time_to_train.bench.accuracy.trial import Trials
from no_time_to_train.models.cache.disk_store import DiskStore
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
