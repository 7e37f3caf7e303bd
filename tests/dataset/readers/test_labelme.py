"""labelme files with every kind of shape."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.dataset.annotation_frames import segmentation_to_mask
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.readers.labelme import read_labelme
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import write_image, write_json


def shape(label: str, kind: str, points: list[list[float]], **more: Any) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points, "group_id": None} | more


def write_labelme(folder: Path, shapes: list[dict[str, Any]], stem: str = "x") -> Path:
    write_image(folder / f"{stem}.png")
    return write_json(
        folder / f"{stem}.json", {"shapes": shapes, "imagePath": f"{stem}.png", "imageData": None}
    )


def read_one(folder: Path, *shapes: dict[str, Any]) -> CocoFile:
    write_labelme(folder, list(shapes))
    return CocoFile.read(read_labelme(folder))


def test_polygons_and_groups(tmp_path: Path) -> None:
    left, right = [[5, 5], [15, 5], [15, 15], [5, 15]], [[30, 5], [40, 5], [40, 15], [30, 15]]
    coco = read_one(
        tmp_path,
        shape("fig", "polygon", left, group_id=1),
        shape("fig", "polygon", right, group_id=1),
        shape("date", "polygon", left, group_id=1),
        shape("fig", "polygon", left),
        shape("fig", "polygon", right),
    )
    assert [category["name"] for category in coco.categories] == ["date", "fig"]
    areas = sorted((annotation.category_id, annotation.area) for annotation in coco.annotations)
    assert areas == [(1, 100), (2, 100), (2, 100), (2, 200)]


def test_rectangles_are_boxes_and_points_are_points(tmp_path: Path) -> None:
    coco = read_one(tmp_path, shape("a", "rectangle", [[20, 30], [5, 6]]), shape("a", "point", [[7, 8]]))
    box, point = coco.annotations
    assert (box.box, box.segmentation) == ((5, 6, 15, 24), None)
    assert (point.point, point.box, point.segmentation) == ((7, 8), None, None)


def test_circles_are_round(tmp_path: Path) -> None:
    coco = read_one(tmp_path, shape("a", "circle", [[40, 30], [40, 40]]))
    assert coco.annotations[0].area == pytest.approx(np.pi * 100, rel=0.03)
    assert coco.annotations[0].box == (30, 20, 20, 20)


def test_embedded_masks_lie_at_their_corner(tmp_path: Path) -> None:
    part = np.array([[1, 0, 1], [0, 1, 1]], dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(part * 255).save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode()
    coco = read_one(tmp_path, shape("a", "mask", [[4, 9], [6, 10]], mask=text))
    found = coco.annotations[0].segmentation
    assert found is not None
    mask = segmentation_to_mask(found, (60, 80))
    np.testing.assert_array_equal(mask[9:11, 4:7], part.astype(bool))
    assert mask.sum() == 4


def test_images_are_found_by_the_name_of_the_file_too(tmp_path: Path) -> None:
    path = write_labelme(tmp_path / "sub", [shape("a", "point", [[1, 1]])])
    write_json(path, {"shapes": [], "imagePath": "..\\elsewhere\\gone.jpg"})
    write_json(tmp_path / "other.json", {"images": []})
    assert [image.file_name for image in CocoFile.read(read_labelme(tmp_path)).images.values()] == [
        "sub/x.png"
    ]
    (tmp_path / "sub/x.png").unlink()
    with pytest.raises(DatasetError, match=r"its image .*gone\.jpg' is not in"):
        read_labelme(tmp_path)
    path.unlink()
    with pytest.raises(DatasetError, match="no labelme file with an image"):
        read_labelme(tmp_path)
