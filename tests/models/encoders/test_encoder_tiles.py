"""Features by tiles: each tile is what the encoder gives for it alone, in its place."""

from __future__ import annotations

import pytest
import torch

from no_time_to_train.config import EncoderConfig, Sam2InferConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.encoder_tiles import tiled_features
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder, build_encoder
from no_time_to_train.models.encoders.patch_features import normed_features


@pytest.fixture(scope="module")
def encoder() -> FeatureEncoder:
    return build_encoder(EncoderConfig(name="dinov3_nano", img_size=64), None)


@torch.inference_mode()
def test_each_tile_is_encoded_apart_and_put_in_its_place(encoder: FeatureEncoder) -> None:
    image = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    found = tiled_features(normed_features, encoder, image, 2)
    assert found.shape == (2, 8, 8, encoder.embed_dim)
    for top, left in ((0, 0), (0, 1), (1, 0), (1, 1)):
        tile = image[:, :, 64 * top : 64 * top + 64, 64 * left : 64 * left + 64]
        own = found[:, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4]
        torch.testing.assert_close(own, encoder(tile), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_one_tile_is_the_encoder_and_other_sizes_are_resized(encoder: FeatureEncoder) -> None:
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(tiled_features(normed_features, encoder, image, 1), encoder(image))
    assert tiled_features(normed_features, encoder, image, 3).shape == (1, 12, 12, encoder.embed_dim)


def test_no_tile_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="encoder_tiles"):
        Sam2InferConfig(encoder_tiles=0)
