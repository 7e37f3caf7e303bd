"""CVAT for images 1.1: one XML file, masks as run lengths, so that every pixel stays."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from no_time_to_train.dataset.export.image_result import ImageResult, class_name
from no_time_to_train.files import whole_file
from no_time_to_train.masks.rle import pixel_boxes


class CvatXml:
    """``<folder>/cvat.xml``, to be uploaded as annotations of a task with pictures of these names."""

    def __init__(self, folder: str | Path, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        self._open = ExitStack()
        self._file = self._open.enter_context(whole_file(Path(folder) / "cvat.xml"))
        labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in class_names)
        self._file.write(
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
            f"<meta><task><labels>{labels}</labels></task></meta>\n"
        )
        self._count = 0

    def write(self, result: ImageResult) -> None:
        """Write one image; an instance without a mask is a box."""
        height, width = result.instances.size
        name = quoteattr(result.file_name)
        self._file.write(f'<image id="{self._count}" name={name} width="{width}" height="{height}">\n')
        self._count += 1
        found = result.instances
        boxes = pixel_boxes(found).tolist()
        for (mask, (x, y)), box, label in zip(result.crops(), boxes, found.labels.tolist(), strict=True):
            name = quoteattr(class_name(self.class_names, label))
            head = f'label={name} source="auto" occluded="0" z_order="0"'
            if mask.size:
                place = f'left="{x}" top="{y}" width="{mask.shape[1]}" height="{mask.shape[0]}"'
                self._file.write(f'<mask {head} rle="{_runs_by_row(mask)}" {place}/>\n')
            else:
                left, top, w, h = box
                self._file.write(f'<box {head} xtl="{left}" ytl="{top}" xbr="{left + w}" ybr="{top + h}"/>\n')
        self._file.write("</image>\n")

    def close(self) -> None:
        """Finish the file."""
        self._file.write("</annotations>\n")
        self._open.close()


def _runs_by_row(mask: np.ndarray) -> str:
    """Lengths of runs, row by row, background first."""
    flat = np.concatenate([[False], mask.ravel()])
    edges = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]), [mask.size]])
    return ", ".join(map(str, np.diff(edges).tolist()))
