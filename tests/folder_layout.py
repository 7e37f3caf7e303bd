"""Generated scenes laid out as a user would: one folder of references per class, one folder of pictures."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from no_time_to_train.dataset.annotation_frames import segmentation_to_mask
from no_time_to_train.scenes import write_demo_dataset

FAST = {"points_per_side": 6, "iou_thr": 0.0, "img_size": 192, "device": "cpu"}
"""Options that keep a search short; the figures mean little."""


@dataclass(frozen=True)
class Layout:
    """Where things lie.

    Attributes:
        references: ``<class>/<image>.png`` with ``<image>_mask.png``, one instance an image.
        pictures: folder of target pictures.
        truth: COCO json of the pictures.
        class_names: in alphabetical order, as the folders are read.
    """

    references: Path
    pictures: Path
    truth: Path
    class_names: tuple[str, ...]

    def shot(self, class_name: str, number: int = 0) -> tuple[Path, Path]:
        """Image and mask of one reference."""
        masks = sorted((self.references / class_name).glob("*_mask.png"))
        mask = masks[number]
        return mask.with_name(mask.name.replace("_mask", "")), mask


def write_layout(root: Path, *, targets: int = 3, classes: int = 3, shots: int = 2, seed: int = 3) -> Layout:
    """Write ``root/my references`` and ``root/my pictures``."""
    data = write_demo_dataset(
        root / "scenes", seed=seed, num_targets=targets, num_classes=classes, shots=shots, size=192
    )
    references = json.loads(data.references.read_text())
    folder = root / "my references"
    names = {category["id"]: category["name"] for category in references["categories"]}
    used: set[tuple[str, str]] = set()
    for annotation in references["annotations"]:
        image = next(item for item in references["images"] if item["id"] == annotation["image_id"])
        name = names[annotation["category_id"]]
        if (name, image["file_name"]) in used:
            continue
        used.add((name, image["file_name"]))
        source = _image(data.root, image["file_name"])
        (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / name / source.name)
        mask = segmentation_to_mask(annotation["segmentation"], (image["height"], image["width"]))
        picture = Image.fromarray(mask.astype(np.uint8) * 255)
        picture.save(folder / name / f"{source.stem}_mask.png")
    pictures = root / "my pictures"
    pictures.mkdir()
    truth = json.loads(data.targets.read_text())
    for image in truth["images"]:
        source = _image(data.root, image["file_name"])
        shutil.copy(source, pictures / source.name)
        image["file_name"] = source.name
    path = root / "truth.json"
    path.write_text(json.dumps(truth))
    return Layout(folder, pictures, path, tuple(sorted(names.values())))


def _image(root: Path, file_name: str) -> Path:
    beside = root / file_name
    return beside if beside.is_file() else root / "images" / file_name
