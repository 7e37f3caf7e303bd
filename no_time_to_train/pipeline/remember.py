"""From references as they were given to the memory of a search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from no_time_to_train.dataset.references.crops import CropOptions, ReferenceCrops
from no_time_to_train.dataset.references.given import NamedReference
from no_time_to_train.dataset.references.masks import complete_masks
from no_time_to_train.dataset.samples import Reference, Unreadable
from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.models.sam.marked_masks import masks_from_boxes, masks_from_points
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.memory import BankT, Memory, make_memory
from no_time_to_train.pipeline.streams import Skips
from no_time_to_train.results import ReferenceCrop


def remember(
    model: ReferenceSegmenter[BankT],
    given: Sequence[NamedReference],
    options: CropOptions | None = None,
    *,
    negatives: Sequence[NamedReference] = (),
    skips: Skips | None = None,
) -> Memory[BankT]:
    """Make the memory of some references.

    Args:
        given: of any classes.
        options: how they are cut out.
        negatives: what the classes are not; see :func:`negatives_of`.
        skips: what becomes of a reference that cannot be used; None stops at it.

    Raises:
        DatasetError: a reference, or with ``skips`` every reference of a class, cannot be used.
    """
    stored = encode_references(model, given, options, skips=skips)
    against = encode_references(model, negatives, options, skips=skips, negative=True)
    return make_memory(model, [*stored, *against])


def encode_references(
    model: ReferenceSegmenter[BankT],
    given: Sequence[NamedReference],
    options: CropOptions | None = None,
    *,
    size: int | None = None,
    skips: Skips | None = None,
    negative: bool = False,
) -> list[StoredReference]:
    """Make missing masks, cut the references out and encode them; see :func:`remember`.

    Args:
        size: side of the crops in pixels; None takes the encoder's.
    """
    given = with_masks(model, given)
    crops = reference_crops(given, size or model.encoder.img_size, options or CropOptions())
    one_by_one = (crops[number] for number in range(len(crops)))
    stored = dict(encode_crops(model, given, one_by_one, skips or Skips(stop=True), negative=negative))
    require_every_class(given, stored.values())
    return [stored[number] for number in sorted(stored)]


def encoded_again(
    model: ReferenceSegmenter[BankT],
    references: Sequence[StoredReference],
    options: CropOptions | None = None,
) -> list[StoredReference]:
    """References as the model's encoder sees them now, in their order.

    Raises:
        ConfigError: one came from a memory file, which keeps no image.
    """
    again: dict[int, StoredReference] = {}
    for negative in (False, True):
        own = [number for number, item in enumerate(references) if item.negative == negative]
        given = [NamedReference(references[n].class_name, source_of(references[n])) for n in own]
        if given:
            again |= zip(own, encode_references(model, given, options, negative=negative), strict=True)
    return [again[number] for number in range(len(references))]


def source_of(reference: StoredReference) -> Reference:
    """What a reference was made of.

    Raises:
        ConfigError: it came from a memory file, which keeps no image.
    """
    if reference.source is None:
        raise ConfigError(
            f"{reference.name} came from a memory file, which keeps no images to learn from; "
            f"show the references again"
        )
    return reference.source


def with_masks(model: ReferenceSegmenter[BankT], given: Sequence[NamedReference]) -> list[NamedReference]:
    """SAM 2 makes the masks of those that came with a box or a point."""
    completed = complete_masks(
        [item.sample for item in given],
        lambda image, boxes: masks_from_boxes(model.sam, image, boxes),
        lambda image, points: masks_from_points(model.sam, image, points),
    )
    return [NamedReference(item.class_name, sample) for item, sample in zip(given, completed, strict=True)]


def reference_crops(given: Sequence[NamedReference], size: int, options: CropOptions) -> ReferenceCrops:
    """Crops of ``size`` pixels for :func:`encode_crops`, each with its place in ``given`` as its slot."""
    samples = [replace(item.sample, label=0, slot=number) for number, item in enumerate(given)]
    return ReferenceCrops(samples, size, options, skip_unreadable=True)


def encode_crops(
    model: ReferenceSegmenter[BankT],
    given: Sequence[NamedReference],
    crops: Iterable[ReferenceCrop | Unreadable],
    skips: Skips,
    *,
    negative: bool,
) -> Iterator[tuple[int, StoredReference]]:
    """Encode some of the crops of ``given``, in any order.

    Yields:
        The place in ``given`` and what is kept of it.
    """
    for crop in skips.readable(crops):
        item = given[crop.slot]
        encoded = model.encode_reference(crop)
        if encoded is None:
            skips.skip(
                DatasetError(f"{item.sample.name}: the mask is empty, so there is nothing to learn from")
            )
            continue
        yield (
            crop.slot,
            StoredReference(
                item.class_name, item.sample.name, encoded, negative, source=item.sample, side=crop.side
            ),
        )


def require_every_class(given: Sequence[NamedReference], stored: Iterable[StoredReference]) -> None:
    """Refuse a class of which nothing could be used.

    Raises:
        DatasetError: names it.
    """
    missing = {item.class_name for item in given} - {item.class_name for item in stored}
    if missing:
        raise DatasetError(f"no reference of {sorted(missing)[0]!r} could be used; see the lines above")
