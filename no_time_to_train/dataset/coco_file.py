"""A COCO annotation file, whatever state it is in, read once and brought to one regular form."""

from __future__ import annotations

import json
import math
import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from no_time_to_train.dataset.samples import CategoryId, ImageId, Segmentation
from no_time_to_train.errors import DatasetError


@dataclass(frozen=True)
class ImageRecord:
    """One entry of ``images``.

    Attributes:
        size: the stated (H, W), or None where none is stated.
        other_name: the last two parts of ``coco_url``, where there is one.
        absent_categories: LVIS: categories that were looked for and are not in the image.
        partly_annotated: LVIS: categories of which not every instance is annotated.
    """

    id: ImageId
    file_name: str
    size: tuple[int, int] | None
    other_name: str | None = None
    absent_categories: frozenset[CategoryId] = frozenset()
    partly_annotated: frozenset[CategoryId] = frozenset()


@dataclass(frozen=True)
class Annotation:
    """One entry of ``annotations``.

    Attributes:
        box: (x, y, w, h) in pixels of the stated size, or None.
        segmentation: polygons of at least three points, or a run-length code; None where there is none.
        point: (x, y) inside the object, from formats that know points (not part of COCO).
    """

    id: int | str
    image_id: ImageId
    category_id: CategoryId
    box: tuple[float, float, float, float] | None
    segmentation: Segmentation | None = field(repr=False)
    area: float | None = None
    is_crowd: bool = False
    is_difficult: bool = False
    point: tuple[float, float] | None = None


@dataclass(frozen=True)
class CocoFile:
    """The regular form.

    Attributes:
        source: how messages call the file.
        images: by id, in file order.
        annotations: in file order; each one's image and category exist.
        categories: the records as they stand; at least ``id`` and ``name``.
        problems: one sentence per kind of irregularity that was met.
    """

    source: str
    images: dict[ImageId, ImageRecord]
    annotations: list[Annotation]
    categories: list[dict[str, Any]]
    problems: tuple[str, ...] = ()

    @classmethod
    def read(
        cls, source: str | Path | Mapping[str, Any], warn: bool = True, name: str | None = None
    ) -> CocoFile:
        """Read a json file, or take its content as a mapping.

        Args:
            source: path or content; the content is not changed.
            warn: also give each of ``problems`` as a warning.
            name: how messages call content that is no file.

        Raises:
            DatasetError: no such file, no json, or no COCO annotation file.
        """
        if name is None:
            name = "the annotations" if isinstance(source, Mapping) else str(source)
        coco = _Reader(name).read(source if isinstance(source, Mapping) else load_json(source))
        if warn:
            for problem in coco.problems:
                warnings.warn(problem, stacklevel=2)
        return coco

    def by_category(self) -> dict[CategoryId, list[Annotation]]:
        """Annotations of each category; categories in the order of their first annotation."""
        groups: dict[CategoryId, list[Annotation]] = defaultdict(list)
        for annotation in self.annotations:
            groups[annotation.category_id].append(annotation)
        return dict(groups)

    def by_image(self) -> dict[ImageId, list[Annotation]]:
        """Annotations of each image that has any."""
        groups: dict[ImageId, list[Annotation]] = defaultdict(list)
        for annotation in self.annotations:
            groups[annotation.image_id].append(annotation)
        return dict(groups)

    @property
    def has_masks(self) -> bool:
        return any(annotation.segmentation is not None for annotation in self.annotations)


def load_json(path: str | Path) -> Any:
    """Read a json file; what goes wrong is told in one sentence."""
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            return json.load(file)
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such annotation file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not a json file ({error})") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from error


class _Reader:
    """Collects irregularities while the three lists are read."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: dict[str, list[str]] = defaultdict(list)

    def read(self, content: Any) -> CocoFile:
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
        return CocoFile(self.source, images, annotations, categories, self._problems())

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
            other_name = _name_from_url(record)
            file_name = str(record.get("file_name") or other_name or record["id"]).replace("\\", "/")
            image = ImageRecord(
                record["id"],
                file_name,
                _stated_size(record),
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
        box = _box(record.get("bbox"))
        if box is None and record.get("bbox"):
            self.found["boxes that are not four finite numbers, ignored"].append(label)
        segmentation = _segmentation(record.get("segmentation"))
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
            point=_point(record.get("point")),
        )


def _name_from_url(record: Mapping[str, Any]) -> str | None:
    """Folder and file of ``coco_url``, which is all that LVIS gives."""
    url = record.get("coco_url")
    return str(PurePosixPath(*PurePosixPath(urlparse(url).path).parts[-2:])) if url else None


def _stated_size(record: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        height, width = int(record["height"]), int(record["width"])
    except (KeyError, TypeError, ValueError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _box(value: Any) -> tuple[float, float, float, float] | None:
    try:
        x, y, w, h = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return (x, y, w, h) if all(map(math.isfinite, (x, y, w, h))) else None


def _point(value: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) else None


def _segmentation(value: Any) -> Segmentation | None:
    if isinstance(value, Mapping):
        return dict(value) if value.get("counts") and value.get("size") else None
    if not isinstance(value, (list, tuple)) or not value:
        return None
    polygons: Any = [value] if isinstance(value[0], (int, float)) else value
    kept = [polygon for polygon in polygons if len(polygon) >= 6 and len(polygon) % 2 == 0]
    return kept or None


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
