"""The loader of a pass: samples in order, read in other processes too, a damaged one told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from no_time_to_train.config import SearchConfig
from no_time_to_train.dataset.samples import Target, Unreadable
from no_time_to_train.pipeline.segment import Prepared, Preparer
from no_time_to_train.pl_wrapper.data_pass import Each, as_list, gathered
from tests.dataset.samples import write_image


@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_targets_are_told_apart(tmp_path: Path, workers: int) -> None:
    whole = write_image(tmp_path / "0.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[:500])
    targets = [Target(tmp_path / f"{index}.png", index, f"{index}.png") for index in range(3)]
    loader = DataLoader(
        Each(targets, Preparer(16, None, 16, SearchConfig())),
        collate_fn=as_list,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,  # test_many_processes.py spawns
    )
    found = [item for batch in loader for item in batch]
    assert [type(item) for item in found] == [Prepared, Unreadable, Unreadable]
    assert "1.png" in found[1].reason
    assert found[2].sample.image_id == 2


def test_one_process_has_everything_in_order() -> None:
    assert gathered({2: "c", 0: "a", 1: "b"}) == ["a", "b", "c"]


def test_what_a_sampler_gave_to_two_processes_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_gather(received: list[dict[int, str]], own: dict[int, str]) -> None:
        received[:] = [own, {1: "b", 3: "d", 0: "again"}]

    for name, value in (("is_initialized", True), ("get_world_size", 2)):
        monkeypatch.setattr(f"torch.distributed.{name}", lambda value=value: value)
    monkeypatch.setattr("torch.distributed.all_gather_object", all_gather)
    assert gathered({0: "a", 2: "c"}) == ["a", "b", "c", "d"]
