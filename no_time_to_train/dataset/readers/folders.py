"""Plain folders: one folder per class, with the masks beside the images."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np

from no_time_to_train.dataset.coco.file import load_json
from no_time_to_train.dataset.coco.writer import CocoBuilder, CocoContent
from no_time_to_train.dataset.images import read_image_size
from no_time_to_train.dataset.readers.image_folders import image_files, image_with_stem
from no_time_to_train.dataset.readers.labelme import is_labelme, labelme_instances, stated_size
from no_time_to_train.dataset.readers.mask_images import read_alpha_mask, read_mask_instances
from no_time_to_train.dataset.readers.yolo import label_file, read_yolo_lines
from no_time_to_train.errors import DatasetError
from no_time_to_train.files import readable
from no_time_to_train.masks.gate import shape_scale

MASK_MARK = re.compile(r"[_.-]masks?(?=[_.\-\d]|$)", re.IGNORECASE)
"""``12_mask``, ``12.mask``, ``12_mask_3``, ``12-mask3``: masks of the image ``12``."""


def read_class_folders(root: str | Path, images: str | Path | None = None) -> tuple[CocoContent, Path]:
    """Read ``root/<class>/<image>`` with the annotation of each image beside it.

    An annotation is, in this order: mask pictures named after the image (``12_mask.png``, or
    ``12_mask_1.png``, ``12_mask_2.png``, ...; see ``read_mask_instances`` for what is in one), a labelme
    json, a YOLO text, the image's own alpha channel. ``root/images/<class>`` with ``root/masks/<class>`` is
    read as well, where a mask may have the image's own name or lie in a folder of that name. Images
    directly in ``root`` are of one class, named after the folder.

    Args:
        images: where the images are, when ``root`` holds masks only: ``<images>/<class>/<image>``
            or ``<images>/<image>``.

    Returns:
        COCO content, and the folder that its file names are relative to.

    Raises:
        DatasetError: no image with an annotation at all.
    """
    root = Path(root)
    base = Path(images) if images is not None else root
    image_root, mask_root = root, root
    if images is None and (root / "images").is_dir() and (root / "masks").is_dir():
        image_root, mask_root = root / "images", root / "masks"
    folders = sorted(path for path in mask_root.iterdir() if path.is_dir() and not path.name.startswith("."))
    builder = CocoBuilder()
    bare = []
    for folder in folders or [mask_root]:
        name = readable((folder if folders else root).resolve().name)
        for image, masks in _images_of(folder, image_root, None if images is None else base):
            try:
                if not _add(builder, image, masks, name, base):
                    bare.append(image.name)
            except DatasetError as error:
                builder.leave_out(image.name, str(error))
    if not builder.annotations:
        raise DatasetError(
            f"{root}: no image with a mask in it; expected <class>/<image> with <image>_mask.png, a labelme "
            "json or a YOLO txt beside it, or with the mask in the alpha channel"
            + "".join(f"; {what}: {why}" for what, why in builder.left_out[:1])
        )
    if bare:
        warnings.warn(
            f"{root}: {len(bare)} images have no mask, box or point and are left out, "
            f"e.g. {', '.join(bare[:3])}",
            stacklevel=2,
        )
    return builder.content(), base


def masked_image(path: Path, folder: Path) -> Path | None:
    """The image in ``folder`` that a mask picture belongs to by its name, or None."""
    for mark in reversed(list(MASK_MARK.finditer(path.stem))):
        image = image_with_stem(folder, path.stem[: mark.start()])
        if image is not None and image != path:
            return image
    return image_with_stem(folder, path.stem) if folder != path.parent else None


def _images_of(folder: Path, image_root: Path, apart: Path | None) -> list[tuple[Path, list[Path]]]:
    """The images of one class, each with its mask pictures.

    Args:
        folder: where the masks are.
        image_root: where ``<class>/<image>`` is.
        apart: folder of images when ``folder`` holds masks only.
    """
    if apart is not None:
        return _images_of_masks(folder, apart)
    place = image_root / folder.name if (image_root / folder.name).is_dir() else folder
    pictures = image_files(folder)
    owner = {path: _owner(path, folder, place) for path in pictures}
    images = [path for path in image_files(place) if place != folder or owner[path] is None]
    return [(image, [path for path in pictures if owner[path] == image]) for image in images]


def _owner(path: Path, folder: Path, place: Path) -> Path | None:
    """The image of a mask picture: of its own name, or of its folder's name (``12/1.png`` for ``12.jpg``)."""
    beside = place / path.relative_to(folder).parent
    image = masked_image(path, beside)
    if image is None and beside != place:
        image = image_with_stem(beside.parent, beside.name)
    return image


def _images_of_masks(folder: Path, apart: Path) -> list[tuple[Path, list[Path]]]:
    found: dict[Path, list[Path]] = {}
    for path in image_files(folder):
        for place in (apart / folder.name, apart):
            image = _owner(path, folder, place)
            if image is not None:
                found.setdefault(image, []).append(path)
                break
        else:
            raise DatasetError(f"{path}: no image of that name for this mask in {apart}")
    return list(found.items())


def _add(builder: CocoBuilder, image: Path, masks: list[Path], name: str, base: Path) -> bool:
    """Add one image with its annotations; False when it has none."""
    file_name = image.relative_to(base).as_posix()
    if masks:
        instances = [mask for path in masks for mask in read_mask_instances(path)]
        return _add_masks(builder, image, file_name, instances, name)
    size = read_image_size(image)
    json_file = image.with_suffix(".json")
    if json_file.is_file() and is_labelme(content := load_json(json_file)):
        size = read_image_size(image, stated_size(content))
        return _add_instances(builder, file_name, labelme_instances(content, size), size, name)
    text = label_file(image)
    if text is not None:
        lines = [(f"line {line}", fields) for line, _, fields in read_yolo_lines(text, size)]
        return _add_instances(builder, file_name, lines, size, name)
    alpha = read_alpha_mask(image)
    return alpha is not None and _add_masks(builder, image, file_name, [alpha], name)


def _add_masks(builder: CocoBuilder, image: Path, file_name: str, masks: list[np.ndarray], name: str) -> bool:
    if not masks:
        return False
    # A mask drawn on the stored pixels of a turned photograph has their size, and then so has the image.
    size = read_image_size(image, (masks[0].shape[0], masks[0].shape[1]))
    shape_scale(masks[0].shape, size)
    image_id = builder.add_image(file_name, size)
    for mask in masks:
        builder.add_mask(image_id, name, mask)
    return True


def _add_instances(
    builder: CocoBuilder,
    file_name: str,
    instances: list[tuple[str, dict[str, object]]],
    size: tuple[int, int],
    name: str,
) -> bool:
    """Take those that are labelled as the class; when none is, the folder's name decides for all."""
    own = [one for one in instances if one[0] == name] or instances
    usable = [fields for _, fields in own if "left_out" not in fields]
    for label, fields in own:
        if "left_out" in fields:
            builder.leave_out(f"{file_name} ({label})", fields["left_out"])
    if usable:
        image_id = builder.add_image(file_name, size)
        for fields in usable:
            builder.add(image_id, name, **fields)
    return bool(usable)
