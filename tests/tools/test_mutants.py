"""Every fault of the list still has its place, once, and tests that are there; a fault is told from none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.mutants import __main__ as mutants
from tools.mutants.faults import FAULTS, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.wrong.strip()[:30]}")
def test_it_has_its_place(fault: Fault) -> None:
    assert fault.path(ROOT).read_text("utf-8").count(fault.right) == 1
    assert all((ROOT / "tests" / name.partition("::")[0]).exists() for name in fault.tests.split())


def test_every_room_has_five() -> None:
    rooms = [mutants.room_of(fault) for fault in FAULTS]
    faces = {"api", "cli", "pl_wrapper"}
    assert {room: rooms.count(room) for room in set(rooms) - faces if rooms.count(room) < 5} == {}
    assert sum(room in faces for room in rooms) >= 10


def test_a_fault_is_seen_and_its_absence_too(tmp_path: Path) -> None:
    (tmp_path / "no_time_to_train").mkdir()
    (tmp_path / "no_time_to_train" / "two.py").write_text("TWO = 2\nTHREE = 3\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_two.py").write_text(
        "from no_time_to_train.two import TWO\ndef test_two():\n    assert TWO == 2\n"
    )
    told = [
        mutants.is_seen(Fault("two.py", right, wrong, "test_two.py"), tmp_path)
        for right, wrong in (("TWO = 2", "TWO = 3"), ("THREE = 3", "THREE = 4"), ("FOUR", ""))
    ]
    assert told == ["seen", "NOT SEEN", "not there any more"]
