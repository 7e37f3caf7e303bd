"""The function file for CVAT, with the types of its own package."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from no_time_to_train import Segmenter
from tests.folder_layout import FAST, write_layout


def test_masks_and_polygons_are_what_predict_finds(tmp_path: Path) -> None:
    cvat = pytest.importorskip("cvat_sdk.auto_annotation", reason="needs the package cvat-sdk")
    from cvat_sdk.masks import decode_mask

    from no_time_to_train.serve.cvat_function import create

    layout = write_layout(tmp_path / "data", targets=1)
    finder = Segmenter("dinov3_nano", "sam2_nano", **FAST).add_folder(layout.references)
    function = create(str(finder.save(tmp_path / "memory.safetensors")), device="cpu")
    assert isinstance(function.spec, cvat.DetectionFunctionSpec)
    assert [label.name for label in function.spec.labels] == list(finder.classes)
    picture = sorted(layout.pictures.iterdir())[0]
    found = finder.predict(picture, min_score=0.2)
    asked = SimpleNamespace(conf_threshold=0.2, conv_mask_to_poly=False, frame_name=picture.name)
    with Image.open(picture) as image:
        shapes = function.detect(asked, image)
        polygons = function.detect(SimpleNamespace(**vars(asked) | {"conv_mask_to_poly": True}), image)
    height, width = found.size
    assert [shape.label_id for shape in shapes] == found.labels.tolist() != []
    for shape, mask in zip(shapes, found.masks.numpy(), strict=True):
        decoded = decode_mask(shape.points, image_width=width, image_height=height)
        assert (np.asarray(decoded) == mask).all()
    assert {shape.type.value for shape in polygons} == {"polygon"}
    assert [shape.label_id for shape in polygons] == found.labels.tolist()
