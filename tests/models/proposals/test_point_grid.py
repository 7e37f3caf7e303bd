"""The point grid: where the points lie, and that every one of them is asked."""

from __future__ import annotations

import pytest
import torch

from no_time_to_train.models.proposals.point_grid import PointGrid, border_grid
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import ImageEmbedding, point_prompts
from tests.models.tiny import generator, random_sam


@pytest.fixture(scope="module")
def sam() -> Sam2Backend:
    return random_sam()


def test_the_published_grid_touches_the_border() -> None:
    """Invariant 7: 32 points a side, 33 pixels apart, 0.5 to 1023.5."""
    grid = border_grid(32, 1024)
    assert grid.shape == (1024, 2)
    assert (grid.min(), grid.max()) == (0.5, 1023.5)
    torch.testing.assert_close(grid[1::32, 1] - grid[::32, 1], torch.full((32,), 33.0))
    assert grid[:32, 0].unique().tolist() == [0.5]  # x is the slow one
    assert len(grid.unique(dim=0)) == 1024


@pytest.mark.parametrize("side", [1, 2, 3, 10, 20])
def test_grids_of_any_size(side: int) -> None:
    grid = border_grid(side, 256)
    assert grid.shape == (side**2, 2)
    assert torch.isfinite(grid).all()
    torch.testing.assert_close(grid.mean(dim=0), torch.tensor([128.0, 128.0]))


def test_a_prompt_is_one_foreground_point() -> None:
    prompts = point_prompts(border_grid(3, 256))
    assert prompts.points is not None
    assert prompts.labels is not None
    assert prompts.points.shape == (9, 1, 2)
    assert prompts.labels.tolist() == [[1]] * 9
    assert len(point_prompts(torch.zeros(0, 2))) == 0


@pytest.fixture(scope="module")
def embedding(sam: Sam2Backend) -> ImageEmbedding:
    return sam.encode(torch.rand(1, 3, 512, 512, generator=generator(1)))[0]


@pytest.mark.parametrize(("side", "chunk"), [(1, 256), (2, 3), (3, 1), (5, 7), (5, 256)])
def test_every_point_is_used_for_any_batch_size(
    sam: Sam2Backend, embedding: ImageEmbedding, side: int, chunk: int
) -> None:
    """D9, invariant 7: points beyond the last full batch were dropped, 20 x 20 in 256 lost 144."""
    masks = PointGrid(side, chunk, min_iou=-1.0)(sam, embedding)
    assert masks.prompts.tolist() == list(range(side**2))
    reference = PointGrid(side, 64, min_iou=-1.0)(sam, embedding)
    assert torch.equal(masks.logits, reference.logits)  # the same bits on a CPU
    assert torch.equal(masks.ious, reference.ious)


def test_only_masks_strictly_above_the_threshold_survive(sam: Sam2Backend, embedding: ImageEmbedding) -> None:
    everything = PointGrid(4, 16, min_iou=-1.0)(sam, embedding)
    threshold = float(everything.ious.sort()[0][7])
    some = PointGrid(4, 16, min_iou=threshold)(sam, embedding)
    assert some.prompts.tolist() == everything.prompts[everything.ious > threshold].tolist()
    none = PointGrid(4, 16, min_iou=1.0)(sam, embedding)
    assert none.logits.shape == (0, 128, 128)
    assert none.ious.shape == none.prompts.shape == (0,)


def test_the_no_memory_vector_is_an_option_and_left_out_by_default(sam: Sam2Backend) -> None:
    """D2: SAM 2's own predictor adds it, the published pipeline did not."""
    image = torch.rand(1, 3, 512, 512, generator=generator(3))
    plain, added = sam.encode(image)[0], sam.encode(image, add_no_mem_embed=True)[0]
    torch.testing.assert_close(
        added.image - plain.image, sam.no_mem_embed.view(1, -1, 1, 1).expand_as(plain.image)
    )
