"""What tells two encoders apart, and what does not."""

from __future__ import annotations

import json

import torch

from no_time_to_train.config import EncoderConfig
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder, build_encoder
from no_time_to_train.models.encoders.fingerprint import encoder_fingerprint, weights_hash
from tests.models.tiny import TinyEncoder


def nano(**changes: object) -> FeatureEncoder:
    torch.manual_seed(0)
    return build_encoder(EncoderConfig("dinov3_nano", allow_random_weights=True, **changes), None)  # type: ignore[arg-type]


def test_the_description_is_plain_json_and_reproducible() -> None:
    one, two = encoder_fingerprint(nano()), encoder_fingerprint(nano())
    assert one == two == json.loads(json.dumps(one))
    assert (one["encoder"], one["patch_size"], one["patches"]) == (
        "dinov3_nano",
        16,
        (one["img_size"] // 16) ** 2,
    )


def test_size_layers_and_precision_show() -> None:
    plain = encoder_fingerprint(nano())
    assert encoder_fingerprint(nano(img_size=96))["img_size"] == 96
    fused = encoder_fingerprint(nano(layers=(0, -1)))
    assert fused["layers"] == ["mean", 0, 3]
    assert plain["layers"] is None
    assert encoder_fingerprint(nano(dtype="bf16"))["weights"].startswith("bfloat16")


def test_other_weights_have_another_hash() -> None:
    assert weights_hash(TinyEncoder()) == weights_hash(TinyEncoder())
    assert weights_hash(TinyEncoder(seed=1)) != weights_hash(TinyEncoder(seed=2))
    assert weights_hash(torch.nn.Linear(2, 2)) != weights_hash(torch.nn.Linear(2, 3))
    assert weights_hash(torch.nn.Identity()).startswith(":")
