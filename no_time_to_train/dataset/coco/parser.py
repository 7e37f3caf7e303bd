"""Brings the content of a COCO file, whatever state it is in, to one regular form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlparse

from no_time_to_train.dataset.coco.records import Annotation, ImageRecord
from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.errors import DatasetError
from no_time_to_train.files import readable
from no_time_to_train.masks.gate import MaskError, checked_box, checked_segmentation, finite, numbers
from no_time_to_train.masks.rle import in_column_order


class CocoParser:
    """Reads the three lists of a COCO file and collects the irregularities in them.

    Args:
        source: how messages call the file.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: dict[str, list[str]] = defaultdict(list)
        self.left_out: dict[str, list[str]] = defaultdict(list)

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
        images = self._images(self._records(content, "images"))
        raw = self._records(content, "annotations")
        categories = self._categories(self._records(content, "categories"), raw)
        annotations = self._annotations(raw, images, categories)
        for what, why in content.get("left_out") or ():  # what a reader of another format met
            self.left_out[why].append(what)
        return images, annotations, categories, self._problems(len(raw) + len(content.get("left_out") or ()))

    def _records(self, content: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        records = content.get(key) or []
        if not isinstance(records, (list, tuple)) or not all(isinstance(row, Mapping) for row in records):
            raise DatasetError(f"{self.source}: {key!r} must be a list of records, as in a COCO file")
        return list(records)

    def _problems(self, num_annotations: int) -> tuple[str, ...]:
        sentences = []
        for what, examples in self.found.items():
            sentences.append(f"{self.source}: {what} ({len(examples)}, e.g. {', '.join(examples[:3])})")
        if self.left_out:
            total = sum(map(len, self.left_out.values()))
            reasons = "; ".join(
                f"{why} ({len(names)}, e.g. {', '.join(names[:3])})" for why, names in self.left_out.items()
            )
            sentences.append(f"{self.source}: {total} of {num_annotations} annotations left out: {reasons}")
        return tuple(sentences)

    def _images(self, records: Iterable[Mapping[str, Any]]) -> dict[ImageId, ImageRecord]:
        images: dict[ImageId, ImageRecord] = {}
        for record in records:
            if not isinstance(record.get("id"), (int, float, str)):
                raise DatasetError(f"{self.source}: an image has no 'id': {str(dict(record))[:200]}")
            other_name = read_name_from_url(record)
            file_name = str(record.get("file_name") or other_name or record["id"]).replace("\\", "/")
            image = ImageRecord(
                record["id"],
                file_name,
                read_size(record),
                other_name,
                frozenset(record.get("neg_category_ids") or ()),
                frozenset(record.get("not_exhaustive_category_ids") or ()),
                record.get("pixels"),
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
            if not isinstance(record.get("id"), (int, float, str)):
                raise DatasetError(f"{self.source}: a category has no 'id': {str(dict(record))[:200]}")
            category = {**record, "name": readable(str(record.get("name", record["id"])))}
            known = by_id.setdefault(category["id"], category)
            if known["name"] != category["name"]:
                raise DatasetError(
                    f"{self.source}: category id {category['id']!r} stands for both {known['name']!r} "
                    f"and {category['name']!r}; give each category its own id"
                )
        if not by_id:
            named = (annotation.get("category_id") for annotation in annotations)
            ids = dict.fromkeys(one for one in named if isinstance(one, (int, str)))
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
                self.left_out["of images that are not listed"].append(label)
                continue
            if category_id is None:
                self.left_out["of categories that are not listed"].append(label)
                continue
            try:
                annotation = self._annotation(record, label, images[image_id], category_id)
            except MaskError as error:
                self.left_out[str(error)].append(label)
                continue
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
        self, record: Mapping[str, Any], label: str, image: ImageRecord, category_id: CategoryId
    ) -> Annotation:
        """One annotation; a box that cannot be is ignored where there is a mask.

        Raises:
            MaskError: what marks the object cannot be.
        """
        box, segmentation = None, None
        try:
            box = checked_box(record["bbox"]) if record.get("bbox") not in (None, []) else None
        except MaskError:
            if not _is_given(record.get("segmentation")):
                raise
            self.found["boxes that cannot be, ignored"].append(label)
        try:
            if _is_given(record.get("segmentation")):
                segmentation = checked_segmentation(record["segmentation"], image.size)
        except MaskError as error:
            if box is None or "no polygon" not in str(error):
                raise
            self.found["segmentations with no polygon of three corners, ignored"].append(label)
        if isinstance(segmentation, dict) and box is not None:
            segmentation = in_column_order(segmentation, box)
        return Annotation(
            id=record["id"] if isinstance(record.get("id"), (int, float, str)) else -1,
            image_id=image.id,
            category_id=category_id,
            box=box,
            segmentation=segmentation,
            area=finite(record.get("area")),
            is_crowd=_flag(record.get("iscrowd")),
            is_difficult=_flag(record.get("difficult")) or _flag(record.get("isimpossible")),
            point=read_point(record.get("point")),
        )


def _is_given(segmentation: Any) -> bool:
    """Whether there is a segmentation; some tools write an empty one for a box, of either kind."""
    return bool(segmentation.get("counts") if isinstance(segmentation, Mapping) else segmentation)


def _flag(value: Any) -> bool:
    """Whether a flag is set; ``"0"`` and ``"False"`` are not."""
    return str(value).strip().lower() in ("1", "1.0", "true", "yes")


def _loose_lookup(ids: Iterable[Hashable]) -> dict[Hashable, Any]:
    """Ids by themselves and by their text, since files mix ``12`` and ``"12"``."""
    exact = list(ids)
    return {**{str(one): one for one in exact}, **{one: one for one in exact}}


def _find(lookup: Mapping[Hashable, Any], key: Any) -> Any:
    return lookup.get(key, lookup.get(str(key))) if isinstance(key, (int, str, float)) else None


def _fresh_ids(records: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    highest = max((r["id"] for r in records if isinstance(r.get("id"), int)), default=0)
    while True:
        highest += 1
        yield highest


def read_name_from_url(record: Mapping[str, Any]) -> str | None:
    """Folder and file of ``coco_url``, which is all that LVIS gives."""
    url = record.get("coco_url")
    return str(PurePosixPath(*PurePosixPath(urlparse(str(url)).path).parts[-2:])) if url else None


def read_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        height, width = int(record["height"]), int(record["width"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def read_point(value: Any) -> tuple[float, float] | None:
    try:
        x, y = numbers(value, 2)
    except MaskError:
        return None
    return x, y
