"""Parts beyond the published method, through the whole pipeline: each works, says what it needs, is kept."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch

from no_time_to_train import Segmenter
from no_time_to_train.config import (
    DebiasConfig,
    EncoderConfig,
    MatchingConfig,
    MemoryBankConfig,
    MergeConfig,
    ModelConfig,
    parse_block,
)
from no_time_to_train.errors import ConfigError, MemoryMismatchError
from no_time_to_train.models.memory.bank_file import read_bank, save_bank
from no_time_to_train.models.memory.memory_options import memory_options
from no_time_to_train.models.memory.stored_references import StoredReference, make_bank, references_from_bank
from no_time_to_train.pipeline.memory import make_memory
from no_time_to_train.pl_wrapper.sam2matcher_pl import Sam2MatcherLightningModel
from no_time_to_train.results import Instances
from tests.conftest import ROOT
from tests.folder_layout import FAST
from tests.models.small_models import ENCODER, crop, filled, picture, small_model

NAME = "matching_baseline_noAMG"
KEPT = {"background": 3, "parts": 2}

BLOCKS: dict[str, dict[str, dict[str, Any]]] = {
    "graph diffusion": {"sam2_infer_cfgs": {"merge": "graph_diffusion", "merging": {"normalize": False}}},
    "Soft-NMS": {"sam2_infer_cfgs": {"merge": "soft_nms"}},
    "mask NMS": {"sam2_infer_cfgs": {"merge": "mask_nms"}},
    "stability": {"sam2_infer_cfgs": {"merging": {"rank_stability": True}}},
    "quality": {"sam2_infer_cfgs": {"merging": {"score_iou": 1.0, "score_stability": 1.0}}},
    "debias": {"encoder_cfg": {"debias": {"rank": 2}}},
    "unit patches": {"memory_bank_cfg": {"unit_patches": True}},
    "flips": {"memory_bank_cfg": {"flip_references": True}},
    "scales": {"memory_bank_cfg": {"scale_references": [0.75]}},
    "centred": {"sam2_infer_cfgs": {"matching": {"center": True}}, "memory_bank_cfg": KEPT},
    "whitened": {"sam2_infer_cfgs": {"matching": {"whiten": "ledoit_wolf"}}, "memory_bank_cfg": KEPT},
    "contrast": {"sam2_infer_cfgs": {"matching": {"contrast": 0.2}}, "memory_bank_cfg": KEPT},
    "hard negatives": {
        "sam2_infer_cfgs": {"matching": {"contrast": 0.2}},
        "memory_bank_cfg": {"background": 2, "background_patches": "hard"},
    },
    "vote": {"sam2_infer_cfgs": {"matching": {"reciprocal": 0.5}}, "memory_bank_cfg": KEPT},
    "second pass": {"sam2_infer_cfgs": {"matching": {"second_pass": 0.5, "second_pass_score": 0.0}}},
    "parts": {"sam2_infer_cfgs": {"matching": {"prototype": "parts"}}, "memory_bank_cfg": KEPT},
    "medoid": {"sam2_infer_cfgs": {"matching": {"prototype": "medoid"}}},
    "density": {"sam2_infer_cfgs": {"matching": {"prototype": "kde"}}},
}


@pytest.fixture(scope="module")
def published() -> Instances:
    return filled(small_model(NAME)).segment(picture(0))


@pytest.mark.parametrize("blocks", BLOCKS.values(), ids=BLOCKS)
def test_each_part_works_and_makes_a_difference(
    blocks: dict[str, Any], published: Instances, tmp_path: Path
) -> None:
    model = filled(small_model(NAME, **blocks))
    found = model.segment(picture(0))
    assert torch.isfinite(found.scores).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert len(found) != len(published) or not torch.equal(found.scores, published.scores)
    model.segment(picture(1))
    assert torch.equal(model.segment(picture(0)).scores, found.scores)  # each image for itself
    options = memory_options(*_options_of(blocks))
    save_bank(tmp_path / "bank", model.bank, None, {"memory_options": options})
    tensors, metadata = read_bank(tmp_path / "bank")
    references = references_from_bank(tensors, metadata["class_names"], None)
    model.bank = make_bank(references, model.new_bank)
    again = model.segment(picture(0))
    assert again.rles == found.rles
    assert torch.equal(again.scores, found.scores)


def _options_of(blocks: dict[str, Any]) -> tuple[EncoderConfig, MemoryBankConfig]:
    return (
        parse_block(EncoderConfig, {**ENCODER, **blocks.get("encoder_cfg", {})}, "encoder_cfg"),
        parse_block(MemoryBankConfig, blocks.get("memory_bank_cfg", {}), "memory_bank_cfg"),
    )


@pytest.mark.parametrize(
    "blocks",
    [
        {"encoder_cfg": {"debias": {"rank": 0}}},
        {"memory_bank_cfg": {"background": 3, "parts": 2}},
        {"sam2_infer_cfgs": {"matching": {"prototype": "kmeans", "k": 1}}},
        {"sam2_infer_cfgs": {"matching": {"second_pass": 1.0, "second_pass_score": 1.0}}},
    ],
    ids=["rank 0", "centres that nothing asks for", "one cluster", "never sure"],
)
def test_a_part_without_effect_gives_the_published_result(
    blocks: dict[str, Any], published: Instances
) -> None:
    found = filled(small_model(NAME, **blocks)).segment(picture(0))
    assert found.rles == published.rles
    torch.testing.assert_close(found.scores, published.scores)


def test_merging_within_an_image_sees_the_features_as_they_are() -> None:
    """Only the comparison of two images is debiased."""
    plain = filled(small_model(NAME))
    debiased = filled(small_model(NAME, encoder_cfg={"debias": {"rank": 4}}))
    seen = []
    for model in (plain, debiased):
        merge, found = model.merge, []
        model.merge = lambda rows, size, merge=merge, found=found: (found.append(rows), merge(rows, size))[1]
        model.segment(picture(0))
        seen.append(found[0])
    assert torch.equal(seen[0].features, seen[1].features)
    assert not torch.equal(seen[0].scores, seen[1].scores)


def test_negative_references_go_through_the_same_view() -> None:
    blocks: dict[str, Any] = {
        "encoder_cfg": {"debias": {"rank": 2}},
        "sam2_infer_cfgs": {"with_negative_refs": True, "matching": {"center": True}},
        "memory_bank_cfg": {"background": 2},
    }
    model = filled(small_model(NAME, **blocks))
    before = model.segment(picture(0))
    model.fill_memory([crop(0, 0, 0), crop(1, 0, 10)], negative=True)  # one shot of each class
    after = model.segment(picture(0))
    assert torch.isfinite(after.scores).all()
    assert not torch.equal(before.scores, after.scores)


@pytest.mark.parametrize(
    ("matching", "key"),
    [
        ({"contrast": 0.5}, "background"),
        ({"center": True}, "background"),
        ({"whiten": "fixed"}, "background"),
        ({"prototype": "parts"}, "parts"),
    ],
)
def test_what_the_memory_would_have_to_keep_is_said(matching: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"memory_bank_cfg\.{key} of at least 1"):
        small_model(NAME, sam2_infer_cfgs={"matching": matching})


@pytest.mark.parametrize("name", ["matching_baseline", "matcher"])
@pytest.mark.parametrize(
    ("block", "values"),
    [("encoder_cfg", {"debias": {"rank": 2}}), ("memory_bank_cfg", {"background": 2})],
    ids=["debias", "background"],
)
def test_other_models_refuse_what_they_would_not_use(name: str, block: str, values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="matching_baseline_noAMG"):
        small_model(name, **{block: values})


def lightning(**blocks: Any) -> Sam2MatcherLightningModel:
    cfg = {
        "name": NAME,
        "sam2_cfg_file": "sam2_nano",
        "encoder_cfg": {"name": "dinov3_nano", **blocks.get("encoder_cfg", {})},
        "memory_bank_cfg": blocks.get("memory_bank_cfg", {}),
        "sam2_infer_cfgs": blocks.get("sam2_infer_cfgs", {}),
    }
    return Sam2MatcherLightningModel(cfg, {})  # type: ignore[arg-type]


def fill_one(model: Sam2MatcherLightningModel) -> None:
    encoded = model.segmenter.encode_reference(crop(0, 0, 1, side=model.segmenter.encoder.img_size))
    assert encoded is not None
    model.memory = make_memory(model.segmenter, [StoredReference("one", "crop", encoded)])


@pytest.mark.parametrize(
    ("made", "used"),
    [
        ({}, {"encoder_cfg": {"debias": {"rank": 2}}}),
        ({"encoder_cfg": {"debias": {"rank": 2}}}, {}),
        ({"encoder_cfg": {"debias": {"rank": 2}}}, {"encoder_cfg": {"debias": {"rank": 3}}}),
        ({"memory_bank_cfg": {"unit_patches": True}}, {}),
        ({}, {"memory_bank_cfg": {"background": 2}}),
    ],
)
def test_a_memory_made_with_other_options_is_refused(
    made: dict[str, Any], used: dict[str, Any], tmp_path: Path
) -> None:
    one, other = lightning(**made), lightning(**used)
    fill_one(one)
    one.save_memory(tmp_path / "bank")
    with pytest.raises(MemoryMismatchError, match="was made with memory_options"):
        other.load_memory(tmp_path / "bank")
    lightning(**made).load_memory(tmp_path / "bank")


def test_a_file_that_says_nothing_of_options_is_a_published_one(tmp_path: Path) -> None:
    model = lightning()
    fill_one(model)
    metadata = model.fingerprint()
    del metadata["memory_options"]
    save_bank(tmp_path / "bank", model.ready_memory().bank, None, metadata)
    lightning().load_memory(tmp_path / "bank")
    with pytest.raises(MemoryMismatchError, match="memory_options"):
        lightning(memory_bank_cfg={"parts": 1}).load_memory(tmp_path / "bank")


def test_the_published_memory_has_no_further_options() -> None:
    cfg = ModelConfig()
    assert memory_options(cfg.encoder_cfg, cfg.memory_bank_cfg) == {}


def test_options_of_the_python_face_are_kept_with_the_memory(tmp_path: Path) -> None:
    options = {
        "debias": DebiasConfig(2),  # a block or a mapping
        "background": 3,
        "parts": 2,
        "flip_references": True,
        "merge": "graph_diffusion",
        "matching": {"contrast": 0.1, "reciprocal": 0.5, "prototype": "topk", "center": True},
    }
    finder = Segmenter("dinov3_nano", "sam2_nano", **{**FAST, **options})
    image, mask = picture(3, (64, 64)), np.zeros((64, 64), bool)
    mask[10:40, 10:40] = True
    finder.add("thing", image, mask=mask).add("other", image, mask=~mask)
    finder.add("thing", picture(5, (64, 64)), mask=mask)
    found = finder.predict(image)
    again = Segmenter.load(finder.save(tmp_path / "memory"))
    assert again.config == finder.config
    assert torch.equal(again.predict(image).scores, found.scores)
    assert again.predict(image).rles == found.rles
    with pytest.raises(MemoryMismatchError, match="memory_options"):
        Segmenter.load(tmp_path / "memory", debias={"rank": 1})
    again.remove("other")
    assert len(again.predict(image)) > 0


def test_every_key_stands_in_the_page() -> None:
    text = (ROOT / "docs" / "method-parts.md").read_text(encoding="utf-8")
    sizes = {"enable", "category_num", "length", "length_negative"}
    for block in (MergeConfig, MatchingConfig, DebiasConfig, MemoryBankConfig):
        for key in {field.name for field in fields(block)} - sizes:
            assert f"`{key}" in text or f"{key}:" in text, key
    for name in get_args(get_type_hints(MatchingConfig)["prototype"]):
        assert f"| `{name}`" in text, name
