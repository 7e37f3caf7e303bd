"""The best rows as instances; the union of a class."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from no_time_to_train.masks.ops import Resize
from no_time_to_train.models.matching.merging import Candidates
from no_time_to_train.models.matching.top_merging import TopMerger, union_by_label


def candidates(logits: torch.Tensor, masks: list[int], labels: list[int], scores: list[float]) -> Candidates:
    count = logits.shape[0]
    return Candidates(
        logits,
        torch.zeros(count, 0),
        torch.zeros(count),
        torch.tensor(masks),
        torch.tensor(labels),
        torch.tensor(scores),
    )


def drawn(*cells: tuple[int, int]) -> torch.Tensor:
    """(4, 4) logits, 1 at the given (row, column) and −1 elsewhere."""
    logits = torch.full((4, 4), -1.0)
    for row, column in cells:
        logits[row, column] = 1
    return logits


def test_best_rows_over_all_classes_first_come_first_among_equals() -> None:
    logits = torch.stack([drawn((0, 0)), drawn((3, 3))])
    found = candidates(logits, [0, 0, 1, 1], [0, 1, 0, 1], [0.5, 0.9, 0.5, 0.2])
    merged = TopMerger("nearest", max_instances=3)(found, (4, 4))
    assert merged.labels.tolist() == [1, 0, 0]
    assert merged.scores.tolist() == pytest.approx([0.9, 0.5, 0.5])
    assert merged.boxes.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [3, 3, 3, 3]]
    assert [int(mask.sum()) for mask in merged.masks] == [1, 1, 1]


@pytest.mark.parametrize(
    ("resize", "options"),
    [
        ("nearest", {"mode": "nearest"}),
        ("corners", {"mode": "bilinear", "align_corners": True}),
        ("antialias", {"mode": "bilinear", "antialias": True}),
    ],
)
@pytest.mark.parametrize("size", [(9, 13), (3, 2), (1, 1), (40, 1)])
def test_masks_come_to_full_size_as_asked(
    resize: Resize, options: dict[str, object], size: tuple[int, int]
) -> None:
    logits = torch.randn(5, 8, 8, generator=torch.Generator().manual_seed(0)) + 1
    found = candidates(logits, list(range(5)), [0] * 5, [0.9, 0.8, 0.7, 0.6, 0.5])
    merged = TopMerger(resize)(found, size)
    if resize == "antialias" and size[1] == 1:
        return  # PyTorch's own antialiased resize is wrong at width 1; test_mask_ops has that case
    expected = F.interpolate(logits[:, None], size, **options)[:, 0] > 0  # type: ignore[arg-type]
    expected = expected[expected.flatten(1).any(dim=1)]
    assert torch.equal(merged.masks, expected)


def test_mask_that_vanishes_at_full_size_is_dropped_with_its_row() -> None:
    logits = torch.stack([drawn((1, 1)), drawn((0, 0))])
    merged = TopMerger("nearest")(candidates(logits, [0, 1], [3, 4], [0.9, 0.8]), (1, 1))
    assert merged.labels.tolist() == [4]
    assert merged.scores.tolist() == pytest.approx([0.8])


def test_union_covers_what_any_mask_of_the_class_covers() -> None:
    logits = torch.stack([drawn((0, 0)), drawn((0, 1), (3, 3)), drawn((2, 2))])
    found = candidates(logits, [0, 1, 2], [5, 5, 1], [0.3, 0.7, 0.6])
    united = union_by_label(found)
    assert united.labels.tolist() == [1, 5]
    assert united.scores.tolist() == pytest.approx([0.6, 0.7])
    merged = TopMerger("nearest", union=True)(found, (4, 4))
    assert merged.labels.tolist() == [5, 1]
    assert torch.nonzero(merged.masks[0]).tolist() == [[0, 0], [0, 1], [3, 3]]


@pytest.mark.parametrize("union", [False, True])
def test_nothing_found(union: bool) -> None:
    nothing = candidates(torch.zeros(0, 4, 4), [], [], [])
    nothing = Candidates(
        *(getattr(nothing, name) for name in ("logits", "features", "ious")),
        torch.zeros(0).long(),
        torch.zeros(0).long(),
        torch.zeros(0),
    )
    merged = TopMerger("corners", union=union)(nothing, (7, 9))
    assert len(merged) == 0
    assert merged.masks.shape == (0, 7, 9)
