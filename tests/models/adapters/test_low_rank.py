"""Low-rank changes of every kind of encoder and of SAM 2's decoder: zero at first, with exact gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from no_time_to_train.models.adapters.low_rank import (
    WeightChanges,
    decoder_weights,
    encoder_weights,
    take_off,
)
from no_time_to_train.models.encoders.backbones import build_backbone
from no_time_to_train.models.encoders.encoder_registry import ENCODERS
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.sam.modules import build_heads
from no_time_to_train.models.sam.prompts import point_prompts
from no_time_to_train.weights.sam2_models import SAM2_SIZES
from tests.models.encoders.test_feature_encoder import tiny
from tests.models.tiny import generator, random_sam

KINDS = ["dinov2", "dinov3", "timm", "efficientnet"]


def encoder(kind: str) -> FeatureEncoder:
    if kind != "efficientnet":
        return tiny(kind)
    spec = replace(ENCODERS["lite2_photographs"], img_size=64)
    torch.manual_seed(0)
    return FeatureEncoder(spec, build_backbone(spec))


def stirred(changes: WeightChanges, by: float = 0.05) -> None:
    """As if something had been learned."""
    draw = generator(5)
    with torch.no_grad():
        for parameter in changes.parameters():
            parameter += by * torch.randn(parameter.shape, generator=draw, dtype=torch.float64).to(parameter)


def slopes_agree(output: Callable[[], Tensor], changes: WeightChanges, within: float, step: float) -> None:
    """The gradient along a random direction, and the difference quotient."""
    draw = generator(1)
    weights = None
    directions = [
        torch.randn(part.shape, generator=draw, dtype=torch.float64).to(part) for part in changes.parameters()
    ]

    def value() -> Tensor:
        nonlocal weights
        with changes.use(1):
            found = output()
        if weights is None:
            weights = torch.randn(found.shape, generator=draw, dtype=torch.float64).to(found)
        return (found * weights).sum()

    value().backward()
    along = sum(
        float((part.grad * way).sum())
        for part, way in zip(changes.parameters(), directions, strict=True)
        if part.grad is not None
    )
    ends = []
    with torch.no_grad():
        for sign in (1, -1):
            for part, way in zip(changes.parameters(), directions, strict=True):
                part += sign * step * way
            ends.append(float(value()))
            for part, way in zip(changes.parameters(), directions, strict=True):
                part -= sign * step * way
    assert abs(along) > 0
    assert along == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=within)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_a_backbone_are_difference_quotients(kind: str) -> None:
    backbone: Any = encoder(kind).backbone.double()
    changes = WeightChanges(backbone, encoder_weights(backbone), rank=2, copies=2)
    stirred(changes)
    side = 4 * (14 if kind == "dinov2" else 16)
    pixels = torch.randn(1, 3, side, side, generator=generator(2), dtype=torch.float64)

    def tokens() -> Tensor:
        found = backbone.forward_features(pixels)
        return found if isinstance(found, Tensor) else found["x_norm_patchtokens"]

    exact = kind != "efficientnet"  # whose stages become float32 inside
    slopes_agree(tokens, changes, *((1e-6, 1e-5) if exact else (2e-2, 1e-3)))


def test_gradients_through_the_mask_decoder_are_difference_quotients() -> None:
    sam = random_sam().double()
    with torch.no_grad():
        (embedding,) = sam.encode(torch.rand(1, 3, 512, 512, generator=generator(0)))
    changes = WeightChanges(sam, decoder_weights(sam), rank=2, copies=2)
    stirred(changes)
    prompts = point_prompts(torch.tensor([[200.0, 100.0]]))

    def logits_and_ious() -> Tensor:
        logits, ious = sam.every_mask(embedding, prompts)
        return torch.cat([logits.flatten(), ious.flatten()])

    slopes_agree(logits_and_ious, changes, 1e-5, 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_change_is_none_and_comes_off(kind: str) -> None:
    own, before = encoder(kind), encoder(kind).state_dict()
    picture = torch.rand(1, 3, 70, 50, generator=generator(3))
    plain = own(picture)
    changes = WeightChanges(own.backbone, encoder_weights(own.backbone), rank=4, copies=2)
    for copy in (None, 0, 1):
        with changes.use(copy):
            assert torch.equal(own(picture), plain)
            assert not own(picture).requires_grad
    stirred(changes)
    assert torch.equal(own(picture), plain)
    with changes.use(1):
        assert not torch.equal(own(picture), plain)
    own.learns = True
    with changes.use(1):
        assert own(picture).requires_grad
    own.learns = False
    take_off(own.backbone)
    after = own.state_dict()
    assert after.keys() == before.keys()
    assert torch.equal(own(picture), plain)


def test_copies_do_not_meet() -> None:
    own = encoder("dinov3")
    own.learns = True
    changes = WeightChanges(own.backbone, encoder_weights(own.backbone), rank=2, copies=3)
    with changes.use(1):
        own(torch.rand(1, 3, 64, 64, generator=generator(3))).sum().backward()
    for part in changes.parameters():
        if part.grad is not None:
            assert not part.grad[[0, 2]].any()


def test_what_learns() -> None:
    """The last blocks of an encoder; of SAM 2, whatever family, what single images are decoded with."""
    names = encoder_weights(
        build_backbone(ENCODERS["dinov3_small"], arguments={"embed_dim": 48, "num_heads": 3})
    )
    assert {name.split(".")[1] for name in names} == {"9", "10", "11"}
    for size in ("nano", "tiny"):
        with torch.device("meta"):
            _, decoder = build_heads(SAM2_SIZES[size])
        sam = nn.ModuleDict({"sam_mask_decoder": decoder})
        chosen = decoder_weights(sam)
        assert "sam_mask_decoder.transformer.layers.0.self_attn.q_proj.weight" in chosen
        assert "sam_mask_decoder.iou_prediction_head.layers.0.weight" in chosen
        assert not [name for name in chosen if "conv_s" in name or "obj_score" in name]
        assert set(chosen) < set(decoder_weights(sam, every=True))
    with pytest.raises(ValueError, match="no linear layer to put an adapter on"):
        encoder_weights(nn.Conv2d(3, 4, 3))
