"""Embedded prompts are those of ``sam2``'s prompt encoder."""

from __future__ import annotations

import copy

import pytest
import torch

from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompt_embedding import embed_prompts, grid_code
from tests.models.sam2_oracle import random_prompts, spread_sam


@pytest.fixture(scope="module")
def sam() -> Sam2Backend:
    return spread_sam("nano")


@pytest.mark.parametrize("kind", ["point", "points", "box", "box and points", "mask"])
@pytest.mark.parametrize("count", [1, 7])
def test_sparse_embeddings(sam: Sam2Backend, kind: str, count: int) -> None:
    prompts = random_prompts(sam, kind, count)
    points = None if prompts.points is None else (prompts.points, prompts.labels)
    expected, _ = sam.sam_prompt_encoder(points=points, boxes=prompts.boxes, masks=prompts.masks)
    found = embed_prompts(sam.sam_prompt_encoder, count, prompts.points, prompts.labels, prompts.boxes)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_every_label(sam: Sam2Backend) -> None:
    points, labels = torch.rand(1, 5, 2) * 512, torch.tensor([[-1, 0, 1, 2, 3]])
    expected, _ = sam.sam_prompt_encoder(points=(points, labels), boxes=None, masks=None)
    found = embed_prompts(sam.sam_prompt_encoder, 1, points, labels, None)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_no_prompts(sam: Sam2Backend) -> None:
    empty = torch.zeros(0, 1, 2), torch.zeros(0, 1, dtype=torch.int64)
    assert embed_prompts(sam.sam_prompt_encoder, 0, *empty, None).shape == (0, 2, sam.spec.d_model)


def test_position_code_of_the_grid(sam: Sam2Backend) -> None:
    expected = sam.sam_prompt_encoder.get_dense_pe()[0].flatten(1).T
    torch.testing.assert_close(grid_code(sam.sam_prompt_encoder, 32, 32), expected, atol=1e-5, rtol=1e-5)


def test_half_weights(sam: Sam2Backend) -> None:
    """Coordinates keep their precision: in bfloat16 a pixel near 250 would be rounded to a multiple of 2."""
    half = copy.deepcopy(sam).bfloat16()
    prompts = random_prompts(sam, "box and points", 4)
    parts = (prompts.points, prompts.labels, prompts.boxes)
    found = embed_prompts(half.sam_prompt_encoder, 4, *parts)
    assert found.dtype == torch.bfloat16
    expected = embed_prompts(sam.sam_prompt_encoder, 4, *parts)
    assert (found.float() - expected).abs().mean() < 0.02
