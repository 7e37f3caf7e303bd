"""Rows: what they change, what their cells depend on, and that every shipped one makes a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from no_time_to_train.bench.accuracy.rows import Row, changed_row, choose_rows, make_row, read_rows
from no_time_to_train.config.presets import preset_names, preset_options
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.factory import build_model
from tests.conftest import ROOT

CONFIGS = ROOT / "no_time_to_train" / "pl_configs"
SHIPPED = read_rows(CONFIGS / "accuracy" / "rows.yaml")
LEARNING = read_rows(CONFIGS / "accuracy" / "learning.yaml")


@pytest.mark.parametrize("row", SHIPPED, ids=lambda row: row.name)
def test_every_shipped_row_makes_a_model_and_can_be_named(row: Row) -> None:
    assert "," not in row.name  # --only separates names by commas
    assert choose_rows(SHIPPED, [row.name])[-1] is row
    build_model(row.model)


def test_shipped_rows_differ_and_the_first_is_the_published_path() -> None:
    assert SHIPPED[0].name == "published"
    assert not SHIPPED[0].overrides
    described = [str(row.described()) for row in SHIPPED]
    assert len(set(described)) == len(described)


def test_rows_that_learn_differ_in_what_learns() -> None:
    parts = [row.fit and row.fit.part for row in LEARNING]
    assert parts == [None, None, "decoder", "encoder", "both"]


def test_defaults_written_out_are_no_other_configuration() -> None:
    base = CONFIGS / "accuracy" / "nano.yaml"
    plain = make_row("a", base, {})
    spelt = make_row("b", base, {"model_cfg.sam2_infer_cfgs.merge": "soft", "model_cfg.vis_thr": 0.9})
    other = make_row("c", base, {"model_cfg.sam2_infer_cfgs.merge": "none"})
    assert plain.described() == spelt.described() != other.described()
    assert (
        changed_row(other, "d", {"model_cfg.sam2_infer_cfgs.nms_thr": 0.7}).described()
        == make_row(
            "e", base, {"model_cfg.sam2_infer_cfgs.merge": "none", "model_cfg.sam2_infer_cfgs.nms_thr": 0.7}
        ).described()
    )


def test_a_preset_is_the_same_from_yaml_and_as_options() -> None:
    from no_time_to_train.api.settings import Choice, model_config

    assert "best" in preset_names()
    row = make_row("best", CONFIGS / "accuracy" / "nano.yaml", {"preset": "best"})
    # Not the nano models by name: a Segmenter starts those from the options of the demo.
    choice, points = Choice("dinov3_small", "sam2.1_hiera_tiny", None, None), {"points_per_side": 16}
    model, _ = model_config(choice, {**points, **preset_options("best")})
    assert model.sam2_infer_cfgs == row.model.sam2_infer_cfgs
    assert replace(model.encoder_cfg, name="lite2_photographs") == row.model.encoder_cfg
    with pytest.raises(ConfigError, match="best"):
        preset_options("bets")


def test_a_file_of_rows_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.yaml"
    path.write_text("rows: [a, b]\n")
    with pytest.raises(ConfigError, match="rows:"):
        read_rows(path)
    path.write_text("base: demo.yaml\nrows: {first: {}}\n")
    with pytest.raises(ConfigError, match="row 'first'"):
        read_rows(path)
