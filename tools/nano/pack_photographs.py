"""Pack photographs, plain pictures, cut-outs and generated scenes for ``train_photographs``."""

from __future__ import annotations

import argparse
import io
import json
import lzma
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.masks.rle import encode_mask, json_rle, segmentation_to_rle
from no_time_to_train.scenes import PHOTO, SceneStyle, Split, draw_classes, draw_scene
from tools.nano.pictures import load_style_pictures

LONG_SIDE = {"animals-openimages": 400, "trash-bags": 416, "potholes": 352, "wagon-load": 416}
"""Sources whose pictures are made smaller than they come."""
WATCHED = 3
"""Each so many-th validation picture is packed, to watch the training."""
SCENES, WATCHED_SCENES = 360, 16
STYLES: dict[int, dict[str, Any]] = {
    6: {"num_objects": (8, 24), "radius": (0.06, 0.16), "touching": 0.8},
    7: {"num_objects": (8, 24), "radius": (0.06, 0.16), "touching": 0.8},
    8: {"num_objects": (20, 45), "radius": (0.012, 0.035)},
    9: {"num_objects": (20, 45), "radius": (0.015, 0.045), "touching": 0.8},
}
"""Packed and tiny scenes, four of ten."""


def compressed(image: Image.Image, quality: int, long_side: int | None = None) -> bytes:
    """AVIF, made smaller where it is larger than ``long_side``."""
    if long_side is not None and max(image.size) > long_side:
        factor = long_side / max(image.size)
        size = (round(image.width * factor), round(image.height * factor))
        image = image.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "AVIF", quality=quality, speed=8)
    return file.getvalue()


def photographs(data: Path, part: str) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The pictures of a part of ``split.json`` that show something."""
    wanted = set(json.loads((data / "split.json").read_text(encoding="utf-8"))[part])
    number = 0
    for file in sorted(data.glob("*/annotations.json")):
        coco, source = CocoFile.read(file, warn=False), file.parent.name
        names = {category["id"]: category["name"] for category in coco.categories}
        for image_id, record in coco.images.items():
            path = f"{source}/images/{Path(record.file_name).name}"
            mine = [a for a in coco.annotations if a.image_id == image_id and not a.is_crowd]
            if path not in wanted or not mine:
                continue
            number += 1
            if part == "val" and (number - 1) % WATCHED:
                continue
            image = Image.open(data / path).convert("RGB")
            size = (image.height, image.width)
            codes = [json_rle(segmentation_to_rle(a.segmentation, size))["counts"] for a in mine]
            about = {"kind": part, "src": source, "h": size[0], "w": size[1]}
            about |= {"masks": codes}
            about |= {"cls": [names[a.category_id] for a in mine]}
            yield compressed(image, 36 if part == "train" else 40, LONG_SIDE.get(source)), about


def scenes() -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Generated scenes of the training families, and a few of the validation families to watch."""
    pictures = load_style_pictures()
    for number in [*range(SCENES), *range(10_000, 10_000 + WATCHED_SCENES)]:
        watched = number >= 10_000
        split: Split = "val" if watched else "train"
        rng, kind = np.random.default_rng([23, number]), 0 if watched else number % 10
        count = int(rng.integers(1, 3) if kind in STYLES else rng.integers(2, 7))
        classes = draw_classes(rng, split, 5 if watched else count, hard=rng.random() < 0.4)
        style = SceneStyle(size=512)
        if not watched:
            classes = [replace(c, texture=PHOTO) if rng.random() < 0.25 else c for c in classes]
            style = replace(style, photos=pictures.photos, grounds=pictures.grounds)
            if kind in STYLES:
                style = replace(style, **STYLES[kind])
            else:
                several = (2, 14) if rng.random() < 0.3 else (3, 8)
                radius = (0.05, 0.2) if rng.random() < 0.5 else (0.08, 0.4)
                style = replace(style, num_objects=several, radius=radius)
        scene = draw_scene(rng, classes, style, split=split)
        codes = [json_rle(encode_mask(mask))["counts"] for mask in scene.masks if mask.sum() >= 20]
        about = {"kind": "scene-val" if watched else "scene", "src": "scenes", "h": 512, "w": 512}
        yield (
            compressed(Image.fromarray(scene.image), 38, 512),
            {**about, "masks": codes},
        )


def everything(data: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """All of the pack, in its order."""
    yield from photographs(data, "train")
    yield from photographs(data, "val")
    for path in sorted((data / "plain").rglob("*.jpg")):
        yield (
            compressed(Image.open(path).convert("RGB"), 30, 400),
            {"kind": "plain", "src": path.parent.name},
        )
    for path in sorted((data / "cutouts").rglob("*.webp")):
        about = {"kind": "cutout", "src": path.parent.name, "name": path.stem}
        yield compressed(Image.open(path).convert("RGBA"), 42, 160), about
    yield from scenes()


def main() -> None:
    """Write ``pictures.bin`` and ``index.json.xz``."""
    parser = argparse.ArgumentParser(description="Pack the training pictures of the photograph models.")
    parser.add_argument("--data", type=Path, required=True, help="folder with split.json and the sources")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    index, at = [], 0
    with (args.out / "pictures.bin").open("wb") as file:
        for held, about in everything(args.data):
            index.append({**about, "at": at, "n": len(held)})
            at += file.write(held)
    (args.out / "index.json.xz").write_bytes(lzma.compress(json.dumps(index).encode()))
    print(f"{len(index)} pictures, {at / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
