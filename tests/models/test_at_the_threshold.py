"""Values exactly at each threshold: which side they fall on is part of the method, and of the figures.

Every case has a value at the threshold and one a little on each side of it, all exact in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from no_time_to_train.config import ScoreFilterConfig
from no_time_to_train.models.extensions.clean_masks import pinholes, specks
from no_time_to_train.models.extensions.coarse_to_fine import CoarseToFine, HalvedStrides
from no_time_to_train.models.extensions.evidence import sure_masks
from no_time_to_train.models.extensions.guided_prompts import component_boxes
from no_time_to_train.models.extensions.merge_rules import mask_nms, soft_nms
from no_time_to_train.models.matching.match_quality import at_least, best_masks
from no_time_to_train.models.matching.merging import class_nms
from no_time_to_train.models.matching.scoring import negative_decay, top_labels
from no_time_to_train.models.proposals.automatic_masks import JudgedMasks, StableMasks
from no_time_to_train.models.sam.prompts import DecodedMasks, choose_tokens, point_prompts

HALF = torch.tensor([0.5, 0.5 + 2**-20, 0.5 - 2**-20])
"""At one half, above, below."""

KEPT: dict[str, tuple[Callable[[], Any], list[bool]]] = {
    "iou_thr is strict": (
        lambda: choose_tokens(torch.stack([HALF] * 4, dim=1), "best", 0.5)[1][:, 0],
        [False, True, False],
    ),
    "Matcher's filters take the threshold": (
        lambda: at_least(torch.cat([HALF, torch.ones(1)]), 0.5)[:3],
        [True, True, False],
    ),
    "Matcher's distance is strict": (
        lambda: kept_by(ScoreFilterConfig(score=0.5, score_norm=1.0), 1 - HALF),
        [False, False, True],
    ),
    "sure masks take the threshold": (
        lambda: torch.stack([sure_masks(value.view(1, 1), 0.5, 1)[0, 0] for value in HALF]),
        [True, True, False],
    ),
    "a coarse mask closes from the threshold": (lambda: closing(HALF), [True, True, False]),
    "a component lies above the threshold": (
        lambda: torch.tensor([len(component_boxes(value.view(1, 1, 1), 0.5)) > 0 for value in HALF]),
        [False, True, False],
    ),
    "an equal IoU survives box suppression": (
        lambda: torch.tensor([survives_boxes(wide) for wide in (10, 11, 9)]),
        [True, True, False],
    ),
    "an equal IoU survives mask NMS": (
        lambda: torch.stack(
            [mask_nms(shares(value), torch.zeros(2).long(), max_iou=0.5)[1] for value in HALF]
        ),
        [True, False, True],
    ),
    "an equal share survives mask NMS": (
        lambda: torch.stack(
            [
                mask_nms(contained(value), torch.zeros(2).long(), max_iou=1.0, max_containment=0.5)[1]
                for value in HALF
            ]
        ),
        [True, False, True],
    ),
    "linear soft-NMS leaves what is below the threshold": (
        lambda: torch.stack([softened(value) for value in HALF]) == 1,
        [False, False, True],
    ),
    "a negative as like as the class does not speak against it": (
        lambda: negative_decay(torch.full((3, 1), 0.5), HALF[:, None], 0.8)[:, 0] == 0.5,
        [True, False, True],
    ),
}


def kept_by(rules: ScoreFilterConfig, scores: Tensor) -> Tensor:
    """(N,) bool, each beside a perfect mask, which always stays."""
    return torch.tensor([1 in best_masks(torch.stack([torch.tensor(1.0), s]), rules, 9) for s in scores])


def closing(ious: Tensor) -> Tensor:
    rule = CoarseToFine(HalvedStrides(2, 2), "open", confident=0.5, max_area=1.0)
    points, logits = torch.tensor([[1.0, 1.0]]), torch.ones(1, 4, 4)
    return torch.cat(
        [rule.covered(points, 4, DecodedMasks(logits, iou[None], torch.zeros(1).long())) for iou in ious]
    )


def survives_boxes(wide: int) -> bool:
    """A box of 5 x 1 in one of ``wide`` x 1: an IoU of 5 / wide."""
    boxes = torch.tensor([[0.0, 0.0, float(wide), 1.0], [0.0, 0.0, 5.0, 1.0]])
    return len(class_nms(boxes, torch.tensor([0.9, 0.8]), torch.zeros(2).long(), 0.5)) == 2


def shares(iou: Tensor) -> Tensor:
    """Of a mask inside of another one, of which it covers ``iou``: the second row is the part."""
    return torch.tensor([[1.0, float(iou)], [1.0, 1.0]])


def contained(share: Tensor) -> Tensor:
    return torch.tensor([[1.0, 0.1], [float(share), 1.0]])


def softened(iou: Tensor) -> Tensor:
    overlaps = torch.tensor([[1.0, float(iou)], [float(iou), 1.0]])
    one, labels = torch.ones(2), torch.zeros(2).long()
    return soft_nms(one, torch.tensor([1.0, 0.5]), overlaps, labels, decay="linear", threshold=0.5)[1]


@pytest.mark.parametrize("case", KEPT)
def test_at_above_and_below(case: str) -> None:
    found, wanted = KEPT[case]
    assert found().tolist() == wanted


def test_stability_is_kept_from_the_threshold_and_overlap_up_to_it() -> None:
    """One mask in two pixels of four: half of its area stays when it is cut higher."""
    stable = StableMasks(0.0, 0.5, 1.0, True, 4, 0.5, 64)
    logits = torch.full((1, 4, 4), -9.0)
    logits[0, 0, 0], logits[0, 3, 3] = 9.0, 0.0
    masks = DecodedMasks(logits, torch.tensor([0.9]), torch.tensor([0]))

    class Answers:
        def decode(self, *_: Any, **__: Any) -> DecodedMasks:
            return masks

    def kept(least: float) -> int:
        part = StableMasks(0.0, least, 1.0, True, 4, 0.5, 64)
        return len(part.decode(Answers(), None, point_prompts(torch.zeros(1, 2))).masks)  # type: ignore[arg-type]

    assert [kept(0.5), kept(0.51), kept(0.49)] == [1, 0, 1]
    for wide, left in ((10, 2), (11, 2), (9, 1)):
        boxes = torch.tensor([[0.0, 0.0, float(wide), 1.0], [0.0, 0.0, 5.0, 1.0]])
        two = DecodedMasks(logits.expand(2, 4, 4), torch.tensor([0.9, 0.8]), torch.arange(2))
        assert len(stable.suppress(JudgedMasks(two, boxes))) == left


def test_a_class_at_six_tenths_of_the_best_does_not_count() -> None:
    """Published: scores at or below 0.6 of the mask's best are dropped."""
    best = torch.tensor(1.0)
    at, above = 0.6 * best, torch.nextafter(0.6 * best, torch.tensor(2.0))
    assert top_labels(torch.stack([best, at])[None], -1)[1].tolist() == [0]
    assert top_labels(torch.stack([best, above])[None], -1)[1].tolist() == [0, 1]


@pytest.mark.parametrize(("share", "gone"), [(0.5, 0), (0.51, 2)])
def test_a_piece_of_just_the_share_stays(share: float, gone: int) -> None:
    mask = np.zeros((1, 5, 9), bool)
    mask[0, 0, :4] = mask[0, 4, :2] = True
    assert specks(mask, share).sum() == gone


@pytest.mark.parametrize(("share", "filled"), [(0.125, 0), (0.126, 1)])
def test_a_hole_of_just_the_share_stays(share: float, filled: int) -> None:
    mask = np.zeros((1, 5, 5), bool)
    mask[0, 1:4, 1:4] = True
    mask[0, 2, 2] = False
    assert pinholes(mask, share).sum() == filled
