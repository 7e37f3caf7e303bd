"""Presets from Python and from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.api import Segmenter
from no_time_to_train.cli import main
from no_time_to_train.errors import ConfigError


def test_a_preset_sets_options_and_options_go_before_it(tmp_path: Path) -> None:
    finder = Segmenter("dinov3_nano", "sam2_nano", preset="best", nms_thr=0.4)
    infer = finder.config.sam2_infer_cfgs
    assert infer is not None
    assert (infer.prompting.clean, infer.nms_thr, infer.merging.rank_stability) == (1.0, 0.4, True)
    assert infer.points_per_side == 16  # what nano needs stays
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[16:48, 16:48] = 255
    finder.add("square", picture, mask=picture[..., 0] > 0)
    again = Segmenter.load(finder.save(tmp_path / "memory.ntt"))
    assert again.config.sam2_infer_cfgs == infer
    assert np.array_equal(again.predict(picture).scores.numpy(), finder.predict(picture).scores.numpy())


def test_wrong_presets_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="known: best"):
        Segmenter("dinov3_nano", "sam2_nano", preset="fast")
    Image.new("RGB", (32, 32)).save(tmp_path / "one.png")
    words = ["predict", "--images", str(tmp_path), "--memory", "old.ntt", "--preset", "best"]
    words += ["--out", str(tmp_path / "found")]
    assert main(words) == 2
    assert "--memory" in capsys.readouterr().err
