"""Rotary tables: their formula, their arguments, and a cache that never serves a stale one."""

from __future__ import annotations

import copy
import io
import math
from typing import Any

import pytest
import torch

from dinov3.layers import RopePositionEmbedding
from dinov3.layers.rope import CPU_ROWS, MAX_CACHED_TABLES, apply_rope


def rope(**changes: Any) -> RopePositionEmbedding:
    return RopePositionEmbedding(48, **{"num_heads": 3, "dtype": torch.float32, **changes}).eval()


def test_angles_of_one_patch_by_hand() -> None:
    # 16 channels a head: periods 1, 100 ** 0.25, 10, 100 ** 0.75. Grid 1 x 2, second patch: y = 0, x = 0.5.
    sin, cos = rope()(H=1, W=2)
    angles = [0.0] * 4 + [2 * math.pi * 0.5 / 100 ** (j / 4) for j in range(4)]
    expected = torch.tensor(angles * 2)
    torch.testing.assert_close(sin[1], expected.sin(), rtol=0, atol=1e-6)
    torch.testing.assert_close(cos[1], expected.cos(), rtol=0, atol=1e-6)


def test_prefix_rows_turn_nothing() -> None:
    module = rope()
    sin, cos = module.tables(2, 3, num_prefix=5)
    assert torch.equal(sin[:5], torch.zeros(5, 16))
    assert torch.equal(cos[:5], torch.ones(5, 16))
    plain_sin, plain_cos = module(H=2, W=3)
    assert torch.equal(sin[5:], plain_sin)
    assert torch.equal(cos[5:], plain_cos)


def test_turning_equals_the_formula() -> None:
    T = 2 * CPU_ROWS + 9  # several pieces, the last one short
    x = torch.randn(2, T, 6, 16)
    angles = torch.randn(T, 8).repeat(1, 2)
    half_turned = torch.cat([-x[..., 8:], x[..., :8]], dim=-1)
    expected = x * angles.cos()[:, None] + half_turned * angles.sin()[:, None]
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            turned = apply_rope(x, angles.sin(), angles.cos())
        torch.testing.assert_close(turned, expected.transpose(1, 2))
    with torch.no_grad():
        narrow = apply_rope(x.bfloat16(), angles.sin(), angles.cos())
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), expected.transpose(1, 2), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"base": None},
        {"base": None, "min_period": 1.0},
        {"base": None, "max_period": 1.0},
        {"min_period": 1.0, "max_period": 2.0},
        {"max_period": 2.0},
    ],
)
def test_base_or_both_periods(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either base, or both min_period and max_period"):
        rope(**arguments)


def test_other_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="'min', 'max' or 'separate', got 'both'"):
        rope(normalize_coords="both")
    with pytest.raises(AssertionError, match=r"multiple of 4 \* num_heads = 16, got 40"):
        RopePositionEmbedding(40, num_heads=4)


def test_default_dtype_is_kept_when_the_module_is_cast() -> None:
    module = RopePositionEmbedding(48, num_heads=3)
    assert module.dtype == module.periods.dtype == torch.float32
    module.to(torch.bfloat16)
    assert module.periods.dtype == torch.bfloat16
    assert module(H=2, W=2)[0].dtype == torch.float32


def test_eval_tables_are_shared_and_bounded() -> None:
    module = rope()
    assert module(H=3, W=4)[0] is module(H=3, W=4)[0]
    for size in range(1, 3 * MAX_CACHED_TABLES):
        module(H=size, W=2)
        assert len(module._cache) <= MAX_CACHED_TABLES
    assert list(module.state_dict()) == ["periods"]


def changed_periods(module: RopePositionEmbedding) -> torch.Tensor:
    return module.periods.detach().clone() * 2 + 1


def by_loading(module: RopePositionEmbedding) -> None:
    module.load_state_dict({"periods": changed_periods(module)})


def by_assigning_state(module: RopePositionEmbedding) -> None:
    module.load_state_dict({"periods": changed_periods(module)}, assign=True)


def by_replacing(module: RopePositionEmbedding) -> None:
    module.periods = changed_periods(module)


def by_writing(module: RopePositionEmbedding) -> None:
    module.periods.copy_(changed_periods(module))


def by_casting(module: RopePositionEmbedding) -> None:
    module.to(torch.bfloat16).to(torch.float32)


