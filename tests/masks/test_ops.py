"""Mask mathematics against drawings, plain loops and PyTorch's own resizing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.masks.ops import (
    bilinear_matrix,
    containment,
    mask_boxes,
    mask_to_grid,
    pool_features,
    resized_masks,
)
from no_time_to_train.results import encode_masks
from tests.models.tiny import generator, largest_tensor, random_logits

quick = settings(deadline=None, max_examples=30)


@quick
@given(source=st.integers(1, 40), target=st.integers(1, 70), seed=st.integers(0, 999))
def test_the_bilinear_matrix_is_the_bilinear_resize(source: int, target: int, seed: int) -> None:
    image = torch.randn(1, 1, source, source, generator=generator(seed))
    matrix = bilinear_matrix(source, target)
    expected = F.interpolate(image, (target, target), mode="bilinear", antialias=True)[0, 0]
    torch.testing.assert_close(matrix @ image[0, 0] @ matrix.T, expected, rtol=1e-4, atol=1e-5)


@quick
@given(
    h=st.integers(1, 12),
    w=st.integers(1, 12),
    q=st.integers(2, 40),
    r=st.integers(2, 40),
    n=st.integers(0, 40),
    seed=st.integers(0, 9999),
)
def test_adjoint_pooling_equals_upsample_then_pool(h: int, w: int, q: int, r: int, n: int, seed: int) -> None:
    """D27, invariant 3."""
    draw = generator(seed)
    features = torch.randn(h, w, 5, generator=draw)
    masks = torch.rand(n, q, r, generator=draw) > torch.rand(n, 1, 1, generator=draw)
    pooled = pool_features(features, masks)
    assert pooled.shape == (n, 5)
    big = F.interpolate(features.permute(2, 0, 1)[None], (q, r), mode="bilinear", antialias=True)[0]
    for row, mask in zip(pooled, masks, strict=True):
        expected = big[:, mask].mean(dim=1) if mask.any() else torch.zeros(5)
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


def test_pooling_never_makes_the_upsampled_map() -> None:
    """D27: the original upsampled (C, 256, 256) and multiplied; 1024 x 256 x 256 is 67 million numbers."""
    features = torch.randn(37, 37, 1024)
    masks = torch.rand(100, 256, 256) > 0.5
    with largest_tensor() as seen:
        pool_features(features, masks)
    assert seen.numel <= 32 * 256 * 256


def test_pooling_leaves_no_inference_tensor_behind() -> None:
    with torch.inference_mode():
        pool_features(torch.rand(3, 3, 2), torch.ones(1, 23, 23, dtype=torch.bool))
    features = torch.rand(3, 3, 2, requires_grad=True)
    pool_features(features, torch.ones(1, 23, 23, dtype=torch.bool)).sum().backward()
    assert features.grad is not None


def test_nearest_reads_the_top_left_pixel_and_area_the_share() -> None:
    """D15: a mask on the other three quarters of each patch does not exist for the published sampling."""
    mask = torch.ones(4, 4)
    mask[::2, ::2] = 0  # each 2x2 patch is covered but for its top-left pixel
    assert mask_to_grid(mask, (2, 2), "nearest").sum() == 0
    torch.testing.assert_close(mask_to_grid(mask, (2, 2), "area"), torch.full((2, 2), 0.75))


@pytest.mark.parametrize(("side", "grid"), [(518, 37), (592, 37), (384, 24), (126, 9)])
def test_nearest_takes_every_patch_th_pixel(side: int, grid: int) -> None:
    mask = torch.rand(side, side, generator=generator(side))
    step = side // grid
    torch.testing.assert_close(mask_to_grid(mask, (grid, grid), "nearest"), mask[::step, ::step])


def test_boxes_drawn_by_hand() -> None:
    masks = torch.zeros(5, 4, 6, dtype=torch.bool)
    masks[1, 2, 3] = True  # one pixel
    masks[2] = True  # full
    masks[3, 0, 5] = masks[3, 3, 0] = True  # two corners
    masks[4, 1:3, 2:5] = True
    expected = [[0, 0, 0, 0], [3, 2, 3, 2], [0, 0, 5, 3], [0, 0, 5, 3], [2, 1, 4, 2]]
    assert mask_boxes(masks).tolist() == expected
    assert mask_boxes(masks[:0]).shape == (0, 4)


@quick
@given(seed=st.integers(0, 9999), n=st.integers(0, 6), h=st.integers(1, 9), w=st.integers(1, 9))
def test_boxes_equal_the_plain_loop(seed: int, n: int, h: int, w: int) -> None:
    masks = torch.rand(n, h, w, generator=generator(seed)) > 0.8
    for mask, box in zip(masks, mask_boxes(masks), strict=True):
        ys, xs = torch.nonzero(mask, as_tuple=True)
        expected = [xs.min(), ys.min(), xs.max(), ys.max()] if len(xs) else [0, 0, 0, 0]
        assert box.tolist() == [float(x) for x in expected]


@quick
@given(
    seed=st.integers(0, 999),
    n=st.integers(0, 7),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    pixels=st.sampled_from([1, 3000, 2**26]),
)
def test_resizing_in_chunks_of_any_size_is_the_bilinear_resize(
    seed: int, n: int, height: int, width: int, pixels: int
) -> None:
    logits = random_logits(seed, n, side=16)
    pieces = list(resized_masks(logits, (height, width), max_pixels=pixels))
    got = torch.cat([torch.zeros(0, height, width, dtype=torch.bool), *pieces])
    rows, columns = bilinear_matrix(16, height), bilinear_matrix(16, width)
    whole = rows @ logits @ columns.T
    assert got.shape == (n, height, width)
    assert torch.equal(got[whole.abs() > 1e-4], whole[whole.abs() > 1e-4] > 0)


@pytest.mark.parametrize("height", [2, 6, 16, 40])
def test_an_image_one_pixel_wide_has_rows_of_its_own(height: int) -> None:
    """PyTorch's antialiased resize fills every row with the first one when only the width is 1."""
    logits = torch.linspace(-1, 1, 16)[None, :, None].expand(1, 16, 16).contiguous()
    (mask,) = resized_masks(logits, (height, 1))
    assert mask.shape == (1, height, 1)
    assert mask[0, :, 0].tolist() == [row >= height / 2 for row in range(height)]


