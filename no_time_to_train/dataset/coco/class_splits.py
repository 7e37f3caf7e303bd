"""The named class lists of the benchmarks (``class_split`` in a configuration), made from their rules."""

from __future__ import annotations

from no_time_to_train.errors import DatasetError, did_you_mean

_COCO_NAMES = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,"
    "parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,"
    "tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,"
    "tennis racket,bottle,wine glass,cup,fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
    "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,"
    "keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,"
    "hair drier,toothbrush"
)
COCO_CLASSES: tuple[str, ...] = tuple(_COCO_NAMES.split(","))
"""The 80 COCO names in ascending order of their ids."""

VOC_OVERLAP = (0, 1, 2, 3, 4, 5, 6, 8, 14, 15, 16, 17, 18, 19, 39, 56, 57, 58, 60, 62)
"""Indices into ``COCO_CLASSES`` of the 20 classes that Pascal VOC also has."""

LVIS_FREQUENCIES = {"lvis": "fcr", "lvis_frequent": "f", "lvis_common": "c", "lvis_rare": "r"}
"""LVIS splits by the ``frequency`` of a category; the names stand in the LVIS file itself."""

METAINFO: dict[str, tuple[str, ...]] = {
    "default_classes": COCO_CLASSES,
    "few_shot_classes": tuple(COCO_CLASSES[index] for index in VOC_OVERLAP),
    # COCO-20i: fold k has every fourth class, beginning with the k-th.
    **{f"coco_semantic_split_{fold}": COCO_CLASSES[fold - 1 :: 4] for fold in (1, 2, 3, 4)},
    "pascal_voc_split_1": ("bird", "bus", "cow", "motorbike", "sofa"),
    "pascal_voc_split_2": ("aeroplane", "bottle", "cow", "horse", "sofa"),
    "pascal_voc_split_3": ("boat", "cat", "motorbike", "sheep", "sofa"),
}


def split_class_names(class_split: str) -> tuple[str, ...]:
    """Return the class names of a split that does not depend on the annotation file.

    Raises:
        DatasetError: no such split; the message names the nearest.
    """
    try:
        return METAINFO[class_split]
    except KeyError:
        known = [*METAINFO, *LVIS_FREQUENCIES]
        raise DatasetError(
            f"unknown class_split {class_split!r}{did_you_mean(class_split, known)}; "
            f"known: {', '.join(known)}"
        ) from None


def lvis_frequencies(class_split: str) -> str | None:
    """Return the ``frequency`` letters that an LVIS split keeps, or None for any other split."""
    return LVIS_FREQUENCIES.get(class_split.replace("lvis_minival", "lvis"))