# A write to a tensor that was made in inference mode leaves no trace, so that pair is not promised.
CHANGES = [by_loading, by_assigning_state, by_replacing, by_casting, by_writing]
PAIRS = [
    (change, born) for change in CHANGES for born in (False, True) if (change, born) != (by_writing, True)
]


@pytest.mark.parametrize(("change", "born_in_inference_mode"), PAIRS)
def test_no_stale_table_after_other_periods(change: Any, born_in_inference_mode: bool) -> None:
    with torch.inference_mode(born_in_inference_mode):
        module = rope()
        before, _ = module(H=3, W=4)
        change(module)
        after, _ = module(H=3, W=4)
        fresh = rope()
        fresh.periods = module.periods
        assert torch.equal(after, fresh(H=3, W=4)[0])
        assert not torch.equal(after, before)


def test_table_made_in_inference_mode_serves_training() -> None:
    module = rope()
    with torch.inference_mode():
        sin, _ = module(H=2, W=2)
    weight = torch.ones(16, requires_grad=True)
    (module(H=2, W=2)[0] * weight).sum().backward()
    assert module(H=2, W=2)[0] is sin
    torch.testing.assert_close(weight.grad, sin.sum(0))


def test_copies_and_pickles_start_without_tables() -> None:
    module = rope()
    sin, _ = module(H=2, W=2)
    stored = io.BytesIO()
    torch.save(module, stored)
    stored.seek(0)
    for copied in (copy.deepcopy(module), torch.load(stored, weights_only=False)):
        assert copied._cache == {}
        assert torch.equal(copied(H=2, W=2)[0], sin)
    assert len(module._cache) == 1


def test_meta_device_and_back() -> None:
    module = rope()
    expected = module(H=2, W=2)[0].clone()
    on_meta = copy.deepcopy(module).to("meta")
    assert on_meta(H=2, W=2)[0].is_meta
    on_meta.to_empty(device="cpu").load_state_dict(module.state_dict())
    assert torch.equal(on_meta(H=2, W=2)[0], expected)


def scale_of(module: RopePositionEmbedding) -> tuple[torch.Tensor, torch.Tensor]:
    """Tables of a module whose only period is so long that sin(angle) is the angle, as (y, x) coordinates."""
    sin, _ = module(H=64, W=64)
    coords = sin[:, [0, 1]] * 1e4 / (2 * math.pi)
    return coords[:, 0].view(64, 64)[:, 0], coords[:, 1].view(64, 64)[0]


def long_period(**augmentation: float) -> RopePositionEmbedding:
    return RopePositionEmbedding(
        4, num_heads=1, base=None, min_period=1e4, max_period=1e4, dtype=torch.float32, **augmentation
    )


@pytest.mark.parametrize("name", ["shift", "jitter", "rescale"])
def test_augmentation_in_train_mode_only(name: str) -> None:
    module = long_period(**{f"{name}_coords": 2.0})
    torch.manual_seed(0)
    grid = scale_of(module.eval())[0]
    assert torch.equal(scale_of(module)[1], grid)
    module.train()
    scales, shifts = [], []
    for _ in range(200):
        y, x = scale_of(module)
        scales.append([((c[-1] - c[0]) / (grid[-1] - grid[0])).item() for c in (y, x)])
        shifts.append([c.mean().item() for c in (y, x)])
    scale, shift = torch.tensor(scales), torch.tensor(shifts)
    same_axes = torch.allclose(scale[:, 0], scale[:, 1], atol=1e-3)
    if name == "shift":
        assert same_axes
        assert 1.8 < shift.abs().max() <= 2.001
        assert not torch.allclose(shift[:, 0], shift[:, 1], atol=0.1)
    else:
        assert same_axes == (name == "rescale")
        assert 0.499 <= scale.min() < 0.55
        assert 1.8 < scale.max() <= 2.001
        assert shift.abs().max() < 1e-3
        assert abs(scale.log().mean()) < 0.1  # as often smaller as larger


def test_an_oblong_grid_and_the_same_grid_turned_have_tables_of_their_own() -> None:
    module = rope()
    for height, width in ((2, 3), (3, 2), (2, 3), (1, 6), (6, 1)):
        fresh = rope()(H=height, W=width)
        assert all(torch.equal(*pair) for pair in zip(module(H=height, W=width), fresh, strict=True))
