"""The folder of entries: bounded, shared, and never in the way of a run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from no_time_to_train.errors import ConfigError
from no_time_to_train.models.cache.disk_store import DiskStore
from tests.conftest import ROOT

MANY = 10**9


def entry(number: int, count: int = 1000) -> dict[str, torch.Tensor]:
    return {"values": torch.rand(count, generator=torch.Generator().manual_seed(number))}


def key(number: int) -> str:
    return f"{number:02x}" * 20


def test_an_entry_is_found_again_by_another_store(tmp_path: Path) -> None:
    DiskStore(tmp_path, MANY).put(key(1), entry(1))
    again = DiskStore(tmp_path, MANY)
    found = again.get(key(1))
    assert found is not None
    assert torch.equal(found["values"], entry(1)["values"])
    assert again.get(key(2)) is None


def test_the_least_recently_used_go(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, MANY)
    for number in range(6):
        store.put(key(number), entry(number))
        (path,) = tmp_path.glob(f"{key(number)[:2]}/*.ntt")
        os.utime(path, (1000.0 + number, 1000.0 + number))
    assert store.get(key(0)) is not None  # now the one used last
    small = DiskStore(tmp_path, store.size() - 1)
    small.put(key(6), entry(6))
    present = [number for number in range(7) if small.get(key(number)) is not None]
    assert present == [0, 3, 4, 5, 6]
    assert small.size() <= small.max_bytes


def test_the_bound_holds_over_many_writes(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, 50_000)
    for number in range(60):
        store.put(key(number), entry(number))
        assert store.size() <= 50_000 * 1.2
    assert store.get(key(59)) is not None
    assert store.get(key(0)) is None


def test_a_damaged_entry_is_named_once_and_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = DiskStore(tmp_path, MANY)
    store.put(key(1), entry(1))
    (path,) = tmp_path.glob("??/*.ntt")
    path.write_bytes(path.read_bytes()[:-7])
    with caplog.at_level(logging.WARNING):
        assert store.get(key(1)) is None
        assert store.get(key(1)) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "damaged cache entry" in caplog.text
    store.put(key(1), entry(1))
    assert store.get(key(1)) is not None


def test_what_a_killed_process_left_goes_after_a_while(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, MANY)
    folder = tmp_path / key(1)[:2]
    folder.mkdir()
    old, fresh = folder / "old.part", folder / "fresh.part"
    for path in (old, fresh):
        path.write_bytes(b"half of it")
    os.utime(old, (time.time() - 10_000,) * 2)
    store.put(key(1), entry(1))
    assert not old.exists()
    assert fresh.exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="needs a folder"):
        DiskStore(tmp_path / "file" / "cache", MANY)


def test_a_run_goes_on_where_nothing_can_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = DiskStore(tmp_path / "cache", MANY)
    for number in (1, 2):
        (tmp_path / "cache" / key(number)[:2]).write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        store.put(key(1), entry(1))
        store.put(key(2), entry(2))
        assert store.get(key(1)) is None
    assert caplog.text.count("cannot be used") == 1


WORK = """
import sys, torch
from no_time_to_train.models.cache.disk_store import DiskStore
from tests.models.cache.test_disk_store import entry, key
store = DiskStore(sys.argv[1], 60_000)
for turn in range(150):
    number = (turn * int(sys.argv[2])) % 31
    found = store.get(key(number))
    if found is None:
        store.put(key(number), entry(number))
    else:
        assert torch.equal(found["values"], entry(number)["values"])
"""


def test_processes_share_a_folder_that_is_too_small_for_them(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", WORK, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen([*command, step], env=env, stderr=subprocess.PIPE, text=True) for step in ("1", "7")
    ]
    for worker in workers:
        _, said = worker.communicate(timeout=120)
        assert worker.returncode == 0, said
        assert "damaged" not in said
        assert "cannot be used" not in said
    assert list(tmp_path.glob("??/*.part")) == []
    assert DiskStore(tmp_path, MANY).size() <= 60_000 * 1.2


def test_a_cache_that_cannot_be_written_to_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DiskStore(tmp_path, MANY).put(key(1), entry(1))

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "read-only")

    monkeypatch.setattr(os, "utime", refused)
    found = DiskStore(tmp_path, MANY).get(key(1))
    assert found is not None
    assert torch.equal(found["values"], entry(1)["values"])


def test_who_reads_an_entry_while_it_is_written_again_reads_a_whole_one(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, MANY)
    store.put(key(1), entry(1))
    (path,) = tmp_path.rglob("*.ntt")
    old = path.read_bytes()
    with path.open("rb") as reader:
        store.put(key(1), entry(2, count=10))
        assert reader.read() == old
