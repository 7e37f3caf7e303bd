"""From references as they were given to references as the memory keeps them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from no_time_to_train.dataset.references.crops import CropOptions, crop_reference
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.dataset.references.masks import complete_masks
from no_time_to_train.errors import DatasetError
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.memory.reference_set import StoredReference
from no_time_to_train.models.sam.marked_masks import masks_from_boxes, masks_from_points
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.results import ReferenceCrop

log = logging.getLogger(__name__)


def encode_references(
    model: ReferenceSegmenter,
    given: Sequence[NamedReference],
    options: CropOptions,
    *,
    negative: bool,
    skip: bool,
) -> list[StoredReference]:
    """Make missing masks, cut the references out and pool their features.

    Args:
        model: its bank is replaced by one of these references.
        given: of any classes.
        options: how they are cut out.
        negative: remember them as negative references.
        skip: name and leave out what cannot be used, instead of raising.

    Raises:
        DatasetError: a reference, or with ``skip`` every reference of a class, cannot be used.
    """
    masked = _with_masks(model, given)
    usable: list[tuple[NamedReference, ReferenceCrop]] = []
    for item in masked:
        try:
            crop = crop_reference(item.sample, model.encoder.img_size, options)
        except DatasetError as error:
            if not skip:
                raise
            log.warning("skipped: %s", error)
            continue
        usable.append((item, replace(crop, label=0, slot=len(usable))))
    if not isinstance(model.bank, MemoryBank):
        raise TypeError(
            f"references are pooled into a MemoryBank, this model has a {type(model.bank).__name__}"
        )
    model.bank = bank = model.bank.empty_like(("shown",), max(len(usable), 1))
    model.fill_memory([crop for _, crop in usable])
    stored = [
        StoredReference(
            item.class_name,
            item.sample.name,
            bank.sums[0, slot].cpu().clone(),
            float(bank.weights[0, slot]),
            negative,
            item.sample,
            {name: rows.cpu().clone() for name, rows in bank.centers_of(0, slot).items()},
        )
        for slot, (item, _) in enumerate(usable)
        if bool(bank.filled[0, slot])
    ]
    missing = {item.class_name for item in given} - {item.class_name for item in stored}
    if missing:
        raise DatasetError(f"no reference of {sorted(missing)[0]!r} could be used; see the lines above")
    return stored


def _with_masks(model: ReferenceSegmenter, given: Sequence[NamedReference]) -> list[NamedReference]:
    """SAM 2 makes the masks of those that came with a box or a point."""
    completed = complete_masks(
        [item.sample for item in given],
        lambda image, boxes: masks_from_boxes(model.sam, image, boxes),
        lambda image, points: masks_from_points(model.sam, image, points),
    )
    return [NamedReference(item.class_name, sample) for item, sample in zip(given, completed, strict=True)]
