"""The pipeline with a cache gives the same bits, runs no network twice, and notices what matters."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from no_time_to_train.config import CacheConfig
from no_time_to_train.models.cache.cached_parts import add_cache
from no_time_to_train.models.matching.scoring import PairScorer
from tests.models.small_models import MODEL_NAMES, crop, filled, fruits, picture, small_model
from tests.models.test_contract import assert_same
from tests.models.with_memory import WithMemory

PUBLISHED = "matching_baseline_noAMG"


def cached(model: WithMemory, folder: Path) -> WithMemory:
    add_cache(model, CacheConfig(str(folder)))
    return model


class Runs:
    """Counts how often the networks of a model run."""

    def __init__(self, model: WithMemory) -> None:
        self.encoder = self.sam = 0
        model.encoder.backbone.patch_embed.register_forward_hook(self._encoder)
        model.sam.image_encoder.register_forward_hook(self._sam)

    def _encoder(self, *_: Any) -> None:
        self.encoder += 1

    def _sam(self, *_: Any) -> None:
        self.sam += 1


def entries(folder: Path) -> int:
    return len(list(folder.glob("??/*.ntt")))


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("size", [(60, 80), (300, 200), (1, 40), (9, 7)])
def test_the_same_bits_with_and_without(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    plain = filled(small_model(name)).segment(picture(0, size))
    cold = filled(cached(small_model(name), tmp_path))
    assert_same(cold.segment(picture(0, size)), plain)
    warm = cached(small_model(name), tmp_path)
    runs = Runs(warm)
    assert_same(filled(warm).segment(picture(0, size)), plain)
    assert runs.encoder == 0
    assert runs.sam == (1 if name == "matcher" else 0)  # its prompts come from the references


def test_the_same_bits_on_a_real_picture(shared: Path, tmp_path: Path) -> None:
    crops, image = fruits(shared, 96)
    results = []
    for folder in (None, tmp_path, tmp_path):
        model = small_model(PUBLISHED, categories=3)
        if folder is not None:
            cached(model, folder)
        model.fill_memory(crops)
        results.append(model.segment(image))
    assert len(results[0]) > 0
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])


def test_a_scorer_that_reads_every_logit_gets_them_back(tmp_path: Path) -> None:
    """Merging would do with their outlines."""
    results = []
    for folder in (None, tmp_path, tmp_path):
        model = small_model(PUBLISHED)
        model.score = PairScorer()
        if folder is not None:
            cached(model, folder)
        results.append(filled(model).segment(picture(0)))
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])


UNRELATED: list[dict[str, Any]] = [
    {"sam2_infer_cfgs": {"nms_thr": 0.3}},
    {"sam2_infer_cfgs": {"merge": "none", "rank_by": "product"}},
    {"sam2_infer_cfgs": {"num_out_instance": 3}},
    {"sam2_infer_cfgs": {"with_negative_refs": True}},
    {"sam2_infer_cfgs": {"testing_point_bs": 7}},
    {"memory_bank_cfg": {"mask_sampling": "area"}},
]


@pytest.mark.parametrize("blocks", UNRELATED)
def test_other_matching_and_merging_computes_nothing_again(blocks: dict[str, Any], tmp_path: Path) -> None:
    filled(cached(small_model(PUBLISHED), tmp_path)).segment(picture(0))
    before = entries(tmp_path)
    plain = filled(small_model(PUBLISHED, **copy.deepcopy(blocks))).segment(picture(0))
    other = cached(small_model(PUBLISHED, **copy.deepcopy(blocks)), tmp_path)
    runs = Runs(other)
    assert_same(filled(other).segment(picture(0)), plain)
    assert (runs.encoder, runs.sam) == (0, 0)
    assert entries(tmp_path) == before


def test_other_references_compute_only_themselves(tmp_path: Path) -> None:
    filled(cached(small_model(PUBLISHED), tmp_path)).segment(picture(0))
    other = cached(small_model(PUBLISHED, categories=3), tmp_path)
    runs = Runs(other)
    filled(other).segment(picture(0))
    assert (runs.encoder, runs.sam) == (2, 0)  # the two shots of the third class


SAM_OR_GRID: list[dict[str, Any]] = [
    {"sam2_infer_cfgs": {"points_per_side": 3}},
    {"sam2_infer_cfgs": {"iou_thr": 0.1}},
    {"sam2_infer_cfgs": {"add_no_mem_embed": True}},
]


@pytest.mark.parametrize("blocks", SAM_OR_GRID)
def test_other_masks_are_made_anew(blocks: dict[str, Any], tmp_path: Path) -> None:
    filled(cached(small_model(PUBLISHED), tmp_path)).segment(picture(0))
    plain = filled(small_model(PUBLISHED, **copy.deepcopy(blocks))).segment(picture(0))
    other = cached(small_model(PUBLISHED, **copy.deepcopy(blocks)), tmp_path)
    runs = Runs(other)
    assert_same(filled(other).segment(picture(0)), plain)
    assert (runs.encoder, runs.sam) == (0, 1)


ENCODER: list[dict[str, Any]] = [
    {"img_size": 112},
    {"layers": (1, 3)},
    {"dtype": "bf16"},
]


@pytest.mark.parametrize("encoder", ENCODER)
def test_other_features_are_made_anew(encoder: dict[str, Any], tmp_path: Path) -> None:
    filled(cached(small_model(PUBLISHED), tmp_path)).segment(picture(0))
    plain = filled(small_model(PUBLISHED, encoder_cfg=encoder)).segment(picture(0))
    other = cached(small_model(PUBLISHED, encoder_cfg=encoder), tmp_path)
    runs = Runs(other)
    assert_same(filled(other).segment(picture(0)), plain)
    assert (runs.encoder > 0, runs.sam) == (True, 0)


def nudged(network: nn.Module) -> None:
    """Other weights, loaded as a checkpoint is."""
    network.load_state_dict({name: value * 1.01 for name, value in network.state_dict().items()})


def test_other_weights_are_noticed_even_in_a_running_model(tmp_path: Path) -> None:
    model = filled(cached(small_model(PUBLISHED), tmp_path))
    model.segment(picture(0))
    runs = Runs(model)
    model.segment(picture(0))
    assert (runs.encoder, runs.sam) == (0, 0)
    nudged(model.sam)
    model.segment(picture(0))
    assert (runs.encoder, runs.sam) == (0, 1)
    nudged(model.encoder.backbone)
    model.segment(picture(0))
    assert (runs.encoder, runs.sam) == (1, 1)


def test_another_precision_of_sam_2_is_made_anew(tmp_path: Path) -> None:
    filled(cached(small_model(PUBLISHED), tmp_path)).segment(picture(0))
    lower = cached(small_model(PUBLISHED), tmp_path)
    lower.sam.precision = torch.bfloat16
    runs = Runs(lower)
    filled(lower).segment(picture(0))
    assert (runs.encoder, runs.sam) == (0, 1)


def test_other_pixels_are_other_entries(tmp_path: Path) -> None:
    model = filled(cached(small_model(PUBLISHED), tmp_path))
    image = picture(0)
    model.segment(image)
    runs = Runs(model)
    image[0, 0, 0] ^= 255
    model.segment(image)
    assert (runs.encoder, runs.sam) == (1, 1)


def test_damaged_entries_are_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = filled(cached(small_model(PUBLISHED), tmp_path))
    plain = model.segment(picture(0))
    for path in tmp_path.glob("??/*.ntt"):
        path.write_bytes(path.read_bytes()[:100])
    runs = Runs(model)
    assert_same(model.segment(picture(0)), plain)
    assert_same(model.segment(picture(0)), plain)
    assert (runs.encoder, runs.sam) == (1, 1)
    assert caplog.text.count("damaged cache entry") == 2


def test_proposals_of_an_image_without_any(tmp_path: Path) -> None:
    nothing = {"sam2_infer_cfgs": {"iou_thr": 1.0}}
    for _ in range(2):
        model = filled(cached(small_model(PUBLISHED, **copy.deepcopy(nothing)), tmp_path))
        assert len(model.segment(picture(0))) == 0


def test_features_of_a_batch_where_some_are_known(tmp_path: Path) -> None:
    model = cached(small_model(PUBLISHED), tmp_path)
    images = torch.stack([crop(0, 0, seed).image for seed in range(4)])
    plain = torch.cat([model.encoder(image[None]) for image in images])
    model.patch_features(model.encoder, images[1:3])
    torch.testing.assert_close(model.patch_features(model.encoder, images), plain)
    runs = Runs(model)
    torch.testing.assert_close(model.patch_features(model.encoder, images.flip(0)), plain.flip(0))
    assert runs.encoder == 0
