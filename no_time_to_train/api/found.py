"""What a search gives in Python: instances that draw, save and convert themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Image as Picture

from no_time_to_train import results
from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.dataset.export.measurements import measurements
from no_time_to_train.dataset.export.pngs import InstancePngs
from no_time_to_train.dataset.images import as_rgb_array
from no_time_to_train.files import write_json, write_picture
from no_time_to_train.masks.measures import PixelSize
from no_time_to_train.report.overlay import draw_instances

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


class Instances(results.Instances):
    """:class:`no_time_to_train.results.Instances` with what a notebook wants."""

    @classmethod
    def of(cls, found: results.Instances) -> Instances:
        """The same instances."""
        return cls(**{item.name: getattr(found, item.name) for item in fields(found)})

    def to_coco(
        self, image_id: int | str = 1, category_ids: Sequence[int | str] | None = None
    ) -> list[dict[str, Any]]:
        """COCO result rows, as ``pycocotools`` loads them with ``loadRes``.

        Args:
            image_id: as the annotation file has it.
            category_ids: category id of each class index; None numbers them from 1.
        """
        most = max([len(self.class_names), *(int(label) + 1 for label in self.labels)])
        return to_coco_rows(self, image_id, category_ids or range(1, most + 1))

    def measure(self, pixel_size: str | None = None) -> list[dict[str, Any]]:
        """The size of each instance: area, length and width of the smallest rectangle around it.

        Args:
            pixel_size: such as ``0.12mm``: adds ``area_mm2``, ``length_mm`` and ``width_mm``.

        Returns:
            One mapping for each instance, best first, as a line of ``instances.csv``.

        Raises:
            ConfigError: ``pixel_size`` is no number with a unit.
        """
        size = None if pixel_size is None else PixelSize.read(pixel_size)
        return list(measurements(self, self.class_names, size))

    def plot(self, image: Any = None, **options: Any) -> Picture:
        """Draw masks, boxes and tags on the image, as a Pillow picture (which a notebook shows).

        Args:
            image: path, array, tensor or Pillow image; None reads the file that this was found in.
            options: of ``report.overlay.draw_instances``, such as ``min_score``.

        Raises:
            ValueError: no image was given and this was not found in a file.
        """
        image = self.path if image is None else image
        if image is None:
            raise ValueError("these instances were not found in a file; give plot the image to draw on")
        return Image.fromarray(draw_instances(as_rgb_array(image), self, **options))

    def save(self, target: str | Path, image: Any = None) -> list[Path]:
        """Write the instances.

        Args:
            target: a ``.json`` file for COCO result rows; a ``.png`` or ``.jpg`` file for the picture with
                masks; else a folder that gets both, and one mask PNG per instance in ``masks``.
            image: to draw on, see :meth:`plot`; a folder gets no picture where there is none.

        Returns:
            The files written.
        """
        target = Path(target)
        suffix = target.suffix.lower()
        if suffix == ".json":
            return [_write_rows(self, target)]
        if suffix in PICTURES:
            return [_write_picture(self, target, image)]
        result = ImageResult(self.name or (self.path.name if self.path else "image"), self)
        stem = target / result.relative_path.with_suffix("")
        written = [_write_rows(self, stem.with_name(f"{stem.name}.json"))]
        if image is not None or self.path is not None:
            written.append(_write_picture(self, stem.with_name(f"{stem.name}.jpg"), image))
        return written + InstancePngs(target / "masks", self.class_names).write(result)

    def to_supervision(self) -> Any:
        """As ``supervision.Detections``; needs the package ``supervision``.

        Corners are those of ``boxes``; class names are in ``data["class_name"]``.
        """
        try:
            import supervision
        except ImportError:
            raise ImportError(
                "to_supervision needs the package supervision: pip install supervision"
            ) from None
        names = [self.class_name(label) for label in self.labels.tolist()]
        return supervision.Detections(
            xyxy=self.boxes.numpy().astype(np.float32).reshape(-1, 4),
            mask=self.masks.numpy() if len(self) else None,
            confidence=self.scores.numpy().astype(np.float32),
            class_id=self.labels.numpy().astype(int),
            data={"class_name": np.array(names, dtype=str)},
        )


def _write_rows(found: Instances, path: Path) -> Path:
    write_json(path, found.to_coco())
    return path


def _write_picture(found: Instances, path: Path, image: Any) -> Path:
    write_picture(path, found.plot(image), quality=90)
    return path
