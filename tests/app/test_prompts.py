"""A prompt's mask at full size is that of the plain way, without its crumbs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from scipy.ndimage import label

from no_time_to_train.app.prompts import CRUMB, _full_size
from no_time_to_train.masks.ops import resized_masks


@pytest.mark.parametrize("size", [(300, 400), (64, 64), (40, 25), (7, 200)])
def test_the_mask_is_computed_only_where_it_is_and_no_different(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for _ in range(10):
        cx, cy, radius = (torch.rand(3, generator=generator) * torch.tensor([70, 70, 25])).tolist()
        logits = radius**2 - (x - cx) ** 2 - (y - cy) ** 2 + torch.randn(64, 64, generator=generator)
        plain = next(resized_masks(logits[None], size))[0].numpy()
        pieces, count = label(plain, np.ones((3, 3)))
        areas = np.bincount(pieces.ravel(), minlength=count + 1)
        areas[0] = 0
        expected = np.isin(pieces, np.flatnonzero(areas >= CRUMB * areas.max())) & plain
        assert (coco_mask.decode(_full_size(logits, size, [])) == expected).mean() > 0.9999


def test_a_piece_that_was_clicked_is_no_crumb() -> None:
    logits = torch.full((32, 32), -1.0)
    logits[2:20, 2:20] = 1
    logits[28:30, 28:30] = 1
    size = (64, 64)
    assert not coco_mask.decode(_full_size(logits, size, []))[57, 57]
    assert coco_mask.decode(_full_size(logits, size, [(57.5, 57.5)]))[57, 57]


def test_an_empty_mask_is_an_answer() -> None:
    assert coco_mask.area(_full_size(torch.full((32, 32), -1.0), (50, 60), [(1.0, 1.0)])) == 0
