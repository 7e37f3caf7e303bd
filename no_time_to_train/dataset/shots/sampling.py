"""Which annotations become the shots of their categories."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable, Mapping, Sequence

from no_time_to_train.dataset.coco.class_splits import lvis_frequencies
from no_time_to_train.dataset.coco.classes import choose_categories
from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.dataset.samples import ImageId
from no_time_to_train.dataset.shots.file import FewShotTable, Shot
from no_time_to_train.errors import DatasetError

MIN_SIDE = 32  # pixels; both sides of the box
MIN_MARGIN = 10  # pixels between the box and each border of the image

Sizes = Mapping[ImageId, tuple[int, int] | None]
"""(H, W) of each image, None where it is not stated."""


def is_good_shot(annotation: Annotation, size: tuple[int, int] | None) -> bool:
    """Tell whether an annotation obeys the published rule for references.

    No crowd, box at least 32 by 32 px, and at least 10 px away from all four borders.

    Args:
        size: (H, W) of the image; None when unknown, and then the far borders are not checked.
    """
    if annotation.is_crowd or annotation.is_difficult or annotation.box is None:
        return False
    x, y, w, h = annotation.box
    if w < MIN_SIDE or h < MIN_SIDE or x < MIN_MARGIN or y < MIN_MARGIN:
        return False
    return size is None or (x + w <= size[1] - MIN_MARGIN and y + h <= size[0] - MIN_MARGIN)


def is_usable(annotation: Annotation) -> bool:
    """Tell whether an annotation shows an object at all: by a mask, a point, or a box of some area."""
    has_box = annotation.box is not None and annotation.box[2] > 0 and annotation.box[3] > 0
    return has_box or annotation.segmentation is not None or annotation.point is not None


def choose_shots(
    candidates: Sequence[Annotation], sizes: Sizes, count: int | None, rng: random.Random
) -> list[Annotation]:
    """Take up to ``count`` shots: all, in file order, when there are no more than that.

    Otherwise at random: good ones from images not used yet first, then other good ones, then the rest.
    Crowds are never taken.
    """
    usable = [annotation for annotation in candidates if is_usable(annotation) and not annotation.is_crowd]
    if count is None or len(usable) <= count:
        return usable
    rng.shuffle(usable)
    good = [annotation for annotation in usable if is_good_shot(annotation, sizes.get(annotation.image_id))]
    order = [*first_of_each_image(good), *good, *first_of_each_image(usable), *usable]
    return list({annotation.id: annotation for annotation in order}.values())[:count]


def first_of_each_image(annotations: Iterable[Annotation]) -> list[Annotation]:
    """Keep the first annotation of every image."""
    first: dict[ImageId, Annotation] = {}
    for annotation in annotations:
        first.setdefault(annotation.image_id, annotation)
    return list(first.values())


def sample_few_shot(
    coco: CocoFile,
    n_shot: int | Mapping[str, int],
    *,
    seed: int = 42,
    class_split: str | None = None,
    cat_names: Sequence[str | int] | None = None,
    pad: bool = False,
) -> FewShotTable:
    """Draw exactly as many annotations of every class as asked, each from another image.

    Categories come in the order of their first annotation; each is shuffled, and good shots
    (``is_good_shot``) are taken from its front.

    Args:
        n_shot: shots of every class, or of each by its name, which then says the classes as well.
        class_split: which classes; the LVIS splits draw for all classes of the file, as published.
        cat_names: names instead of a split.
        pad: LVIS has classes with too few: take any annotations where none is good, and repeat from the
            front up to ``n_shot``.

    Raises:
        DatasetError: a class has too few good annotations (and ``pad`` is off), or none at all.
    """
    if class_split and lvis_frequencies(class_split) and not cat_names:
        class_split = None
    if isinstance(n_shot, Mapping):
        cat_names = cat_names or list(n_shot)
    chosen = choose_categories(coco.categories, cat_names, class_split, coco.source)
    names = dict(zip(chosen.ids, chosen.names, strict=True))
    sizes = {image.id: image.size for image in coco.images.values()}
    groups = {key: found for key, found in coco.by_category().items() if key in names}
    rng = random.Random(seed)
    table: FewShotTable = {}
    for category_id, found in groups.items():
        candidates = [a for a in found if not a.is_crowd and (pad or not a.is_difficult)]
        rng.shuffle(candidates)
        wanted = n_shot if isinstance(n_shot, int) else n_shot[names[category_id]]
        taken = _take(candidates, sizes, wanted, pad)
        if len(taken) < wanted:
            raise DatasetError(
                f"{coco.source}: class {names[category_id]!r} has {len(taken)} annotations fit to be "
                f"a reference (no crowd, 32 px, 10 px from the border, one per image), {wanted} are wanted"
            )
        table[category_id] = [Shot(a.image_id, (a.id,)) for a in taken]
    missing = [name for key, name in names.items() if key not in groups]
    if missing and cat_names:
        raise DatasetError(f"{coco.source}: no annotation of {', '.join(missing[:5])}")
    return table


def _take(candidates: Sequence[Annotation], sizes: Sizes, n_shot: int, pad: bool) -> list[Annotation]:
    good = first_of_each_image(a for a in candidates if is_good_shot(a, sizes.get(a.image_id)))
    if not pad:
        return good[:n_shot]
    taken = (good or list(candidates))[:n_shot]
    return [taken[index % len(taken)] for index in range(n_shot)] if taken else []


def table_from_coco(coco: CocoFile, n_shot: int | None, *, pad: bool = True, seed: int = 42) -> FewShotTable:
    """One shot per annotation; more than ``n_shot`` are drawn from, fewer repeated at random.

    Args:
        n_shot: shots per class; None takes all there are.
        pad: repeat where there are too few, for tools that want equal numbers; ours do not need it.
    """
    sizes = {image.id: image.size for image in coco.images.values()}
    table: FewShotTable = {}
    for category_id, found in coco.by_category().items():
        rng = random.Random(f"{seed}/{category_id}")
        shots = choose_shots(found, sizes, n_shot, rng)
        missing = 0 if n_shot is None else n_shot - len(shots)
        if missing > 0 and shots:
            warnings.warn(
                f"{coco.source}: category {category_id} has {len(shots)} annotations for {n_shot} shots"
                + ("; some are repeated" if pad else ""),
                stacklevel=2,
            )
            shots = shots + rng.choices(shots, k=missing if pad else 0)
        if shots:
            table[category_id] = [Shot(a.image_id, (a.id,)) for a in shots]
    return table
