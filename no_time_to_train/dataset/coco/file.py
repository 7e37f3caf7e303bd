"""A COCO annotation file, whatever state it is in, read once and brought to one regular form."""

from __future__ import annotations

import json
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from no_time_to_train.dataset.coco.parser import CocoParser
from no_time_to_train.dataset.coco.records import Annotation, ImageRecord
from no_time_to_train.dataset.samples import CategoryId, ImageId
from no_time_to_train.errors import DatasetError

__all__ = ["Annotation", "CocoFile", "ImageRecord", "load_json"]


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
    def read(cls, source: str | Path | Any, warn: bool = True, name: str | None = None) -> CocoFile:
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
        content = load_json(source) if isinstance(source, (str, Path)) else source
        coco = cls(name, *CocoParser(name).read(content))
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
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: not a json file ({error})") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from error
