"""Tables for the terminal."""

from __future__ import annotations

from no_time_to_train.evaluation.tables import Spread, format_seed_table, format_table

METRICS = {
    "bbox/AP": 0.5,
    "bbox/AP_small": -1,
    "bbox/AP/date / dried": 0.25,
    "segm/AP": 0.125,
    "segm/AP/date / dried": 1.0,
    "target_free/images": 2.0,
}


def test_one_run() -> None:
    assert format_table(METRICS).split("\n\n") == [
        "            bbox    segm\nAP        0.5000  0.1250\nAP_small       -",
        "class         bbox AP  segm AP\ndate / dried   0.2500   1.0000",
        "target_free/images  2.0000",
    ]
    assert format_table({}) == ""


def test_several_runs() -> None:
    table = format_seed_table({"bbox/AP": Spread(0.5, 0.01, 3), "bbox/AP_small": Spread(-1, 0, 3)})
    assert table.splitlines() == [
        "                      bbox",
        "AP        0.5000 +- 0.0100",
        "AP_small                 -",
    ]
