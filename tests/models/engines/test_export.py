"""Graphs of every kind of network compute what torch does, and say what they are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from no_time_to_train.config import EngineConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.backbones import build_backbone
from no_time_to_train.models.encoders.encoder_registry import encoder_spec
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.engines import export
from no_time_to_train.models.engines.agreement import agreement
from no_time_to_train.models.engines.graph import GraphFacts, encoder_facts, read_facts
from no_time_to_train.models.engines.packages import package
from no_time_to_train.models.engines.sessions import open_session
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.weights.sam2_models import Hiera, Sam2Spec

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 2}
KINDS: dict[str, dict[str, Any]] = {
    "dinov2_small": SMALL,
    "dinov2_giant_reg": SMALL,  # positions resized with antialiasing, gated layers
    "dinov3_small": SMALL,
    "dinov3_small_plus": SMALL,
    "dinov3_7b_sat": SMALL,
    "dinov3_convnext_tiny": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)},
    "lite2_photographs": {},
    "timm:vit_tiny_patch16_224": {},
}
"""One preset of each kind of network, and what makes it small."""


def small_encoder(name: str, **options: object) -> FeatureEncoder:
    torch.manual_seed(0)
    spec = encoder_spec(name)
    build = {**spec.build, **KINDS[name]}
    if spec.encoder_type == "dinov3":
        build["layerscale_init"] = 0.5  # so that the blocks count
    sizes = {key: value for key, value in SMALL.items() if key in KINDS[name]}
    spec = replace(spec, build=build, **sizes)
    return FeatureEncoder(spec, build_backbone(spec), img_size=4 * spec.patch_size, **options)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_encoders(name: str, tmp_path: Path) -> None:
    encoder, path = small_encoder(name), tmp_path / "graph.onnx"
    facts = encoder_facts(encoder)
    export.export_image_graph(encoder, facts, path)
    assert read_facts(path) == facts
    assert sorted(tmp_path.iterdir()) == [path]
    images = torch.rand(1, 3, encoder.img_size, encoder.img_size)
    found = open_session(path, "onnxruntime", "fp32", EngineConfig(threads=1))(images.numpy())
    assert agreement([torch.from_numpy(found[0])], [encoder.features(images)], -1).lowest > 0.99999


@pytest.mark.slow
def test_fused_layers_and_weights_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "LARGEST_FILE", 10_000)
    encoder, path = (
        small_encoder("dinov3_small", layers=(0, 1), layer_fusion="concat"),
        tmp_path / "graph.onnx",
    )
    export.export_image_graph(encoder, encoder_facts(encoder), path)
    assert sorted(tmp_path.iterdir()) == [path, export.data_of(path)]
    assert read_facts(path).layers == ("concat", 0, 1)
    images = torch.rand(1, 3, encoder.img_size, encoder.img_size)
    found = open_session(path, "onnxruntime", "fp32", EngineConfig())(images.numpy())
    np.testing.assert_allclose(found[0], encoder.features(images), atol=1e-4)


@pytest.mark.slow
def test_hiera(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sam = Sam2Backend(Sam2Spec(Hiera(16, 1, (1, 1, 2, 1), (3,)), d_model=32, image_size=256))
    facts, path = GraphFacts("sam2-image", "small", 256, ""), tmp_path / "graph.onnx"
    export.export_image_graph(sam.requires_grad_(False), facts, path)
    images = torch.rand(1, 3, 256, 256)
    found = open_session(path, "onnxruntime", "fp32", EngineConfig())(images.numpy())
    seen = agreement([torch.from_numpy(part) for part in found], sam.image_features(images), 1)
    assert seen.lowest > 0.99999


def test_a_graph_of_another_model_is_refused(tmp_path: Path) -> None:
    facts = GraphFacts("encoder", "dinov3_small", 512, "float32:1")
    facts.require(tmp_path, replace(facts, version="another", arithmetic="int8"))
    with pytest.raises(ConfigError, match="exported with side 512, the model has 64; export it again"):
        facts.require(tmp_path, replace(facts, side=64))
    with pytest.raises(ConfigError, match="with weights float32:1"):
        facts.require(tmp_path, replace(facts, weights="float32:2"))
    assert facts.name != replace(facts, weights="float32:2").name


def test_a_file_that_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"\x00\x01 no graph")
    with pytest.raises(ConfigError, match="no graph that ntt export has written"):
        read_facts(tmp_path / "other.onnx")
    with pytest.raises(ConfigError, match="there is no graph"):
        read_facts(tmp_path / "none.onnx")


def test_a_missing_package_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"no_such_engine .* run pip install 'no-time-to-train\[onnx\]'"):
        package("no_such_engine")


def test_nothing_is_left_where_an_export_fails(tmp_path: Path) -> None:
    encoder = small_encoder("dinov3_small")
    encoder.backbone.forward_features = lambda pixels: {"x_norm_patchtokens": pixels.numpy()}  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="cannot export the encoder dinov3_small to ONNX"):
        export.export_image_graph(encoder, encoder_facts(encoder), tmp_path / "graph.onnx")
    assert list(tmp_path.iterdir()) == []
