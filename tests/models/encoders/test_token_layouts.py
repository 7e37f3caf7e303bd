"""Every output layout of the published integration, and timm's, gives the same patch features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from no_time_to_train.models.encoders.token_layouts import num_prefix_tokens, patch_tokens

PREFIX, GRID, D = 5, (3, 4), 8
TOKENS = torch.randn(2, PREFIX + 12, D, generator=torch.Generator().manual_seed(0))


class Backbone(nn.Module):
    """Only what the extraction may look at."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(D)
        for name, value in attributes.items():
            setattr(self, name, value)


NORMED = Backbone().norm(TOKENS).detach()
EXPECTED = NORMED[:, PREFIX:].unflatten(1, GRID)
REGISTERS = {"n_storage_tokens": PREFIX - 1}


@pytest.mark.parametrize(
    ("attributes", "count"),
    [
        ({"n_storage_tokens": 4}, 5),
        ({"num_register_tokens": 4}, 5),
        ({"num_register_tokens": 0}, 1),
        ({"num_prefix_tokens": 0}, 0),
        ({}, 1),
    ],
)
def test_prefix_tokens(attributes: dict[str, int], count: int) -> None:
    assert num_prefix_tokens(Backbone(**attributes)) == count


@pytest.mark.parametrize("attributes", [REGISTERS, {"num_register_tokens": 4}, {"num_prefix_tokens": 5}])
@pytest.mark.parametrize(
    "output",
    [
        {"x_norm_patchtokens": NORMED[:, PREFIX:], "x_prenorm": TOKENS},
        {"x_norm": NORMED},
        {"x_prenorm": TOKENS},
        {"x_norm_patchtokens": None, "x_norm": NORMED},
        NORMED,
        NORMED[:, PREFIX:],
    ],
    ids=["patches", "x_norm", "prenorm only", "None", "tensor", "tensor without prefix"],
)
def test_layouts(attributes: dict[str, int], output: Any) -> None:
    torch.testing.assert_close(patch_tokens(output, Backbone(**attributes), GRID), EXPECTED)


def test_feature_maps() -> None:
    rows_first = EXPECTED.permute(0, 3, 1, 2)
    torch.testing.assert_close(patch_tokens(rows_first, Backbone(), GRID), EXPECTED)
    torch.testing.assert_close(patch_tokens(EXPECTED, Backbone(output_fmt="NHWC"), GRID), EXPECTED)


def test_tokens_before_the_norm() -> None:
    output = {"x_prenorm": TOKENS, "x_norm_patchtokens": NORMED[:, PREFIX:]}
    got = patch_tokens(output, Backbone(**REGISTERS), GRID, prenorm=True)
    assert torch.equal(got, TOKENS[:, PREFIX:].unflatten(1, GRID))
    with pytest.raises(ValueError, match="need a mapping with x_prenorm, got a tensor"):
        patch_tokens(TOKENS, Backbone(), GRID, prenorm=True)
    with pytest.raises(ValueError, match="the backbone must return x_prenorm, got the keys"):
        patch_tokens({"x_norm": NORMED}, Backbone(), GRID, prenorm=True)


def test_a_count_that_does_not_fit_is_refused() -> None:
    # DINOv3 read as DINOv2 without registers would slip four storage tokens among the patches.
    with pytest.raises(ValueError, match=r"3x4 patches need \(B, 12, D\) tokens, or 13 with the prefix, got"):
        patch_tokens(NORMED, Backbone(num_register_tokens=0), GRID)
    with pytest.raises(ValueError, match="x_norm_patchtokens, x_norm or x_prenorm, got the keys"):
        patch_tokens({"tokens": NORMED}, Backbone(), GRID)
