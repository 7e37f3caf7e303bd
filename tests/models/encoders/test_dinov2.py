"""DINOv2: every golden output, the key lists of the eight released models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from no_time_to_train.models.encoders.dinov2 import Dinov2VisionTransformer, interpolate_positions
from no_time_to_train.models.encoders.encoder_registry import ENCODERS
from tests.dinov3_backbone.recipe import draw, draw_image, draw_mask, draw_weight

CONFIGS = ("tiny_noreg", "tiny_reg4", "tiny_swiglu", "eps_probe")
SCALED = (
    "cls_token",
    "register_tokens",
    "mask_token",
    "pos_embed",
    "patch_embed.proj.weight",
    "patch_embed.proj.bias",
)


def golden_dinov2(entry: dict[str, Any]) -> Dinov2VisionTransformer:
    """The model of one manifest entry, in eval mode, with the recipe's weights."""
    arguments = {k: v for k, v in entry["constructor"].items() if k != "block_chunks"}
    arguments["ffn_layer"] = "swiglu" if "swiglu" in arguments.get("ffn_layer", "mlp") else "mlp"
    model = Dinov2VisionTransformer(**arguments)
    state = {}
    for key, value in model.state_dict().items():
        weight = draw_weight(key, tuple(value.shape), entry["seed"], "k0")
        if entry["token_scale"] is not None and key in SCALED:
            weight = weight.float().double() * entry["token_scale"]
        state[key] = weight.float()
    model.load_state_dict(state)
    return model.eval()


def manifest(shared: Path, name: str = "manifest.json") -> Any:
    return json.loads((shared / "golden" / "dinov2" / name).read_text())


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_golden_outputs(shared: Path, name: str) -> None:
    entry = next(e for e in manifest(shared)["configs"] if e["name"] == name)
    expected = load_file(shared / "golden" / "dinov2" / entry["file"])
    model = golden_dinov2(entry)
    for key, facts in entry["weights"].items():
        total = model.state_dict()[key].double().sum().item()
        assert total == pytest.approx(facts["sum"], abs=1e-6 * facts["abs_sum"]), key
    compared = set()
    for case in entry["cases"]:
        x = draw_image(entry["seed"], tuple(case["shape"]))
        got: dict[str, torch.Tensor] = {}
        if case.get("kind") == "get_intermediate_layers":
            for j, (patch, cls) in enumerate(model.get_intermediate_layers(x, **case["kwargs"])):
                got[f"{j}/patch"], got[f"{j}/cls"] = patch, cls
        else:
            patches = (x.shape[2] // 14) * (x.shape[3] // 14)
            masks = draw_mask((len(x), patches)) if case.get("masked") else None
            output = model.forward_features(x, masks)
            got = {k: v for k, v in output.items() if isinstance(v, torch.Tensor) and k != "masks"}
        for key, value in got.items():
            stored = f"{case['id']}/{key}"
            if value.numel():
                torch.testing.assert_close(value, expected[stored], atol=2e-5, rtol=0, msg=stored)
                compared.add(stored)
    assert compared == set(expected)


def test_positions_from_the_released_grid(shared: Path) -> None:
    expected = load_file(shared / "golden" / "dinov2" / "pos_embed_37.safetensors")
    table = (0.5 * draw("205/pos_embed", (1, 1370, 4))).float()
    checked = 0
    for key, value in expected.items():
        kind, _, size = key.partition("/")
        if kind not in ("noreg", "reg4"):
            continue
        h, w = (int(side) // 14 for side in size.split("x"))
        if (h, w) == (37, 37):
            got = table
        else:
            got = interpolate_positions(table, (h, w), 0.1 if kind == "noreg" else 0.0, kind == "reg4")
        torch.testing.assert_close(got.reshape(value.shape), value, atol=2e-5, rtol=0, msg=key)
        checked += 1
    assert checked >= 4


@pytest.mark.parametrize("name", [name for name in ENCODERS if name.startswith("dinov2_")])
def test_keys_of_the_released_models(shared: Path, name: str) -> None:
    spec = ENCODERS[name]
    published = manifest(shared, "hub_state_dict_manifest.json")[str(spec.weights)]
    with torch.device("meta"):
        model = Dinov2VisionTransformer(**spec.build)
    expected = {}
    for key, shape in published["keys"].items():
        for block in range(published["depth"]) if "{i}" in key else [0]:
            expected[key.replace("{i}", str(block))] = tuple(shape)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == expected
    assert sum(p.numel() for p in model.parameters()) == published["num_parameters"]


def test_an_indivisible_image_is_refused() -> None:
    model = Dinov2VisionTransformer(img_size=28, embed_dim=48, depth=1, num_heads=3)
    with pytest.raises(ValueError, match="multiples of the patch 14, got 30x28"):
        model(torch.zeros(1, 3, 30, 28))
