"""The file of an adapter: what it changes, and what refuses it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from no_time_to_train import Segmenter
from no_time_to_train.config import EncoderConfig, ModelConfig, Sam2InferConfig
from no_time_to_train.errors import CheckpointError, MemoryMismatchError
from no_time_to_train.models.adapters.adapter_file import (
    KEY,
    LearnedPart,
    Part,
    base_of,
    read_adapter,
    save_adapter,
)
from no_time_to_train.models.adapters.low_rank import (
    WeightChanges,
    decoder_weights,
    encoder_weights,
    take_off,
)
from no_time_to_train.models.cache.cached_parts import cache_in
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.sam.prompts import point_prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from tests.folder_layout import FAST, Layout, write_layout
from tests.models.adapters.test_low_rank import stirred
from tests.models.cache.test_keys import Counted
from tests.models.tiny import generator

NANO = ModelConfig(
    sam2_cfg_file="sam2_nano",
    encoder_cfg=EncoderConfig("dinov3_nano", img_size=192),
    sam2_infer_cfgs=Sam2InferConfig(points_per_side=6, iou_thr=0.0),
)


@pytest.fixture(scope="module")
def model() -> ReferenceSegmenter:
    return build_model(NANO)


@pytest.fixture(scope="module")
def parts(model: ReferenceSegmenter) -> dict[Part, LearnedPart]:
    """Both networks as if they had learned, in copy 1."""
    found: dict[Part, LearnedPart] = {}
    for part, network, names in (
        ("decoder", model.sam, decoder_weights(model.sam)),
        ("encoder", model.encoder.backbone, encoder_weights(model.encoder.backbone)),
    ):
        base = base_of(part, model.encoder, model.sam, "sam2_nano")
        changes = WeightChanges(network, names, rank=2, copies=2)
        stirred(changes)
        found[part] = LearnedPart(base.name, base.weights, 2, changes.factors(1))
        take_off(network)
    return found


@pytest.fixture(scope="module")
def adapters(parts: dict[Part, LearnedPart], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    paths = {name: folder / f"{name}.safetensors" for name in ("decoder", "encoder", "both")}
    save_adapter(paths["decoder"], {"decoder": parts["decoder"]})
    save_adapter(paths["encoder"], {"encoder": parts["encoder"]})
    save_adapter(paths["both"], parts)
    return paths


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_layout(tmp_path_factory.mktemp("adapted"), shots=1, targets=1, classes=2)


def test_the_search_has_what_was_learned(model: ReferenceSegmenter, adapters: dict[str, Path]) -> None:
    """Merged weights are those that were trained, in the fast decoder of points as in ``sam2``'s own."""
    adapted = build_model(replace(NANO, adapter=str(adapters["both"])))
    picture = torch.rand(1, 3, 512, 512, generator=generator(0))
    prompts = point_prompts(torch.tensor([[200.0, 100.0], [30.0, 400.0]]))
    changes = WeightChanges(model.sam, decoder_weights(model.sam), rank=2, copies=2)
    stirred(changes)
    with torch.no_grad():
        (embedding,) = model.sam.encode(picture)
        before = model.sam.decode(embedding, prompts, tokens="all")
        with changes.use(1):
            logits, ious = model.sam.every_mask(embedding, prompts)
        take_off(model.sam)
        after = adapted.sam.decode(adapted.sam.encode(picture)[0], prompts, tokens="all")
    torch.testing.assert_close(after.logits, logits[:, 1:].flatten(0, 1), rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(after.ious, ious[:, 1:].flatten(), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(before.ious, after.ious, atol=1e-2)
    assert not torch.equal(model.encoder(picture), adapted.encoder(picture))
    lower = build_model(replace(NANO, adapter=str(adapters["both"]), precision="bf16"))
    assert next(lower.encoder.backbone.parameters()).dtype == torch.bfloat16
    torch.testing.assert_close(lower.encoder(picture), adapted.encoder(picture), rtol=0.1, atol=0.3)


def test_caches_and_memories_know_the_adapter(
    adapters: dict[str, Path], layout: Layout, tmp_path: Path
) -> None:
    options = {"encoder": "dinov3_nano", "sam2": "sam2_nano", **FAST}
    keys, found = [], {}
    picture = next(layout.pictures.iterdir())
    for name in (None, "decoder", "encoder"):
        finder = Segmenter(**options, adapter=None if name is None else adapters[name])
        kept = Counted()
        cache_in(kept, finder.model)
        finder.add_folder(layout.references)
        found[name] = finder.predict(picture)
        keys.append(set(kept.entries))
        finder.save(tmp_path / f"{name}.memory")
    features_of_all = len(keys[0])
    assert len(keys[0] & keys[1]) == features_of_all - 1  # the proposals of the one picture
    assert len(keys[0] & keys[2]) == 1  # these alone
    assert not torch.equal(found[None].scores, found["decoder"].scores)
    for path, other in ((tmp_path / "decoder.memory", None), (tmp_path / "None.memory", "decoder")):
        with pytest.raises(MemoryMismatchError, match="was made with memory_options"):
            Segmenter.load(path, adapter=None if other is None else adapters[other])
    again = Segmenter.load(tmp_path / "decoder.memory", adapter=adapters["decoder"])
    assert torch.equal(again.predict(picture).scores, found["decoder"].scores)


def test_what_is_no_adapter_of_these_networks_is_refused(
    parts: dict[Part, LearnedPart], adapters: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "other.safetensors"
    for wrong, said in (
        (
            replace(parts["encoder"], base="dinov3_small"),
            "made for dinov3_small, not for this dinov3_nano",
        ),
        (replace(parts["encoder"], weights="float32:0"), "made for other weights of dinov3_nano"),
        (replace(parts["encoder"], factors={"blocks.0.attn.qkv.weight.up": torch.ones(2, 2)}, rank=0), "fit"),
    ):
        save_adapter(path, {"encoder": wrong})
        with pytest.raises(CheckpointError, match=said):
            build_model(replace(NANO, adapter=str(path)))
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="is no adapter of ntt fit"):
        read_adapter(path)
    with pytest.raises(CheckpointError, match="is there already and is no adapter; choose another --out"):
        save_adapter(path, parts)
    save_file({"a": torch.ones(1)}, path, metadata={KEY: json.dumps({"version": 9, "parts": {}})})
    with pytest.raises(CheckpointError, match="of version 9, this program reads 1"):
        read_adapter(path)
    with pytest.raises(CheckpointError, match="there is no adapter"):
        read_adapter(tmp_path / "none")
    adapters["both"].write_bytes(adapters["both"].read_bytes())  # an adapter may be written anew
    save_adapter(adapters["both"], parts)
    assert adapters["both"].stat().st_size < 2_000_000
