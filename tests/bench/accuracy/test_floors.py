"""A broken pipeline cannot reach these figures with the models of the package, on photographs."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from no_time_to_train.bench.accuracy.rows import make_row
from no_time_to_train.bench.accuracy.tasks import choose_tasks
from no_time_to_train.bench.accuracy.trial import Trials
from no_time_to_train.models.cache.disk_store import DiskStore

FLOORS = {"segm_AP": 0.68, "recall75": 0.95}
"""Under what 12 photographs of fruit reached with one reference of each class: 0.738 and 1.0."""


@pytest.mark.slow
def test_fruit_is_found_with_one_reference_of_each_class(shared: Path, tmp_path: Path) -> None:
    row = make_row("demo", Path(str(files("no_time_to_train") / "pl_configs" / "demo.yaml")), {})
    (task,) = choose_tasks(tmp_path, shared / "data", ["fruits-nuts"])
    found = Trials(DiskStore(tmp_path / "cache", 10**9)).run(row, task.episode(0), 1)
    for name, floor in FLOORS.items():
        assert found[name] > floor, (name, found[name])
