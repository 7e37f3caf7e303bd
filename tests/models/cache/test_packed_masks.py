"""Packed masks: the same pixels at every size that they are resized to."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.models.cache.entry_format import encode_entry
from no_time_to_train.models.cache.packed_masks import near_outline, outline_reach, pack_masks, unpack_masks
from no_time_to_train.models.matching.merging import full_size
from no_time_to_train.models.sam.prompts import DecodedMasks

CPU = torch.device("cpu")


def blobs(seed: int, count: int, side: int) -> DecodedMasks:
    """Smooth random logits with outlines, thin parts and whole fields of tiny values."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, max(2, side // 4), max(2, side // 4), generator=draw)
    logits = F.interpolate(coarse, (side, side), mode="bicubic")[:, 0]
    logits = logits * 10.0 ** torch.randint(-6, 2, (count, 1, 1), generator=draw)
    logits[:, 0, 0] = 0.0
    return DecodedMasks(logits, torch.rand(count, generator=draw), torch.arange(count))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 5),
    height=st.integers(1, 100),
    width=st.integers(1, 100),
)
def test_the_same_pixels_at_any_size(seed: int, count: int, height: int, width: int) -> None:
    masks = blobs(seed, count, 24)
    reach = outline_reach(24, (height, width))
    back = unpack_masks(pack_masks(masks, reach), reach, CPU)
    assert torch.equal(back.logits > 0, masks.logits > 0)
    assert torch.equal(back.ious, masks.ious)
    assert torch.equal(back.prompts, masks.prompts)
    wanted, found = full_size(masks.logits, (height, width)), full_size(back.logits, (height, width))
    assert found[0] == wanted[0]
    assert torch.equal(found[1], wanted[1])


def test_a_mask_with_no_outline_keeps_no_values() -> None:
    masks = DecodedMasks(torch.stack([torch.ones(8, 8), -torch.ones(8, 8)]), torch.ones(2), torch.arange(2))
    packed = pack_masks(masks, 1)
    assert packed["values"].numel() == 0
    assert torch.equal(unpack_masks(packed, 1, CPU).logits > 0, masks.logits > 0)


def test_all_logits_come_back_where_they_may_be_read() -> None:
    masks = blobs(1, 3, 16)
    back = unpack_masks(pack_masks(masks, None), None, CPU)
    assert torch.equal(back.logits, masks.logits)


@pytest.mark.parametrize("reach", [1, 2, 5])
def test_near_outline_agrees_with_pooling(reach: int) -> None:
    inside = blobs(2, 4, 20).logits > 0
    grown = [
        F.max_pool2d(part.float()[:, None], 2 * reach + 1, 1, reach)[:, 0] > 0 for part in (inside, ~inside)
    ]
    assert torch.equal(near_outline(inside, reach), grown[0] & grown[1])


def test_outlines_take_a_small_share_of_the_space() -> None:
    rows, columns = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    discs = torch.stack(
        [40.0 + number - ((rows - 128) ** 2 + (columns - 99) ** 2).sqrt() for number in range(8)]
    )
    masks = DecodedMasks(discs, torch.ones(8), torch.arange(8))
    assert len(encode_entry(pack_masks(masks, 1))) < 0.02 * discs.numel() * 4
