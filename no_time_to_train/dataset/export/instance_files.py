"""Files of one image's instances: COCO rows, the picture with masks, one mask picture per instance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.dataset.export.pngs import InstancePngs
from no_time_to_train.files import write_json
from no_time_to_train.results import Instances

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def save_instances(found: Instances, target: Path, image: Any = None) -> list[Path]:
    """Write a ``.json`` file, a picture, or a folder with both and ``masks/<class>/<image>_mask_<n>.png``.

    Args:
        image: to draw on; None reads the file that the instances were found in. A folder gets no picture
            where there is neither.

    Returns:
        The files written.
    """
    suffix = target.suffix.lower()
    if suffix == ".json":
        return [_write_rows(found, target)]
    if suffix in PICTURES:
        return [_write_picture(found, target, image)]
    name = found.name or (found.path.name if found.path else "image")
    result = ImageResult(name, found)
    stem = target / result.relative_path.with_suffix("")
    written = [_write_rows(found, stem.with_name(f"{stem.name}.json"))]
    if image is not None or found.path is not None:
        written.append(_write_picture(found, stem.with_name(f"{stem.name}.jpg"), image))
    masks = InstancePngs(target / "masks", found.class_names)
    written += masks.write(result)
    return written


def _write_rows(found: Instances, path: Path) -> Path:
    write_json(path, found.to_coco())
    return path


def _write_picture(found: Instances, path: Path, image: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    found.plot(image).save(path, quality=90)
    return path
