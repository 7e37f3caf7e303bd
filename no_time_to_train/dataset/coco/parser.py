"""Brings the content of a COCO file, whatever state it is in, to one regular form."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlparse

from no_time_to_train.dataset.coco.records import Annotation, ImageRecord
from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.rle import Segmentation


class CocoParser:
    """Reads the three lists of a COCO file and collects the irregularities in them.

    Args:
        source: how messages call the file.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: dict[str, list[str]] = defaultdict(list)

    def read(
        self, content: Any
    ) -> tuple[dict[ImageId, ImageRecord], list[Annotation], list[dict[str, Any]], tuple[str, ...]]:
        """Return images by id, annotations, categories and the problems, one sentence each.

        Raises:
            DatasetError: no COCO annotation file, or one id stands for two things.
        """
        if isinstance(content, list):
            raise DatasetError(
                f"{self.source}: a list, as results files are; an annotation file with "
                "'images', 'annotations' and 'categories' is needed"
            )
        if not isinstance(content, Mapping) or "images" not in content:
            raise DatasetError(f"{self.source}: no 'images' in it, so it is not a COCO annotation file")
        images = self._images(content["images"])
        raw = list(content.get("annotations") or [])
        categories = self._categories(content.get("categories") or [], raw)
        annotations = self._annotations(raw, images, categories)
        return images, annotations, categories, self._problems()

    def _problems(self) -> tuple[str, ...]:
        sentences = []
        for what, examples in self.found.items():
            shown = ", ".join(examples[:3])
            sentences.append(f"{self.source}: {what} ({len(examples)}, e.g. {shown})")
        return tuple(sentences)

    def _images(self, records: Iterable[Mapping[str, Any]]) -> dict[ImageId, ImageRecord]:
        images: dict[ImageId, ImageRecord] = {}
        for record in records:
            if "id" not in record:
                raise DatasetError(f"{self.source}: an image has no 'id': {dict(record)}")
            other_name = read_name_from_url(record)
            file_name = str(record.get("file_name") or other_name or record["id"]).replace("\\", "/")
            image = ImageRecord(
                record["id"],
                file_name,
                read_size(record),
                other_name,
                frozenset(record.get("neg_category_ids") or ()),
                frozenset(record.get("not_exhaustive_category_ids") or ()),
            )
            if image.size is None:
                self.found["images without a usable width and height, read from the files instead"].append(
                    image.file_name
                )
            known = images.get(image.id)
            if known is None:
                images[image.id] = image
            elif known.file_name == image.file_name:
                self.found["images listed twice"].append(image.file_name)
            else:
                raise DatasetError(
                    f"{self.source}: image id {image.id!r} stands for both {known.file_name!r} and "
                    f"{image.file_name!r}; give each image its own id"
                )
        return images

    def _categories(
        self, records: Iterable[Mapping[str, Any]], annotations: Iterable[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        by_id: dict[CategoryId, dict[str, Any]] = {}
        for record in records:
            category = {**record, "name": str(record.get("name", record["id"]))}
            known = by_id.setdefault(category["id"], category)
            if known["name"] != category["name"]:
                raise DatasetError(
                    f"{self.source}: category id {category['id']!r} stands for both {known['name']!r} "
                    f"and {category['name']!r}; give each category its own id"
                )
        if not by_id:
            ids = dict.fromkeys(a["category_id"] for a in annotations if "category_id" in a)
            by_id = {category_id: {"id": category_id, "name": str(category_id)} for category_id in ids}
        names = [category["name"] for category in by_id.values()]
        for name in dict.fromkeys(name for name in names if names.count(name) > 1):
            self.found["names that several categories share, kept apart by id"].append(name)
        return list(by_id.values())

    def _annotations(
        self,
        records: Iterable[Mapping[str, Any]],
        images: Mapping[ImageId, ImageRecord],
        categories: Iterable[Mapping[str, Any]],
    ) -> list[Annotation]:
        image_ids = _loose_lookup(images)
        category_ids = _loose_lookup(category["id"] for category in categories)
        seen: dict[int | str, Annotation] = {}
        fresh = _fresh_ids(records)
        for record in records:
            image_id = _find(image_ids, record.get("image_id"))
            category_id = _find(category_ids, record.get("category_id"))
            label = str(record.get("id", "without id"))
            if image_id is None:
                self.found["annotations of images that are not listed, left out"].append(label)
                continue
            if category_id is None:
                self.found["annotations of categories that are not listed, left out"].append(label)
                continue
            annotation = self._annotation(record, label, image_id, category_id)
            known = seen.get(annotation.id)
            if known == annotation:
                self.found["annotations listed twice, counted once"].append(label)
                continue
            if known is not None or "id" not in record:
                self.found["annotations without an id of their own, renumbered"].append(label)
                annotation = Annotation(**{**vars(annotation), "id": next(fresh)})
            seen[annotation.id] = annotation
        return list(seen.values())

    def _annotation(
        self, record: Mapping[str, Any], label: str, image_id: ImageId, category_id: CategoryId
    ) -> Annotation:
        box = read_box(record.get("bbox"))
        if box is None and record.get("bbox"):
            self.found["boxes that are not four finite numbers, ignored"].append(label)
        segmentation = read_segmentation(record.get("segmentation"))
        if segmentation is None and record.get("segmentation"):
            self.found["segmentations with no polygon of three points, ignored"].append(label)
        area = record.get("area")
        return Annotation(
            id=record.get("id", -1),
            image_id=image_id,
            category_id=category_id,
            box=box,
            segmentation=segmentation,
            area=float(area) if isinstance(area, (int, float)) and math.isfinite(area) else None,
            is_crowd=bool(record.get("iscrowd", 0)),
            is_difficult=bool(record.get("difficult", 0) or record.get("isimpossible", 0)),
            point=read_point(record.get("point")),
        )


def _loose_lookup(ids: Iterable[Hashable]) -> dict[Hashable, Any]:
    """Ids by themselves and by their text, since files mix ``12`` and ``"12"``."""
    exact = list(ids)
    return {**{str(one): one for one in exact}, **{one: one for one in exact}}


def _find(lookup: Mapping[Hashable, Any], key: Any) -> Any:
    if key is None:
        return None
    return lookup.get(key, lookup.get(str(key)))


def _fresh_ids(records: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    highest = max((r["id"] for r in records if isinstance(r.get("id"), int)), default=0)
    while True:
        highest += 1
        yield highest


def read_name_from_url(record: Mapping[str, Any]) -> str | None:
    """Folder and file of ``coco_url``, which is all that LVIS gives."""
    url = record.get("coco_url")
    return str(PurePosixPath(*PurePosixPath(urlparse(url).path).parts[-2:])) if url else None


def read_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        height, width = int(record["height"]), int(record["width"])
    except (KeyError, TypeError, ValueError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def read_box(value: Any) -> tuple[float, float, float, float] | None:
    try:
        x, y, w, h = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return (x, y, w, h) if all(map(math.isfinite, (x, y, w, h))) else None


def read_point(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def read_segmentation(value: Any) -> Segmentation | None:
    if isinstance(value, Mapping):
        return dict(value) if value.get("counts") and value.get("size") else None
    if not isinstance(value, (list, tuple)) or not value:
        return None
    polygons: Any = [value] if isinstance(value[0], (int, float)) else value
    kept = [polygon for polygon in polygons if len(polygon) >= 6 and len(polygon) % 2 == 0]
    return kept or None