def test_resizing_to_24_megapixels_holds_two_masks_at_a_time() -> None:
    """D26: the original held up to 800 float masks of the original size."""
    logits = torch.full((3, 256, 256), -1.0)
    logits[:, 64:128, 64:128] = 1
    with largest_tensor() as seen:
        areas = [piece.flatten(1).sum(dim=1) for piece in resized_masks(logits, (4000, 6000))]
    assert seen.numel <= 2**26
    torch.testing.assert_close(torch.cat(areas) / 24e6, torch.full((3,), 1 / 16), rtol=0.02, atol=0)


def test_containment_drawn_by_hand() -> None:
    masks = torch.zeros(4, 2, 4, dtype=torch.bool)
    masks[0, :, :2] = True  # 4 px
    masks[1, 0, :] = True  # 4 px, 2 of them in mask 0
    masks[2, 0, 0] = True  # inside both
    share = containment(encode_masks(masks), torch.tensor([0, 0, 0, 0]))
    expected = [[1, 0.5, 0.25, 0], [0.5, 1, 0.25, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    assert share.tolist() == expected


@quick
@given(seed=st.integers(0, 9999), n=st.integers(0, 12), labels=st.integers(1, 3))
def test_containment_equals_the_dense_count(seed: int, n: int, labels: int) -> None:
    """Invariant 4, first half: classes never meet; an empty mask divides by nothing."""
    masks = random_logits(seed, n, side=13, empty=0.3) > 0
    label = torch.randint(0, labels, (n,), generator=generator(seed))
    share = containment(encode_masks(masks), label)
    assert share.shape == (n, n)
    for i in range(n):
        for j in range(n):
            both = (masks[i] & masks[j]).sum()
            expected = both / masks[i].sum().clamp(min=1) if label[i] == label[j] else torch.tensor(0.0)
            assert share[i, j] == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("resize", ["antialias", "corners", "nearest"])
def test_a_logit_of_zero_is_outside(resize: str) -> None:
    pieces = resized_masks(torch.zeros(2, 4, 4), (8, 6), resize=resize)  # type: ignore[arg-type]
    assert not torch.cat(list(pieces)).any()
