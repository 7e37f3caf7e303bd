"""The stages of the work, and what keeps their costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from tqdm import tqdm

from no_time_to_train.bench.stages.costs import Cost, gflop_counter, measure

Result = TypeVar("Result")

PREPROCESS = "preprocess"
ENCODER = "encoder"
SAM_ENCODER = "SAM image encoder"
DECODER = "point decoder"
SCORING = "pooling and scoring"
MERGING = "suppression, merging, full-size masks"
IMAGE_STAGES = (PREPROCESS, ENCODER, SAM_ENCODER, DECODER, SCORING, MERGING)
"""What one image takes, in order."""

FULL_SIZE = "of these, full-size masks and RLE"
FILL = "fill_memory, per reference"
POSTPROCESS = "post-processing, per class"
STAGES = (*IMAGE_STAGES, FULL_SIZE, FILL, POSTPROCESS)


@dataclass
class Meter:
    """Runs stages and keeps what they cost.

    Attributes:
        name: of the path, for the progress bar.
        repeats: runs of each stage, of which the best counts.
        count: whether the operations of products are counted.
        costs: by stage.
    """

    device: torch.device
    bar: tqdm[Any]
    name: str
    repeats: int = 1
    count: bool = True
    costs: dict[str, Cost] = field(default_factory=dict)

    def __call__(
        self,
        stage: str,
        work: Callable[[], Result],
        *,
        share: float = 1.0,
        counted: tuple[Callable[[], object], float] | None = None,
    ) -> Result:
        """Measure one stage and return what ``work`` returns.

        Args:
            share: how much of the stage the work is; costs are scaled to all of it.
            counted: smaller work on which operations are counted, and its share: counting slows down work
                of many small operations, and does not see other threads.
        """
        self.bar.set_description(f"{self.name}: {stage}")
        if self.count and counted is None and self.repeats == 1:
            with gflop_counter() as gflop:
                cost, result = measure(work, self.device)
                cost = replace(cost, gflop=gflop())
        else:
            cost, result = measure(work, self.device, self.repeats)
            if self.count:
                small, part = counted or (work, 1.0)
                cost = replace(cost, gflop=_gflop_on_one_thread(small) / part)
        self.costs[stage] = cost.scaled(1 / share)
        self.bar.update()
        return result

    def image(self) -> Cost:
        """All stages of one image together; the peak is the highest of theirs."""
        parts = [self.costs[stage] for stage in IMAGE_STAGES]
        peaks = [part.peak_mb for part in parts if part.peak_mb is not None]
        gflop = [part.gflop for part in parts if part.gflop is not None]
        return Cost(
            sum(part.cpu for part in parts),
            sum(part.wall for part in parts),
            peak_mb=max(peaks) if peaks else None,
            gflop=sum(gflop) if gflop else None,
        )


def _gflop_on_one_thread(work: Callable[[], object]) -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with gflop_counter() as gflop:
            work()
            return gflop()
    finally:
        torch.set_num_threads(threads)
