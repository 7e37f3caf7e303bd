"""``vis_memory``: a picture for every reference, next to the results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., Path]


@pytest.fixture
def bank(run: Run, tmp_path: Path) -> str:
    path = str(tmp_path / "memory.safetensors")
    run("--model.test_mode", "fill_memory", "--out_path", path)
    return path


@pytest.mark.parametrize("clusters", [1, 12])
def test_every_reference_has_its_picture(run: Run, bank: str, scenes: Path, clusters: int) -> None:
    folder = run(
        *("--model.test_mode", "vis_memory", "--ckpt_path", bank),
        *("--model.model_cfg.sam2_infer_cfgs.kmeans_k", str(clusters)),
    )
    pictures = sorted((folder / "memory_vis").glob("*.png"))
    assert len(pictures) == 6  # three classes by two shots
    assert {path.name.split("_")[0] for path in pictures} == {"0", "1", "2"}
    ids = {str(image["id"]) for image in json.loads((scenes / "references.json").read_text())["images"]}
    assert {path.stem.split("_")[1] for path in pictures} <= ids
    for path in pictures:
        panel = np.asarray(Image.open(path))
        side = panel.shape[0]
        assert panel.shape == (side, 3 * side + 10, 3)
        assert (panel[:, side : side + 5] == 255).all()
        assert (panel[:, :side] != panel[:, side + 5 : 2 * side + 5]).any()


def test_pictures_have_three_channels(run: Run, bank: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(
        *("--model.test_mode", "vis_memory", "--ckpt_path", bank),
        *("--model.model_cfg.sam2_infer_cfgs.n_pca_components", "2"),
        code=2,
    )
    assert "n_pca_components must be 3" in capsys.readouterr().err
