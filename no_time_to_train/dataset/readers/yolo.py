"""YOLO: one text file per image, a line per object: class and box, or class and polygon, as fractions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.dataset.coco.writer import CocoBuilder, CocoContent, mask_fields
from no_time_to_train.dataset.images import read_image_size
from no_time_to_train.dataset.readers.image_folders import image_files
from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.masks.gate import MaskError, numbers
from no_time_to_train.masks.rle import segmentation_to_rle

OVERSHOOT = 0.5
"""How far a fraction may lie outside of [0, 1]; further out it is a pixel."""


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
    keypoints = _keypoint_numbers(config, root)
    names = class_names(root, config)
    builder = CocoBuilder(names.values())
    base = root if images is None else Path(images)
    texts = {
        image: label_file(image) if images is None else _mirrored(image, base, root / "labels")
        for image in _split_images(base, config, split)
    }
    if not any(texts.values()):
        raise DatasetError(f"{root}: no image with a YOLO text file was found in {base}")
    uses = Counter(text for text in texts.values() if text is not None)
    for image, text in texts.items():
        if text is not None and uses[text] > 1:
            builder.leave_out(image.name, f"images that share {text.name} with another; rename one of them")
            continue
        try:
            size = read_image_size(image)
            lines = [] if text is None else list(read_yolo_lines(text, size, keypoints))
        except DatasetError as error:
            builder.leave_out(image.name, error)
            continue
        image_id = builder.add_image(image.relative_to(base).as_posix(), size)
        for line, index, fields in lines:
            if "left_out" in fields:
                builder.leave_out(f"{text.name if text else image.name}, line {line}", fields["left_out"])
            else:
                builder.add(image_id, names.get(index, str(index)), **fields)
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


def read_yolo_lines(
    path: Path, size: tuple[int, int], keypoint_numbers: int = 0
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Number, class index, and ``bbox`` or ``segmentation`` of every line, in pixels of (H, W) ``size``.

    Four numbers after the class are a box (centre and size), also with the keypoints of a pose or with
    the score and number of a tracker behind them; an even count from six on is a polygon; an odd count has
    a score at its end, which is dropped. What is none of these has ``left_out``, the reason.

    Args:
        keypoint_numbers: that stand behind the box of a pose, as ``kpt_shape`` says; 0: none.
    """
    for number, line in enumerate(text_lines(path), 1):
        words = line.split()
        if words:
            try:
                index, fields = _line_fields(words, size, keypoint_numbers)
            except MaskError as error:
                index, fields = -1, {"left_out": str(error)}
            yield number, index, fields


def class_names(root: Path, config: Mapping[str, Any]) -> dict[int, str]:
    """Names by class index, from the yaml or from ``classes.txt``; empty when neither has them."""
    names = config.get("names")
    if isinstance(names, Mapping):
        try:
            return {int(index): str(names[index]) for index in sorted(names, key=int)}
        except ValueError:
            raise DatasetError(f"{root}: names in data.yaml must be a list, or have numbers") from None
    if isinstance(names, list):
        return {index: str(name) for index, name in enumerate(names)}
    for name in ("classes.txt", "obj.names", "labels/classes.txt"):
        if (root / name).is_file():
            return dict(enumerate(line.strip() for line in text_lines(root / name) if line.strip()))
    return {}


def text_lines(path: Path) -> list[str]:
    """The lines of a text file, whether or not it begins with a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as text ({error})") from None


def _line_fields(
    words: list[str], size: tuple[int, int], keypoint_numbers: int
) -> tuple[int, dict[str, Any]]:
    height, width = size
    class_number, *values = numbers(words)
    if class_number < 0 or class_number % 1:
        raise MaskError(f"class {words[0]}, where whole numbers from 0 on are classes")
    values = values[: _shape_numbers(words[1:], values, keypoint_numbers)]
    if len(values) < 4 or len(values) % 2:
        raise MaskError(f"{len(values)} numbers, where a box has 4 and a polygon at least 6")
    if min(values) < -OVERSHOOT or max(values) > 1 + OVERSHOOT:
        raise MaskError("values in pixels, where YOLO has fractions of the image")
    if len(values) == 4:
        x, y, w, h = np.multiply(values, (width, height, width, height)).tolist()
        return int(class_number), {"bbox": [x - w / 2, y - h / 2, w, h], "area": w * h}
    polygon = (np.reshape(values, (-1, 2)) * (width, height)).ravel().tolist()
    fields = mask_fields(segmentation_to_rle([polygon], size))
    if not fields["area"]:
        raise MaskError("polygons outside of their image, or too thin to cover a pixel")
    return int(class_number), fields | {"segmentation": [polygon]}


def _shape_numbers(words: list[str], values: list[float], keypoint_numbers: int) -> int:
    """How many of the numbers behind the class are the shape; behind it stand keypoints, score and number.

    Raises:
        MaskError: a triangle as well as a box with score and number.
    """
    count = len(values)
    if keypoint_numbers and count >= 4 + keypoint_numbers:
        return 4
    seen = values[6::3]  # a pose of x, y and visible: 0, 1 or 2
    visible = seen[: (count - 4) // 3]
    if count > 9 and (count - 4) % 3 < 2 and all(value in (0, 1, 2) for value in visible):
        return 4
    numbered = count >= 6 and count % 2 == 0 and re.fullmatch(r"\d+", words[-1]) is not None
    if numbered and values[-1] > 1:
        return count - 2
    if numbered and count == 6 and _is_box(values[:4]):
        raise MaskError("lines that can be a triangle and a tracker's box; give corners decimals")
    return count - count % 2


def _is_box(values: list[float]) -> bool:
    x, y, w, h = values
    return x - w / 2 >= 0 and x + w / 2 <= 1 and y - h / 2 >= 0 and y + h / 2 <= 1


def _keypoint_numbers(config: Mapping[str, Any], source: Path) -> int:
    shape = config.get("kpt_shape") or []
    if not (isinstance(shape, list) and all(re.fullmatch(r"\d{1,4}", str(side)) for side in shape)):
        raise DatasetError(f"{source}: kpt_shape must be two numbers, such as [17, 3], got {shape!r}")
    return math.prod(int(side) for side in shape) if shape else 0


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
            files += [root / line.strip() for line in text_lines(place) if line.strip()]
        else:
            raise DatasetError(f"{root}: {place} of split {split!r} does not exist")
    return files


def _read_yaml(path: Path) -> dict[str, Any]:
    """A yaml file with every word as text: ``no`` and ``on`` are names of classes here."""
    import yaml

    from no_time_to_train.config.yaml_files import require_small

    try:
        text = path.read_text(encoding="utf-8-sig")
        require_small(text, path)
        content = yaml.load(text, Loader=yaml.BaseLoader)  # builds text only
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ConfigError, RecursionError) as error:
        raise DatasetError(f"{path}: not a readable yaml file ({error})") from None
    return content if isinstance(content, dict) else {}
