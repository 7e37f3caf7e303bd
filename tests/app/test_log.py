"""The log: on the disk before the answer, at most the operation in flight is lost."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from no_time_to_train.app.log import OperationLog
from no_time_to_train.errors import DatasetError


def opened(path: Path) -> tuple[OperationLog, list[tuple[int, dict]]]:
    log = OperationLog(path)
    return log, list(log.read())


def test_what_was_written_is_read_in_its_order(tmp_path: Path) -> None:
    log, entries = opened(tmp_path / "log.jsonl")
    assert entries == []
    assert [log.append({"what": word}) for word in "abc"] == [1, 2, 3]
    log.close()
    log, entries = opened(tmp_path / "log.jsonl")
    assert entries == [(1, {"what": "a"}), (2, {"what": "b"}), (3, {"what": "c"})]
    assert log.append({"what": "d"}) == 4
    log.close()


@pytest.mark.parametrize("cut", range(1, 34, 4))
def test_a_torn_last_line_is_dropped_and_said(
    cut: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "log.jsonl"
    log, _ = opened(path)
    log.append({"what": "kept"})
    whole = path.stat().st_size
    log.append({"what": "torn"})
    log.close()
    line = path.stat().st_size - whole
    with path.open("r+b") as file:
        file.truncate(whole + line - min(cut, line - 1))
    with caplog.at_level(logging.WARNING):
        log, entries = opened(path)
    assert [number for number, _ in entries] == [1]
    assert "cut off" in caplog.text
    assert log.append({"what": "again"}) == 2
    log.close()
    assert [operation["what"] for _, operation in opened(path)[1]] == ["kept", "again"]


@pytest.mark.parametrize("damaged", [b"{\n", b'{"id":5,"op":{}}\n', b"\0\0\0\n"])
def test_damage_in_the_middle_is_refused(damaged: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id":1,"op":{}}\n' + damaged + b'{"id":2,"op":{}}\n')
    with pytest.raises(DatasetError, match="restore the file from a copy"):
        opened(path)
    assert path.read_bytes().count(b"\n") == 3, "nothing was cut off"


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    log, _ = opened(path)
    log.append({"what": "kept"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            log.append({"what": "lost"})
    assert log.append({"what": "next"}) == 2
    log.close()
    assert [operation["what"] for _, operation in opened(path)[1]] == ["kept", "next"]


def test_an_operation_is_synced_before_anybody_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    log, _ = opened(path)
    synced: list[bytes] = []
    monkeypatch.setattr("os.fsync", lambda _: synced.append(path.read_bytes()))
    log.append({"what": "heard"})
    assert synced == [b'{"id":1,"op":{"what":"heard"}}\n']
    log.close()
