"""YOLO: one text file per image, a line per object: class and box, or class and polygon, as fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.dataset.coco.writer import CocoBuilder, CocoContent, mask_fields
from no_time_to_train.dataset.images import read_image_size
from no_time_to_train.dataset.readers.image_folders import image_files
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.rle import segmentation_to_rle


def read_yolo(root: str | Path, split: str | None = None, images: str | Path | None = None) -> CocoContent:
    """Read a YOLO data set.

    Args:
        root: folder with ``data.yaml`` (or ``classes.txt``), or the yaml file itself. Images and texts lie
            side by side, or in ``images`` and ``labels`` that mirror each other.
        split: ``train``, ``val`` or ``test`` of the yaml; None: every image under ``root``.
        images: where the images are, when ``root/labels`` mirrors a folder elsewhere; their names in the
            result are then relative to it.

    An image without a text file is one without objects, as YOLO has it.

    Returns:
        COCO content with image names relative to the root; category ids from 1 in the order of the names.
    """
    root = Path(root)
    yaml_file = root if root.is_file() else next(iter(sorted(root.glob("*.y*ml"))), None)
    root = root.parent if root.is_file() else root
    config = _read_yaml(yaml_file) if yaml_file is not None else {}
    names = class_names(root, config)
    builder = CocoBuilder(names)
    base = root if images is None else Path(images)
    texts = {
        image: label_file(image) if images is None else _mirrored(image, base, root / "labels")
        for image in _split_images(base, config, split)
    }
    if not any(texts.values()):
        raise DatasetError(f"{root}: no image with a YOLO text file was found in it")
    for image, text in texts.items():
        size = read_image_size(image)
        image_id = builder.add_image(image.relative_to(base).as_posix(), size)
        for index, fields in read_yolo_lines(text, size) if text is not None else []:
            name = names[index] if index < len(names) else str(index)
            builder.add(image_id, name, **fields)
    return builder.content()


def label_file(image: Path) -> Path | None:
    """The text file of an image: beside it, or in the mirrored ``labels`` folder."""
    beside = image.with_suffix(".txt")
    if beside.is_file():
        return beside
    parts = list(image.with_suffix(".txt").parts)
    for position in range(len(parts) - 2, -1, -1):
        if parts[position] == "images":
            mirrored = Path(*parts[:position], "labels", *parts[position + 1 :])
            return mirrored if mirrored.is_file() else None
    return None


def _mirrored(image: Path, base: Path, labels: Path) -> Path | None:
    text = (labels / image.relative_to(base)).with_suffix(".txt")
    return text if text.is_file() else None


def read_yolo_lines(path: Path, size: tuple[int, int]) -> list[tuple[int, dict[str, Any]]]:
    """Class index and ``bbox`` or ``segmentation`` of every line, in pixels of (H, W) ``size``.

    Four numbers after the class are a box (centre and size); an even number of at least six are a
    polygon; an odd number has the confidence at its end, which is dropped.
    """
    height, width = size
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            index, values = int(float(words[0])), [float(word) for word in words[1:]]
        except ValueError:
            raise DatasetError(f"{path}, line {number}: not a line of numbers: {line[:60]!r}") from None
        values = values[: len(values) - len(values) % 2]
        if len(values) == 4:
            x, y, w, h = (
                value * side for value, side in zip(values, (width, height, width, height), strict=True)
            )
            found.append((index, {"bbox": [x - w / 2, y - h / 2, w, h], "area": w * h}))
        elif len(values) >= 6:
            points = np.reshape(values, (-1, 2)) * (width, height)
            found.append((index, _polygon_fields(points, size)))
        else:
            raise DatasetError(f"{path}, line {number}: needs a box or a polygon, got {len(values)} numbers")
    return found


def class_names(root: Path, config: Mapping[str, Any]) -> list[str]:
    """Names by class index, from the yaml or from ``classes.txt``; empty when neither has them."""
    names = config.get("names")
    if isinstance(names, Mapping):
        return [str(names[index]) for index in sorted(names)]
    if isinstance(names, Sequence) and not isinstance(names, str):
        return [str(name) for name in names]
    for name in ("classes.txt", "obj.names", "labels/classes.txt"):
        if (root / name).is_file():
            return _lines(root / name)
    return []


def _polygon_fields(points: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    polygon = points.ravel().tolist()
    return mask_fields(segmentation_to_rle([polygon], size)) | {"segmentation": [polygon]}


def _split_images(root: Path, config: Mapping[str, Any], split: str | None) -> list[Path]:
    if split is None:
        return image_files(root)
    entry = config.get(split)
    if not entry:
        raise DatasetError(f"{root}: data.yaml has no split {split!r}")
    files: list[Path] = []
    for part in [entry] if isinstance(entry, str) else entry:
        place = root / str(config.get("path") or "") / part
        place = place if place.exists() else root / Path(part).as_posix().removeprefix("../")
        if place.is_dir():
            files += image_files(place)
        elif place.is_file():
            files += [root / line for line in _lines(place)]
        else:
            raise DatasetError(f"{root}: {place} of split {split!r} does not exist")
    return files


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DatasetError(f"{path}: not a readable yaml file ({error})") from None
    return content if isinstance(content, dict) else {}
