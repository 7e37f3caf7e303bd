"""Adaptive prompts: masks of the full grid, fewer of them, and where they are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.config import AdaptivePromptConfig, Sam2InferConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.extensions.coarse_to_fine import (
    CoarseToFine,
    HalvedStrides,
    likeness,
    on_stride,
)
from no_time_to_train.models.parts import make_proposer
from no_time_to_train.models.proposals.point_grid import PointGrid, border_grid
from no_time_to_train.models.sam.prompts import DecodedMasks
from tests.models.small_models import filled, lively_sam, picture, small_model

RULE = CoarseToFine(HalvedStrides(4, 2), "alike", confident=0.8)


def masks_of(logits: torch.Tensor, ious: list[float]) -> DecodedMasks:
    return DecodedMasks(logits, torch.tensor(ious), torch.arange(len(ious)))


@settings(deadline=None)
@given(side=st.integers(1, 40), first=st.integers(2, 9))
def test_strides_start_coarse_and_end_at_every_point(side: int, first: int) -> None:
    points, level = HalvedStrides(side, first)(256)
    assert torch.equal(points, border_grid(side, 256))
    assert torch.equal(level == 0, on_stride(side, first))
    assert int((level == 0).sum()) in {(side // first) ** 2, (-(-side // first)) ** 2}
    assert torch.equal(
        (level == 1) | (level == 0), on_stride(side, (first + 1) // 2) | on_stride(side, first)
    )


def test_a_point_is_covered_by_confident_masks_that_are_no_background() -> None:
    logits = -torch.ones(3, 8, 8)
    logits[0, :2, :2] = 1  # confident
    logits[1, 4:6, 4:6] = 1  # not confident
    logits[2] = 1  # everything
    points = torch.tensor([[5.0, 5.0], [20.0, 20.0], [31.9, 31.9], [7.9, 0.0]])
    found = RULE.covered(points, 32, masks_of(logits, [0.9, 0.5, 0.99]))
    assert found.tolist() == [True, False, False, True]
    at_the_bound = RULE.covered(points, 32, masks_of(logits, [0.8, 0.79999, 0.99]))
    assert at_the_bound.tolist() == found.tolist()
    a_quarter = replace(RULE, max_area=4 / 64).covered(points, 32, masks_of(logits, [0.9, 0.5, 0.99]))
    assert a_quarter.tolist() == found.tolist()


def test_likeness_reads_the_patch_under_the_point() -> None:
    features = torch.zeros(2, 2, 3)
    features[0, 1] = torch.tensor([0.0, 5.0, 0.0])  # top right
    features[1, 0] = torch.tensor([0.0, -1.0, 0.0])  # bottom left
    points = torch.tensor([[20.0, 3.0], [3.0, 20.0], [32.0, 0.5], [1.0, 1.0]])
    like = likeness(points, 32, features, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    assert like.tolist() == [1.0, 0.0, 1.0, 0.0]


def ask_of(log: list[list[int]], masks: DecodedMasks | None = None) -> Any:
    """Answers every round with ``masks``, or with none, and notes what was asked."""

    def ask(rows: torch.Tensor) -> DecodedMasks:
        log.append(rows.tolist())
        return masks if masks is not None and len(log) == 1 else masks_of(torch.zeros(0, 32, 32), [])

    return ask


@pytest.mark.parametrize(
    ("where", "count"), [("open", 8), ("open_or_alike", 9), ("open_and_alike", 3), ("alike", 4)]
)
def test_finer_points_by_rule(where: Any, count: int) -> None:
    """4 x 4 points, a first round of four; its one mask closes a finer point that is alike."""
    rule = replace(RULE, finer_where=where)
    points, level = rule.levels(32)
    first = on_stride(4, 2)
    finer = torch.nonzero(~first)[:, 0]
    alike = torch.zeros(16, dtype=torch.bool)
    alike[finer[:4]] = True
    closing = -torch.ones(1, 32, 32)
    for row in (*finer[:1].tolist(), *finer[4:7].tolist()):
        x, y = points[row].long().clamp(max=31).tolist()
        closing[0, y, x] = 1
    log: list[list[int]] = []
    rule.ask_in_rounds(ask_of(log, masks_of(closing, [0.95])), points, level, 32, alike)
    assert log[0] == torch.nonzero(first)[:, 0].tolist()
    assert len(log[1]) == count


@pytest.mark.parametrize("where", ["open", "open_or_alike", "open_and_alike", "alike"])
def test_masks_are_those_of_the_full_grid_bit_for_bit(where: Any) -> None:
    model = filled(small_model("matching_baseline_noAMG"))
    sam, image = lively_sam(), torch.from_numpy(picture(0, (512, 512))).permute(2, 0, 1)[None] / 255
    embedding, features = sam.encode(image)[0], model.encoder(image)[0]
    full = PointGrid(6, 256, 0.0)(sam, embedding)
    rule = CoarseToFine(HalvedStrides(6, 3), where, confident=0.0, alike_share=0.3, min_iou=0.0)
    some = rule(sam, embedding, features, model.bank)
    assert 0 < len(some) < len(full)
    assert some.prompts.tolist() == sorted(set(some.prompts.tolist()))
    rows = torch.isin(full.prompts, some.prompts)
    assert torch.equal(full.prompts[rows], some.prompts)
    assert torch.equal(full.logits[rows], some.logits)
    assert torch.equal(full.ious[rows], some.ious)


def test_an_image_without_any_mask_is_asked_everywhere() -> None:
    model = filled(
        small_model("matching_baseline_noAMG", sam2_infer_cfgs={"prompts": "adaptive", "iou_thr": 1.0})
    )
    assert len(model.segment(picture(0))) == 0


def test_it_is_chosen_by_name_and_says_what_it_reads() -> None:
    assert isinstance(make_proposer(Sam2InferConfig()), PointGrid)
    chosen = make_proposer(Sam2InferConfig(prompts="adaptive", points_per_side=7))
    assert isinstance(chosen, CoarseToFine)
    assert chosen.levels == HalvedStrides(7, 4)
    assert chosen.reads_references
    assert not replace(chosen, finer_where="open").reads_references
    with pytest.raises(ConfigError, match=r"first_stride must be at least 2"):
        AdaptivePromptConfig(first_stride=1)
