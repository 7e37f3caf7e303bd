"""Options of ``ntt predict`` that change results do so, and a run with others is not gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from no_time_to_train import Segmenter
from no_time_to_train.cli import main
from no_time_to_train.dataset.export import export_results
from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.report.overlay import draw_instances
from tests.folder_layout import FAST, Layout, write_layout

OPTIONS = [f"--option={name}={value}" for name, value in FAST.items() if name != "device"]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_layout(tmp_path_factory.mktemp("options"), targets=1, classes=2, shots=3)


@pytest.fixture
def predict(layout: Layout, tmp_path: Path) -> Callable[..., Path]:
    def call(out: str, *words: str, code: int = 0) -> Path:
        given = [
            "--references",
            str(layout.references),
            "--images",
            str(layout.pictures),
            "--out",
            str(tmp_path / out),
        ]
        models = ["--encoder", "dinov3_nano", "--sam2", "sam2_nano", "--device", "cpu", *OPTIONS]
        assert main(["predict", *given, *models, "--format", "coco,overlay", *words]) == code
        return tmp_path / out

    return call


def results(folder: Path) -> bytes:
    return (folder / "predictions.json").read_bytes()


def test_the_overlap_of_tiles(predict: Callable[..., Path]) -> None:
    none, half = (predict(f"o{share}", "--tile", "96", "--overlap", share) for share in ("0", "0.3"))
    assert results(none) != results(half)


def test_the_seed_of_the_draw(predict: Callable[..., Path], layout: Layout) -> None:
    drawn = set()
    for seed in (0, 2):
        folder = predict(f"s{seed}", "--shots", "2", "--seed", str(seed))
        drawn.add((folder / "memory.safetensors").read_bytes())
        same = Segmenter("dinov3_nano", "sam2_nano", **FAST).add_folder(layout.references, shots=2, seed=seed)
        assert json.loads((folder / "run.json").read_text())["settings"]["memory"] == same.memory.digest()
    assert len(drawn) == 2


def test_what_is_drawn_is_over_the_threshold(predict: Callable[..., Path], layout: Layout) -> None:
    folder = predict("low", "--min-score", "0")
    scores = sorted(row["score"] for row in json.loads(results(folder)))
    middle = scores[len(scores) // 2]
    half = predict("half", "--min-score", repr(middle))
    (picture,) = layout.pictures.iterdir()
    one = Segmenter("dinov3_nano", "sam2_nano", **FAST).add_folder(layout.references).predict(picture)
    wanted = draw_instances(np.asarray(Image.open(picture)), one, one.class_names, min_score=middle)
    Image.fromarray(wanted).save(folder / "wanted.jpg", quality=90)
    drawn = (half / "overlays" / f"{picture.stem}.jpg").read_bytes()
    assert drawn == (folder / "wanted.jpg").read_bytes()
    assert drawn != (folder / "overlays" / f"{picture.stem}.jpg").read_bytes()
    annotations = json.loads((half / "annotations.json").read_text())["annotations"]
    assert len(annotations) == sum(score >= middle for score in scores)
    predict("half", "--resume", code=2)  # the default threshold is another one


def test_an_instance_exactly_at_the_least_score_stays(layout: Layout, tmp_path: Path) -> None:
    (picture,) = layout.pictures.iterdir()
    finder = Segmenter("dinov3_nano", "sam2_nano", **FAST).add_folder(layout.references)
    found = finder.predict(picture)
    least = float(found.scores[len(found) // 2])
    counted = int((found.scores >= least).sum())
    assert len(finder.predict(picture, min_score=least)) == counted
    export_results([ImageResult("a.png", found)], tmp_path, found.class_names, ["coco"], least)
    assert len(json.loads((tmp_path / "annotations.json").read_text())["annotations"]) == counted
    image = np.asarray(Image.open(picture))
    exact, above = (draw_instances(image, found, min_score=score) for score in (least, least + 1e-6))
    assert (exact != above).any()
