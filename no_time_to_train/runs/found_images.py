"""What was found in each image, as it is recorded and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from no_time_to_train.dataset.coco.results import from_coco_rows, require_rows, to_coco_rows
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import DatasetError
from no_time_to_train.results import Instances
from no_time_to_train.runs.result_writer import Place, Record


def record_of(found: Instances, target: Target, category_ids: Sequence[Any]) -> Record:
    """What :class:`ResultWriter` keeps of one image."""
    return {
        "image_id": target.image_id,
        "file_name": target.file_name,
        "size": list(found.size),
        "rows": to_coco_rows(found, target.image_id, category_ids),
        "presence": None if found.presence is None else found.presence.tolist(),
        "cut_below": found.cut_below,
    }


class FoundImages:
    """What was found so far, image by image in the order of the targets.

    Args:
        records: by image id; of a :class:`Place` one is in memory at a time.
        class_names, category_ids: of the classes, in their order.
        targets: all that were to be searched.

    Attributes:
        unread: names of the targets without a record.
    """

    def __init__(
        self,
        records: Mapping[Any, Record | Place],
        class_names: Sequence[str],
        category_ids: Sequence[Any],
        targets: Sequence[Target],
    ) -> None:
        self.class_names, self.category_ids = tuple(class_names), tuple(category_ids)
        self._records = records
        self._targets = [target for target in targets if target.image_id in records]
        self.unread = [target.file_name for target in targets if target.image_id not in records]

    @property
    def names(self) -> list[str]:
        """Of the images with a record, in their order."""
        return [target.file_name for target in self._targets]

    @property
    def image_ids(self) -> list[Any]:
        """Of the images with a record, in their order."""
        return [target.image_id for target in self._targets]

    def cut_from(self, min_score: float) -> list[str]:
        """Names of the images where instances of at least this score may be missing, see ``cut_below``."""
        return [item.name for item in self if item.cut_below is not None and item.cut_below >= min_score]

    def __len__(self) -> int:
        return len(self._targets)

    def __iter__(self) -> Iterator[Instances]:
        for target in self._targets:
            record = self._records[target.image_id]
            found = self._read(record.read() if isinstance(record, Place) else record)
            path = target.image if isinstance(target.image, Path) else None
            yield replace(found, name=target.file_name, path=path)

    def _read(self, record: Record) -> Instances:
        try:
            height, width = record["size"]
            require_rows(record["rows"])
            read = from_coco_rows(record["rows"], self.category_ids, self.class_names)
            found = read.get(record["image_id"], Instances.empty((height, width), self.class_names))
            presence, cut = record["presence"], record.get("cut_below")
            return replace(
                found,
                presence=None if presence is None else torch.tensor(presence),
                cut_below=None if cut is None else float(cut),
            )
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
            raise DatasetError(
                f"what is recorded of {record.get('file_name')} is damaged ({error}); begin with --overwrite"
            ) from error
