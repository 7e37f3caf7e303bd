"""Small annotation files, masks and results that the tests of this room share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from scipy import ndimage

from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.results import Instances


def tiny_coco(**changes: Any) -> dict[str, Any]:
    """Two 60x80 images, two classes, three annotations; ``changes`` replace whole lists."""
    content: dict[str, Any] = {
        "images": [
            {"id": 1, "file_name": "a.png", "height": 60, "width": 80},
            {"id": 2, "file_name": "b.png", "height": 60, "width": 80},
        ],
        "annotations": [
            box_annotation(1, 1, 3, [10, 10, 20, 20]),
            box_annotation(2, 1, 7, [40, 20, 10, 30]),
            box_annotation(3, 2, 3, [5, 5, 50, 40]),
        ],
        "categories": [{"id": 3, "name": "date"}, {"id": 7, "name": "fig"}],
    }
    return content | changes


def box_annotation(
    number: int, image_id: Any, category_id: Any, box: list[float], **more: Any
) -> dict[str, Any]:
    """A rectangle as a polygon, with everything that COCO asks for."""
    x, y, w, h = box
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": box,
        "area": w * h,
        "iscrowd": 0,
        "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
    } | more


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_image(path: Path, size: tuple[int, int] = (60, 80), seed: int = 0) -> Path:
    """A picture of noise, (H, W) ``size``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def blob(seed: int, size: tuple[int, int], smooth: float = 2.0) -> np.ndarray:
    """A random mask, (H, W) bool: blobs with holes, several parts, touching the border."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).random(size), smooth)
    return field > np.quantile(field, 0.6)


def random_instances(seed: int, n: int, size: tuple[int, int] = (30, 40), classes: int = 2) -> Instances:
    """N random blobs, best first."""
    rng = np.random.default_rng(seed)
    masks = [blob(seed * 100 + index, size, float(rng.uniform(0.5, 3))) for index in range(n)]
    stacked = torch.from_numpy(np.array(masks)) if n else torch.zeros((0, *size), dtype=torch.bool)
    scores = torch.sort(torch.from_numpy(rng.random(n)), descending=True).values.float()
    return Instances.from_masks(stacked.bool(), scores, torch.from_numpy(rng.integers(0, classes, n)))


def truth_as_rows(content: dict[str, Any], score: float = 1.0) -> list[dict[str, Any]]:
    """Ground truth fed back as predictions; crowds left out."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    rows = []
    for annotation in content["annotations"]:
        if annotation.get("iscrowd"):
            continue
        row = {key: annotation[key] for key in ("image_id", "category_id", "bbox")} | {"score": score}
        if annotation.get("segmentation"):
            rle = segmentation_to_rle(annotation["segmentation"], sizes[annotation["image_id"]])
            row["segmentation"] = {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
        rows.append(row)
    return rows


def mask_rle(mask: np.ndarray) -> dict[str, Any]:
    """Compressed run-length code with text counts."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
