"""The package from outside: which one it is, the names it promises, and what it needs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import dinov3

NAMES = {
    "dinov3.models.vision_transformer": (
        "DinoVisionTransformer vit_small vit_base vit_large vit_so400m vit_huge2 vit_giant2 vit_7b "
        "ffn_layer_dict norm_layer_dict dtype_dict init_weights_vit"
    ),
    "dinov3.layers": (
        "LayerScale Mlp SwiGLUFFN PatchEmbed RMSNorm RopePositionEmbedding SelfAttention SelfAttentionBlock "
        "LinearKMaskedBias"
    ),
    "dinov3.hub.backbones": (
        "Weights dinov3_vits16 dinov3_vits16plus dinov3_vitb16 dinov3_vitl16 dinov3_vitl16plus "
        "dinov3_vith16plus dinov3_vit7b16 dinov3_convnext_tiny dinov3_convnext_small dinov3_convnext_base "
        "dinov3_convnext_large"
    ),
}


def test_it_is_ours_and_not_an_installed_one() -> None:
    assert Path(dinov3.__file__).resolve().parents[1] == Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("module", NAMES)
def test_promised_names(module: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(loaded, name)] == []


def test_it_needs_nothing_but_torch() -> None:
    code = (
        "import sys\n"
        "for name in ('timm', 'torchvision', 'transformers', 'safetensors', 'huggingface_hub', 'sam2'):\n"
        "    sys.modules[name] = None\n"
        "import dinov3.hub.backbones, dinov3.layers, dinov3.models.vision_transformer"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
