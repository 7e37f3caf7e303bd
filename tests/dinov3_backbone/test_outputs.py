"""What the model returns, for which inputs, and when it refuses."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from dinov3.models import vision_transformer
from dinov3.models.vision_transformer import DinoVisionTransformer
from tests.dinov3_backbone.models import images, small_model

TOKENS = ("x_norm_clstoken", "x_storage_tokens", "x_norm_patchtokens", "x_prenorm")


def assert_same_features(found: dict[str, Any], expected: dict[str, Any], atol: float = 0.0) -> None:
    for key in TOKENS:
        torch.testing.assert_close(found[key], expected[key], rtol=0, atol=atol, msg=key)


@torch.no_grad()
def test_shapes_and_order() -> None:
    model, image = small_model(), images(2, 48, 80)
    features = model.forward_features(image)
    assert list(features) == [*TOKENS, "masks"]
    shapes = [tuple(features[key].shape) for key in TOKENS]
    assert shapes == [(2, 48), (2, 4, 48), (2, 15, 48), (2, 20, 48)]
    assert features["masks"] is None
    normed = model.norm(features["x_prenorm"])
    torch.testing.assert_close(normed[:, 5:], features["x_norm_patchtokens"])
    torch.testing.assert_close(model(image), features["x_norm_clstoken"])
    assert_same_features(model(image, is_training=True), features)


@torch.no_grad()
def test_without_storage_tokens() -> None:
    features = small_model(n_storage_tokens=0).forward_features(images(1, 32, 32))
    assert features["x_storage_tokens"].shape == (1, 0, 48)
    assert features["x_prenorm"].shape == (1, 5, 48)


@torch.no_grad()
def test_remainder_of_the_patch_is_cropped() -> None:
    model, image = small_model(), images(1, 50, 83)
    assert_same_features(model.forward_features(image), model.forward_features(image[:, :, :48, :80]), 1e-6)


@torch.no_grad()
def test_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(RuntimeError):
        small_model()(images(1, 15, 64))


@torch.no_grad()
def test_rows_of_a_batch_do_not_mix() -> None:
    model, image = small_model(), images(3, 32, 48)
    together = model.forward_features(image)
    for row in range(3):
        alone = model.forward_features(image[row : row + 1])
        assert_same_features({key: together[key][row : row + 1] for key in TOKENS}, alone, 2e-5)


@torch.no_grad()
def test_list_of_batches() -> None:
    model = small_model()
    batches = [images(1, 32, 32), images(2, 48, 16, seed=1)]
    mask = torch.tensor([[True, False, False], [False, True, True]])
    results = model.forward_features(batches, [None, mask])
    assert isinstance(results, list)
    assert results[1]["masks"] is mask
    assert_same_features(results[0], model.forward_features(batches[0]))
    assert_same_features(results[1], model.forward_features(batches[1], mask))
    with pytest.raises(TypeError, match="list of masks"):
        model.forward_features(batches)


@torch.no_grad()
def test_masked_patches_see_only_the_mask_token() -> None:
    model, image = small_model(), images(1, 32, 32)
    mask = torch.tensor([[True, False, False, False]])
    other = image.clone()
    other[:, :, :16, :16] = 7.0
    assert_same_features(model.forward_features(image, mask), model.forward_features(other, mask))
    unmasked = model.forward_features(image, ~torch.ones_like(mask))
    assert_same_features(unmasked, model.forward_features(image))


def test_wrong_masks_are_refused() -> None:
    model, image = small_model(), images(1, 32, 32)
    with pytest.raises(TypeError, match=r"torch\.bool, got torch\.int64"):
        model.forward_features(image, torch.ones(1, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(1, 4\), got \(1, 5\)"):
        model.forward_features(image, torch.ones(1, 5, dtype=torch.bool))


@torch.no_grad()
def test_unused_mask_token_does_not_reach_the_outputs() -> None:
    model, image = small_model(), images(1, 32, 32)
    before = model.forward_features(image)
    model.mask_token.fill_(float("nan"))
    assert_same_features(model.forward_features(image), before)


@torch.no_grad()
def test_last_intermediate_layer_is_the_output() -> None:
    model, image = small_model(depth=3), images(2, 48, 32)
    features = model.forward_features(image)
    patches, cls, storage = model.get_intermediate_layers(
        image, n=1, return_class_token=True, return_extra_tokens=True
    )[0]
    assert torch.equal(patches, features["x_norm_patchtokens"])
    assert torch.equal(cls, features["x_norm_clstoken"])
    assert torch.equal(storage, features["x_storage_tokens"])
    (raw,) = model.get_intermediate_layers(image, norm=False)
    assert torch.equal(raw, features["x_prenorm"][:, 5:])


@torch.no_grad()
def test_intermediate_layers_come_in_block_order() -> None:
    model, image = small_model(depth=3), images(1, 48, 32)
    by_number = model.get_intermediate_layers(image, n=[2, 0], reshape=True)
    all_layers = model.get_intermediate_layers(image, n=3)
    assert [layer.shape for layer in by_number] == [(1, 48, 3, 2)] * 2
    assert all(layer.is_contiguous() for layer in by_number)
    for grid, flat in zip(by_number, (all_layers[0], all_layers[2]), strict=True):
        assert torch.equal(grid.flatten(2).transpose(1, 2), flat)
    assert model.get_intermediate_layers(image, n=0) == ()
    assert model.get_intermediate_layers(image, n=()) == ()
    patches, storage = model.get_intermediate_layers(image, return_extra_tokens=True)[0]
    assert (patches.shape, storage.shape) == ((1, 6, 48), (1, 4, 48))


@pytest.mark.parametrize("n", [3, -1, [-1], [0, 0], [2], (5,)])
def test_wrong_block_numbers_are_refused(n: Any) -> None:
    with pytest.raises(AssertionError, match="distinct block numbers below 2"):
        small_model().get_intermediate_layers(images(1, 16, 16), n=n)


@torch.no_grad()
def test_untied_norms() -> None:
    model, image = small_model(untie_cls_and_patch_norms=True), images(1, 32, 32)
    features = model.forward_features(image)
    assert model.cls_norm is not None
    prefix = model.cls_norm(features["x_prenorm"][:, :5])
    assert torch.equal(features["x_norm_clstoken"], prefix[:, 0])
    assert torch.equal(features["x_storage_tokens"], prefix[:, 1:])
    assert torch.equal(features["x_norm_patchtokens"], model.norm(features["x_prenorm"][:, 5:]))


@torch.no_grad()
def test_local_cls_norm_acts_in_training_on_the_second_batch_only() -> None:
    model = small_model(untie_global_and_local_cls_norm=True, pos_embed_rope_rescale_coords=None)
    image = images(1, 32, 32)
    plain = model.forward_features(image)
    assert_same_features(model.forward_features([image, image], [None, None])[1], plain)
    first, second = model.train().forward_features([image, image], [None, None])
    assert_same_features(first, plain, 1e-6)
    assert model.local_cls_norm is not None
    expected = model.local_cls_norm(plain["x_prenorm"][:, 0])
    torch.testing.assert_close(second["x_norm_clstoken"], expected)
    torch.testing.assert_close(second["x_norm_patchtokens"], plain["x_norm_patchtokens"])


def test_attributes_that_callers_read() -> None:
    model = small_model(img_size=96)
    found = (model.embed_dim, model.num_features, model.n_blocks, model.num_heads, model.patch_size)
    assert found == (48, 48, 2, 3, 16)
    assert (model.n_storage_tokens, model.chunked_blocks) == (4, False)
    assert model.patch_embed.patch_size == (16, 16)
    assert model.patch_embed.num_patches == 36
    assert model.cls_norm is None
    assert model.local_cls_norm is None
    assert isinstance(model.head, torch.nn.Identity)


def test_unknown_arguments_are_named_and_ignored(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="dinov3"):
        model = small_model(drop_rate=0.1, in_channels=4)
    assert "ignores unknown arguments: drop_rate, in_channels" in caplog.text
    assert model.patch_embed.in_chans == 3


@pytest.mark.parametrize("argument", ["norm_layer", "ffn_layer", "pos_embed_rope_dtype"])
def test_unknown_names_are_refused_with_the_known_ones(argument: str) -> None:
    with pytest.raises(ValueError, match=rf"{argument} must be one of .*, got 'nothing'"):
        small_model(**{argument: "nothing"})


def test_positional_arguments_are_refused() -> None:
    with pytest.raises(TypeError):
        DinoVisionTransformer(224)  # type: ignore[misc]


FACTORIES = {
    "vit_small": (384, 12, 6, 1536, 21_590_400, 21_601_152),
    "vit_base": (768, 12, 12, 3072, 85_648_128, 85_669_632),
    "vit_large": (1024, 24, 16, 4096, 303_100_928, 303_154_176),
    "vit_so400m": (1152, 27, 18, 4352, 415_344_384, 415_411_200),
    "vit_huge2": (1280, 32, 20, 5120, 630_667_520, 630_754_560),
    "vit_giant2": (1536, 40, 24, 6144, 1_134_448_128, 1_134_577_152),
    "vit_7b": (4096, 40, 32, 12288, 6_716_018_688, 6_716_362_752),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_factories(name: str) -> None:
    factory = getattr(vision_transformer, name)
    with torch.device("meta"):
        plain, full = factory(), factory(patch_size=16, n_storage_tokens=4, layerscale_init=1e-5)
    embed_dim, depth, num_heads, hidden, num_plain, num_full = FACTORIES[name]
    assert (plain.embed_dim, plain.n_blocks, plain.num_heads) == (embed_dim, depth, num_heads)
    assert plain.blocks[0].mlp.fc1.out_features == hidden
    assert sum(p.numel() for p in plain.parameters()) == num_plain
    assert sum(p.numel() for p in full.parameters()) == num_full
    with pytest.raises(TypeError, match="ffn_ratio"):
        factory(ffn_ratio=2)
