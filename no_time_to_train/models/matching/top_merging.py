"""The best candidates of an image as instances, without any suppression among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from no_time_to_train.masks.ops import Resize
from no_time_to_train.models.matching.merging import Candidates, full_size
from no_time_to_train.results import Instances


def union_by_label(found: Candidates) -> Candidates:
    """Unite all masks of a label into one row with the best of their scores.

    Returns:
        One row per label that occurs, labels ascending.
    """
    rows, masks, scores = [], [], []
    for label in found.labels.unique():
        group = found[found.labels == label]
        rows.append(label)
        masks.append(found.logits[group.masks].amax(dim=0))
        scores.append(group.scores.amax())
    if not rows:
        return found
    count = torch.arange(len(rows), device=found.labels.device)
    return replace(
        found,
        logits=torch.stack(masks),
        features=found.features.new_zeros(len(rows), 0),
        ious=found.ious.new_zeros(len(rows)),
        masks=count,
        labels=torch.stack(rows),
        scores=torch.stack(scores),
    )


@dataclass(frozen=True)
class TopMerger:
    """Keeps the best rows over all classes and brings their masks to full size.

    Attributes:
        resize: how the masks are resized.
        max_instances: most rows to keep.
        union: one semantic mask per class instead of separate instances.
    """

    resize: Resize
    max_instances: int = 100
    union: bool = False
    reads_outlines_only: ClassVar[bool] = False
    box_convention: ClassVar[Literal["inclusive"]] = "inclusive"

    def __call__(self, found: Candidates, size: tuple[int, int]) -> Instances:
        """Merge the candidates of one image.

        Args:
            found: any number of rows, none included.
            size: (H, W) of the original image.
        """
        if self.union:
            found = union_by_label(found)
        before = len(found)
        found = found[found.scores.argsort(descending=True, stable=True)[: self.max_instances]]
        rles, boxes = full_size(found.logits[found.masks], size, self.resize)
        rows = torch.nonzero(boxes[:, 2] >= 0)[:, 0]  # a small mask may vanish at this size
        return Instances(
            rles=tuple(rles[row] for row in rows.tolist()),
            boxes=boxes[rows],
            scores=found.scores.float().cpu()[rows],
            labels=found.labels.cpu()[rows],
            size=size,
            cut_below=float(found.scores[-1]) if before > len(found) else None,
        )
