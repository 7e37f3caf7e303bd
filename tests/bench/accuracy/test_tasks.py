"""Tasks: no picture is reference and target, draws are repeatable, the real sets are laid out as stated."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.bench.accuracy.tasks import choose_tasks, real_tasks
from no_time_to_train.errors import ConfigError, DatasetError

REAL = ("nuclei-fluorescence", "bccd", "fruits-nuts", "nuclei-histology", "coco-mini", "colour-cubes")


@pytest.mark.parametrize("name", REAL)
def test_real_tasks_split_anew_for_every_seed(shared: Path, name: str) -> None:
    (task,) = [task for task in real_tasks(shared / "data") if task.name == name]
    one, again, other = task.episode(0), task.episode(0), task.episode(1)
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()
    for episode in (one, other):
        assert not episode.pool.images.keys() & episode.truth.images.keys()
        references = episode.references(3)
        assert {item.label for item in references} == set(range(len(episode.categories)))
        assert {item.image_id for item in references} <= episode.pool.images.keys()
        assert {a.category_id for a in episode.truth.annotations} == set(episode.categories.ids)
        assert all(Path(str(target.image)).is_file() for target in episode.targets())


def test_fewer_shots_are_the_first_of_more(shared: Path) -> None:
    for task in real_tasks(shared / "data"):
        episode = task.episode(2)
        few = {(item.label, item.annotation_id) for item in episode.references(1)}
        many = {(item.label, item.annotation_id) for item in episode.references(5)}
        assert few <= many


def test_both_halves_have_real_and_generated_tasks(shared: Path, tmp_path: Path) -> None:
    halves = {half: choose_tasks(tmp_path, shared / "data", [half]) for half in ("choose", "report")}
    for tasks in halves.values():
        names = [task.name for task in tasks]
        assert set(names) & set(REAL)
        assert any(name.startswith("scenes-") for name in names)
    assert not {t.name for t in halves["choose"]} & {t.name for t in halves["report"]}


def test_generated_classes_differ_by_seed_and_task(tmp_path: Path) -> None:
    tasks = choose_tasks(tmp_path, None, num_targets=1)
    assert [task.name for task in tasks] == [
        "scenes-val",
        "scenes-val-hard",
        "scenes-test",
        "scenes-test-hard",
    ]
    drawn = [tasks[0].episode(0), tasks[0].episode(1), tasks[1].episode(0)]
    assert len({episode.fingerprint() for episode in drawn}) == 3
    assert tasks[0].episode(0).fingerprint() == drawn[0].fingerprint()


def test_unknown_tasks_and_impossible_splits_are_refused(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scenes-val"):
        choose_tasks(tmp_path, None, ["scene-val"])
    with pytest.raises(ConfigError, match="unknown task 'bccd'"):
        choose_tasks(tmp_path, None, ["bccd"])
    from dataclasses import replace

    (task,) = [task for task in real_tasks(shared / "data") if task.name == "coco-mini"]
    with pytest.raises(DatasetError, match="no split"):
        replace(task, classes=("oven", "person")).episode(0)  # type: ignore[type-var]
