"""References of named classes, as the Python face and the commands take them: by hand, or from a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from no_time_to_train.dataset.coco.classes import CategoryMap
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco
from no_time_to_train.dataset.images import as_rgb_array
from no_time_to_train.dataset.readers.detect import read_annotated
from no_time_to_train.dataset.readers.mask_images import read_alpha_mask
from no_time_to_train.dataset.references.from_python import AnyImage, image_size, make_references
from no_time_to_train.dataset.samples import Reference
from no_time_to_train.errors import DatasetError, did_you_mean
from no_time_to_train.masks.gate import MaskError, checked_box, checked_segmentation
from no_time_to_train.masks.rle import encode_mask


@dataclass(frozen=True)
class NamedReference:
    """One reference and the name of its class; the label and slot of the sample say nothing yet."""

    class_name: str
    sample: Reference


def references_by_hand(
    class_name: str,
    image: AnyImage | None,
    *,
    mask: Any = None,
    box: Any = None,
    point: Any = None,
    annotation: Any = None,
) -> list[NamedReference]:
    """References in one image, each given by exactly one kind of mark.

    Args:
        class_name: any text.
        image: path, array, tensor or Pillow image; may be left out when ``annotation`` is a file.
        mask: (H, W), or (N, H, W) for N instances, or a mask picture.
        box: (x1, y1, x2, y2) in pixels, or N of them.
        point: (x, y) in pixels, or N of them, each inside another instance.
        annotation: a COCO annotation (a mapping with ``segmentation`` or ``bbox``), several of them, or an
            annotation file of any known format, of which the instances of this class are taken.

    Without a mark, the image's own alpha channel is the mask.

    Raises:
        DatasetError: no mark, several, or one that does not fit.
    """
    marks = {"mask": mask, "box": box, "point": point, "annotation": annotation}
    given = [name for name, value in marks.items() if value is not None]
    if len(given) > 1:
        raise DatasetError(f"{class_name}: give one of mask, box, point and annotation, got {given}")
    if annotation is not None:
        found = _annotated(class_name, image, annotation)
    elif image is None:
        raise DatasetError(f"{class_name}: a reference needs an image (or annotation=<file>)")
    elif given:
        found = make_references(image, masks=mask, boxes=box, points=point, name=_title(image))
    else:
        found = _from_alpha(class_name, image)
    return [NamedReference(class_name, _compact(reference)) for reference in found]


def references_in(
    source: str | Path,
    *,
    images: str | Path | None = None,
    classes: Sequence[str] | None = None,
    class_split: str | None = None,
    shots: int | None = None,
    seed: int = 42,
    complete: bool = False,
) -> list[NamedReference]:
    """References of a folder or annotation file of any known format (see ``readers.detect``).

    Args:
        images: folder of the images, when they are not beside the annotations.
        classes: take these only; None takes all that have annotations.
        class_split: a named list of classes, when ``classes`` are not given.
        shots: most references of a class, drawn with ``seed``; None takes all.
        complete: see :func:`declared_complete`.
    """
    coco, root = read_annotated(source, images)
    chosen = category_map(coco, classes, class_split, annotated_only=True)
    references = references_from_coco(coco, root, chosen, shots, seed=seed)
    if complete:
        references = declared_complete(references, coco, chosen)
    return [NamedReference(chosen.names[reference.label], reference) for reference in references]


def declared_complete(
    references: Sequence[Reference], coco: CocoFile, categories: CategoryMap
) -> list[Reference]:
    """The same, as all objects of the classes that their images show, so that the rest is background.

    Raises:
        DatasetError: an image has another annotation, a crowd for example, that is no reference.
    """
    taken = {reference.annotation_id for reference in references}
    for image_id in dict.fromkeys(reference.image_id for reference in references):
        left = [
            a
            for a in coco.annotations
            if a.image_id == image_id and a.category_id in categories.index_of and a.id not in taken
        ]
        if left:
            raise DatasetError(
                f"{coco.images[left[0].image_id].file_name} was declared complete, but {len(left)} of its "
                f"annotated objects are no references; take all of them, or leave complete out"
            )
    return [replace(reference, complete=True) for reference in references]


def same_reference(one: NamedReference, other: NamedReference) -> bool:
    """Whether two references are of one class with one mark in one image, as a cell run twice gives them.

    SAM 2 makes one mask of one box or point, so its masks are not compared.
    """
    first, second = one.sample, other.sample
    if (one.class_name, first.box, first.point) != (other.class_name, second.box, second.point):
        return False
    if first.box is None and first.point is None and first.segmentation != second.segmentation:
        return False
    if isinstance(first.image, Path) or isinstance(second.image, Path):
        return str(first.image) == str(second.image)
    return np.array_equal(first.image, second.image)


def _annotated(class_name: str, image: AnyImage | None, annotation: Any) -> list[Reference]:
    if isinstance(annotation, (str, Path)):
        return _from_file(class_name, image, Path(annotation))
    rows = [annotation] if isinstance(annotation, Mapping) else list(annotation)
    if image is None:
        raise DatasetError(f"{class_name}: an annotation that is no file needs its image")
    held = Path(image).expanduser() if isinstance(image, (str, Path)) else as_rgb_array(image)
    title = _title(image)
    references = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping) or not (row.get("segmentation") or row.get("bbox")):
            raise DatasetError(f"{class_name}: an annotation has neither segmentation nor bbox: {row}")
        try:
            references.append(
                Reference(
                    held,
                    0,
                    0,
                    box=checked_box(row["bbox"]) if row.get("bbox") else None,
                    segmentation=checked_segmentation(row["segmentation"], image_size(held))
                    if row.get("segmentation")
                    else None,
                    name=title if len(rows) == 1 else f"{title}, instance {number}",
                )
            )
        except MaskError as error:
            raise DatasetError(f"{class_name}: annotation {number} has {error}") from None
    return references


def _from_file(class_name: str, image: AnyImage | None, path: Path) -> list[Reference]:
    """The instances of a class in an annotation file; of a file with one class only, all of them."""
    beside = Path(image).parent if isinstance(image, (str, Path)) else None
    elsewhere = beside is not None and (path.is_dir() or beside.resolve() != path.parent.resolve())
    found = references_in(path, images=beside if elsewhere else None)
    names = sorted({reference.class_name for reference in found})
    own = [item.sample for item in found if item.class_name == class_name or len(names) == 1]
    if not own:
        raise DatasetError(
            f"{path} has no instance of {class_name!r}{did_you_mean(class_name, names)} (it has {names})"
        )
    if image is None:
        return own
    held = Path(image) if isinstance(image, (str, Path)) else as_rgb_array(image)
    if isinstance(held, Path) and len({str(reference.image) for reference in own}) > 1:
        own = [reference for reference in own if Path(str(reference.image)).name == held.name]
        if not own:
            raise DatasetError(f"{path} has no instance of {class_name!r} in {held.name}")
    return [replace(reference, image=held) for reference in own]


def _from_alpha(class_name: str, image: AnyImage) -> list[Reference]:
    alpha = read_alpha_mask(image) if isinstance(image, (str, Path)) else None
    if alpha is None:
        raise DatasetError(
            f"{class_name}: say where the object is in {_title(image)}: mask=, box=, point= or annotation= "
            f"(or an image file with an alpha channel)"
        )
    return make_references(image, masks=alpha, name=_title(image))


def _compact(reference: Reference) -> Reference:
    """The same reference with its mask as a run-length code, so that the caller's array can go."""
    if reference.mask is None:
        return reference
    size = (int(reference.mask.shape[0]), int(reference.mask.shape[1]))
    return replace(
        reference, mask=None, segmentation=encode_mask(np.asarray(reference.mask)), stated_size=size
    )


def _title(image: AnyImage | None) -> str:
    return Path(image).name if isinstance(image, (str, Path)) else "image given in Python"
