"""The published outputs: every golden file, within its stated tolerance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from dinov3.layers import RopePositionEmbedding
from dinov3.models.vision_transformer import DinoVisionTransformer
from tests.dinov3_backbone.recipe import draw_image, draw_mask, golden_model, manifest

CONFIGURATIONS = [
    "tiny_mlp",
    "tiny_mlp_released_style",
    "tiny_swiglu_untied",
    "tiny_rmsnorm",
    "tiny_7b_style",
    "tiny_rope_bf16",
    "eps_probe_layernorm",
    "eps_probe_layernormbf16",
    "eps_probe_rmsnorm",
]
OUTPUTS = ("x_norm_clstoken", "x_storage_tokens", "x_norm_patchtokens", "x_prenorm")


def entry_of(shared: Path, name: str) -> dict[str, Any]:
    return next(entry for entry in manifest(shared) if entry["name"] == name)


def tolerance_of(name: str, kind: str) -> float:
    if kind in ("autocast_bf16", "model_bf16"):
        return 8e-2
    return 2e-3 if name == "tiny_rope_bf16" else 2e-5


@torch.no_grad()
def run_case(model: DinoVisionTransformer, case: dict[str, Any], image: Tensor) -> dict[str, Tensor]:
    """Output tensors by their name in the golden file, without the case."""
    kind = case.get("kind", "")
    if kind == "get_intermediate_layers":
        return name_layers(model.get_intermediate_layers(image, **case["kwargs"]))
    if kind == "autocast_bf16":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = model.forward_features(image)
    elif kind == "model_bf16":
        features = model.to(torch.bfloat16).forward_features(image.bfloat16())
    elif case.get("masked"):
        B, _, height, width = image.shape
        features = model.forward_features(image, draw_mask((B, (height // 16) * (width // 16))))
    else:
        features = model.forward_features(image)
    return {name: features[name] for name in OUTPUTS}


def name_layers(layers: tuple[Any, ...]) -> dict[str, Tensor]:
    named = {}
    for index, layer in enumerate(layers):
        parts = layer if isinstance(layer, tuple) else (layer,)
        named.update(
            {f"{index}/{part}": value for part, value in zip(("patch", "cls", "extra"), parts, strict=False)}
        )
    return named


def test_every_configuration_is_tested(shared: Path) -> None:
    assert [entry["name"] for entry in manifest(shared)] == CONFIGURATIONS


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_recipe_gives_the_weights_of_the_manifest(shared: Path, name: str) -> None:
    entry = entry_of(shared, name)
    state = golden_model(entry).state_dict()
    assert set(state) == set(entry["weights"])
    for key, expected in entry["weights"].items():
        value = state[key].double().flatten()
        assert list(state[key].shape) == expected["shape"]
        assert str(state[key].dtype) == f"torch.{expected['dtype']}", key
        found = torch.stack([value.sum(), value.abs().sum(), value[0], value[-1]])
        wanted = [expected[part] for part in ("sum", "abs_sum", "first", "last")]
        torch.testing.assert_close(
            found, torch.tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-6 * expected["abs_sum"], msg=key
        )


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_outputs_equal_the_published_ones(shared: Path, name: str) -> None:
    entry = entry_of(shared, name)
    expected = load_file(shared / "golden" / "dinov3" / entry["file"])
    compared = set()
    for case in entry["cases"]:
        image = draw_image(entry["seed"], tuple(case["shape"]))
        outputs = run_case(golden_model(entry), case, image)
        for key, value in outputs.items():
            compared.add(f"{case['id']}/{key}")
            torch.testing.assert_close(
                value,
                expected[f"{case['id']}/{key}"],
                rtol=0,
                atol=tolerance_of(name, case.get("kind", "")),
                msg=lambda text, key=key, case=case: f"{case['id']}/{key}: {text}",
            )
    assert compared == set(expected)


@pytest.mark.parametrize("name", ["fmt_mlp", "fmt_swiglu_nobias"])
def test_released_layout_loads_strictly_and_equals(shared: Path, name: str) -> None:
    folder = shared / "golden" / "dinov3"
    entry = next(e for e in manifest(shared, "formats_manifest.json") if e["name"] == name)
    expected = load_file(folder / entry["files"]["expected"])
    model = DinoVisionTransformer(**entry["constructor"]).eval()
    exact_periods = model.rope_embed.periods.clone()
    model.load_state_dict(load_file(folder / entry["files"]["meta"]), strict=True)
    for variant in ("bf16_periods", "fp32_periods"):
        if variant == "fp32_periods":
            model.rope_embed.periods.copy_(exact_periods)
        features = model.forward_features(expected["input"])
        names = [key for key in expected if key.startswith(variant)]
        assert names
        for key in names:
            found = features[key.split("/")[1]]
            torch.testing.assert_close(found, expected[key], rtol=0, atol=2e-5, msg=key)


def rope_of(key: str) -> tuple[RopePositionEmbedding, tuple[int, int], torch.dtype]:
    """Read a key such as ``table/max/fp32/dhead16/3x5/cos``."""
    _, normalize, dtype_name, head_dim, grid, _ = key.split("/")
    H, W = map(int, grid.split("x"))
    dtype = torch.bfloat16 if dtype_name == "bf16" else torch.float32
    rope = RopePositionEmbedding(
        int(head_dim[5:]),
        num_heads=1,
        normalize_coords=normalize,
        dtype=dtype,  # type: ignore[arg-type]
    )
    if dtype_name.endswith("bf16roundedperiods"):
        rope.periods.copy_(rope.periods.bfloat16())
    return rope, (H, W), dtype


def test_rope_tables_and_periods(shared: Path) -> None:
    golden = load_file(shared / "golden" / "dinov3" / "rope.safetensors")
    for key, expected in golden.items():
        tolerance = 8e-3 if expected.dtype == torch.bfloat16 else 1e-6
        if key.startswith("table/"):
            rope, (H, W), _ = rope_of(key)
            sin, cos = rope(H=H, W=W)
            found = sin if key.endswith("/sin") else cos
        else:
            _, form, head_dim, dtype_name = key.split("/")
            dtype = torch.bfloat16 if dtype_name == "bf16" else torch.float32
            bounds = (
                {"base": 100.0}
                if form == "base100"
                else {"base": None, "min_period": 0.5, "max_period": 90.0}
            )
            found = RopePositionEmbedding(int(head_dim[5:]), num_heads=1, dtype=dtype, **bounds).periods  # type: ignore[arg-type]
        rtol = 1e-6 if key.startswith("periods") else 0
        torch.testing.assert_close(found, expected, rtol=rtol, atol=tolerance, msg=key)
