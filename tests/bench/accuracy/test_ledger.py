"""Finished cells on disk: nothing finished is lost, nothing half-written counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from no_time_to_train.bench.accuracy.ledger import Cell, Ledger, cell_key
from no_time_to_train.errors import DatasetError

CELL = Cell("published", "scenes", 3, 0, {"segm_AP": 0.25, "box_AP": 0.125})


def test_a_cell_comes_back_as_it_was(tmp_path: Path) -> None:
    Ledger(tmp_path / "new" / "cells.jsonl").add("key", CELL)
    again = Ledger(tmp_path / "new" / "cells.jsonl")
    assert again.get("key") == CELL
    assert again.get("other") is None
    assert len(again) == 1


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_half_a_line_is_passed_over_and_the_next_cell_stands_alone(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cells.jsonl"
    ledger = Ledger(path)
    ledger.add("first", CELL)
    ledger.add("second", CELL)
    path.write_bytes(path.read_bytes()[:-cut])
    halved = Ledger(path)
    assert halved.get("first") == CELL
    halved.add("third", CELL)
    again = Ledger(path)
    assert again.get("first") == CELL
    assert again.get("third") == CELL
    assert (again.get("second") is None) == (cut > 1)  # of a line that lacks its end only, all is there


def test_a_line_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cells.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DatasetError, match="line 1"):
        Ledger(tmp_path / "cells.jsonl")


def test_the_key_depends_on_every_part_and_not_on_their_order() -> None:
    parts = {"row": {"merge": "soft", "rank": "iou"}, "shots": 1, "weights": "abc"}
    turned = {"weights": "abc", "row": {"rank": "iou", "merge": "soft"}, "shots": 1}
    assert cell_key(**parts) == cell_key(**turned)
    others = [{**parts, "shots": 2}, {**parts, "weights": "abd"}, {**parts, "row": {"merge": "none"}}]
    assert len({cell_key(**parts), *(cell_key(**other) for other in others)}) == 4
