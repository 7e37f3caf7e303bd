"""The function that CVAT's command line calls for each picture of a task (needs the package ``cvat-sdk``).

    cvat-cli task auto-annotate 137 --function-module no_time_to_train.serve.cvat_function \
        -p memory=str:memory.safetensors
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cvat_sdk.auto_annotation as cvat  # type: ignore[import-not-found,unused-ignore]
from cvat_sdk.masks import encode_mask  # type: ignore[import-not-found,unused-ignore]

from no_time_to_train.api import Segmenter
from no_time_to_train.masks.outlines import mask_to_one_polygon

if TYPE_CHECKING:
    from PIL.Image import Image

MIN_SCORE = 0.5
"""Where the caller names no confidence threshold."""


@dataclass(frozen=True)
class Function:
    """What CVAT asks of a detection function: the labels that it has, and the shapes in one picture."""

    finder: Segmenter

    @property
    def spec(self) -> Any:
        """The classes of the memory as CVAT's labels, numbered by index; it matches them by name."""
        labels = [
            cvat.label_spec(name, number, type="mask") for number, name in enumerate(self.finder.classes)
        ]
        return cvat.DetectionFunctionSpec(labels=labels)

    def detect(self, context: Any, image: Image) -> list[Any]:
        """Masks of one picture, or one polygon for each where CVAT asks for polygons."""
        least = MIN_SCORE if context.conf_threshold is None else context.conf_threshold
        found = self.finder.predict(image.convert("RGB"), min_score=least)
        shapes = []
        for mask, label in zip(found.masks.numpy(), found.labels.tolist(), strict=True):
            if not mask.any():
                continue
            if context.conv_mask_to_poly:
                points = mask_to_one_polygon(mask)
                if points:
                    shapes.append(cvat.polygon(label, points))
            else:
                shapes.append(cvat.mask(label, encode_mask(mask)))
        return shapes


def create(memory: str, **options: Any) -> Function:
    """Called by ``cvat-cli`` with what ``-p`` names; options are those of ``Segmenter.load``."""
    return Function(Segmenter.load(memory, **options))
