"""Runs ``pycocotools`` (or its faster equal) on annotations and results of any ids."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from no_time_to_train.dataset.annotation_frames import frame_scale, resize_mask, scale_box, scale_segmentation
from no_time_to_train.dataset.coco.classes import id_order
from no_time_to_train.dataset.coco.file import Annotation, CocoFile
from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.errors import ConfigError
from no_time_to_train.masks.gate import Box, MaskError
from no_time_to_train.masks.rle import encode_mask, mask_areas, mask_boxes, segmentation_to_rle
from no_time_to_train.results import RLE


class CocoJudge:
    """Ground truth and results under whole-number ids from 1, which is what the judge can handle.

    Annotation id 0 would count as "not matched", strings do not sort with numbers, and a missing
    ``info``, ``area`` or ``iscrowd`` would raise.

    Args:
        coco: the ground truth.
        rows: result rows whose image and category ids are all in ``coco``.
    """

    def __init__(self, coco: CocoFile, rows: Sequence[Mapping[str, Any]]) -> None:
        self.coco = coco
        self.image_number = _numbered(coco.images)
        self.category_number = _numbered(category["id"] for category in coco.categories)
        self.sizes = frame_sizes(coco, rows)
        self.unfit = unfit_images(coco, self.sizes)
        self.rows = [
            {
                **row,
                "image_id": self.image_number[row["image_id"]],
                "category_id": self.category_number[row["category_id"]],
            }
            for row in rows
        ]

    def run(
        self,
        iou_type: str,
        category_ids: Sequence[CategoryId],
        image_ids: Iterable[ImageId],
        max_dets: Sequence[int],
        backend: str = "pycocotools",
    ) -> dict[str, np.ndarray]:
        """Evaluate.

        Returns:
            ``precision`` and ``scores`` (T, R, K, A, M) and ``recall`` (T, K, A, M): 10 IoU thresholds from
            0.5, 101 recalls, the categories in the order given, areas all/small/medium/large, max_dets.
        """
        index_class, evaluator_class = _judge(backend)
        with contextlib.redirect_stdout(io.StringIO()):
            truth = _index(index_class, self.ground_truth(iou_type))
            if self.rows:
                found = truth.loadRes([dict(row) for row in self.rows])
            else:
                found = _index(index_class, {**truth.dataset, "annotations": []})
            evaluator = evaluator_class(truth, found, iou_type)
            evaluator.params.catIds = [self.category_number[category_id] for category_id in category_ids]
            evaluator.params.imgIds = sorted(
                self.image_number[image_id] for image_id in image_ids if image_id not in self.unfit
            )
            evaluator.params.maxDets = list(max_dets)
            evaluator.evaluate()
            evaluator.accumulate()
        return {key: np.asarray(evaluator.eval[key]) for key in ("precision", "recall", "scores")}

    def ground_truth(self, iou_type: str = "segm") -> dict[str, Any]:
        """The annotations in COCO form; for ``segm`` without those that have no mask."""
        annotations = [
            dict(record) for record in self._records if iou_type != "segm" or "segmentation" in record
        ]
        images = [
            {"id": number, "height": self.sizes[image_id][0], "width": self.sizes[image_id][1]}
            for image_id, number in self.image_number.items()
        ]
        categories = [{"id": number, "name": str(key)} for key, number in self.category_number.items()]
        return {"info": {}, "images": images, "annotations": annotations, "categories": categories}

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        """One per annotation; the judge adds keys of its own, so it gets copies."""
        return [
            self._record(annotation, number)
            for number, annotation in enumerate(self.coco.annotations, 1)
            if annotation.image_id not in self.unfit
        ]

    def _record(self, annotation: Annotation, number: int) -> dict[str, Any]:
        size = self.sizes[annotation.image_id]
        scale = frame_scale(self.coco.images[annotation.image_id].size, size)
        rle = None
        if annotation.segmentation is not None:
            rle = _fitted(segmentation_to_rle(scale_segmentation(annotation.segmentation, scale), size), size)
        box: Box = (
            scale_box(annotation.box, scale)
            if annotation.box is not None
            else tuple(mask_boxes([rle])[0].tolist())  # type: ignore[assignment]
            if rle is not None
            else (0.0, 0.0, 0.0, 0.0)
        )
        if annotation.area is not None:
            area = annotation.area * scale[0] * scale[1]
        else:
            area = float(mask_areas([rle])[0]) if rle is not None else box[2] * box[3]
        record: dict[str, Any] = {
            "id": number,
            "image_id": self.image_number[annotation.image_id],
            "category_id": self.category_number[annotation.category_id],
            "iscrowd": int(annotation.is_crowd),
            "bbox": list(box),
            "area": area,
        }
        return record if rle is None else {**record, "segmentation": rle}


def frame_sizes(coco: CocoFile, rows: Iterable[Mapping[str, Any]]) -> dict[ImageId, tuple[int, int]]:
    """(H, W) that an image's masks are compared at: the size of its results, else the stated one."""
    found: dict[ImageId, tuple[int, int]] = {}
    for row in rows:
        code = row.get("segmentation")
        if isinstance(code, dict):
            found[row["image_id"]] = (int(code["size"][0]), int(code["size"][1]))
    differing = [
        image.file_name
        for image in coco.images.values()
        if image.size is not None and found.get(image.id, image.size) != image.size
    ]
    if differing:
        warnings.warn(
            f"{coco.source}: {len(differing)} images have another size than the file states, "
            f"e.g. {', '.join(differing[:3])}; scored in the pixels of the images",
            stacklevel=3,
        )
    return {image.id: found.get(image.id) or image.size or (1, 1) for image in coco.images.values()}


def unfit_images(coco: CocoFile, sizes: Mapping[ImageId, tuple[int, int]]) -> set[ImageId]:
    """Images whose annotations have a frame of another shape than their results; said in a warning."""
    unfit = {}
    for image in coco.images.values():
        try:
            frame_scale(image.size, sizes[image.id])
        except MaskError as error:
            unfit[image.id] = f"{image.file_name}: {error}"
    if unfit:
        first = next(iter(unfit.values()))
        warnings.warn(
            f"{coco.source}: {len(unfit)} of {len(coco.images)} images take no part in the score, {first}",
            stacklevel=4,
        )
    return set(unfit)


def _fitted(rle: RLE, size: tuple[int, int]) -> RLE:
    if tuple(rle["size"]) == tuple(size):
        return rle
    return encode_mask(resize_mask(coco_mask.decode(rle) > 0, size))


def _numbered(ids: Iterable[Any]) -> dict[Any, int]:
    return {one: number for number, one in enumerate(sorted(ids, key=id_order), 1)}


def _index(index_class: Any, dataset: Mapping[str, Any]) -> Any:
    index = index_class()
    index.dataset = dict(dataset)
    index.createIndex()
    return index


def _judge(backend: str) -> tuple[Any, Any]:
    if backend == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        return COCO, COCOeval
    if backend != "faster":
        raise ConfigError(f"the evaluation backend must be 'pycocotools' or 'faster', got {backend!r}")
    try:
        import faster_coco_eval
    except ImportError:
        raise ConfigError("backend 'faster' needs: pip install faster-coco-eval") from None
    return faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster
