"""What an entry depends on: every setting of a part, precision, and how much of a mask is kept."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from torch import Tensor

from no_time_to_train.config import PromptConfig, Sam2InferConfig
from no_time_to_train.models.cache.cached_parts import cache_in
from no_time_to_train.models.cache.keys import described, entry_key
from no_time_to_train.models.cache.memory_store import MemoryStore
from no_time_to_train.models.encoders.patch_features import normed_features
from no_time_to_train.models.factory import model_class
from no_time_to_train.models.parts import make_proposer
from no_time_to_train.models.proposals.point_grid import PointGrid
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.models.segmenter import ReferenceSegmenter
from tests.models.small_models import picture

KINDS = get_args(get_type_hints(Sam2InferConfig)["prompts"])


class Counted:
    """A store that counts what is made anew."""

    def __init__(self) -> None:
        self.entries: dict[str, Mapping[str, Tensor]] = {}

    def get(self, key: str) -> Mapping[str, Tensor] | None:
        return self.entries.get(key)

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        assert key not in self.entries
        self.entries[key] = tensors


def nano(store: Counted | MemoryStore | None = None, **blocks: Any) -> ReferenceSegmenter[Any]:
    """The published class with the shipped nano weights, a copy of its own for every call."""
    model = copy.deepcopy(built(json.dumps(blocks)))
    if store is not None:
        cache_in(store, model)
    return model


@cache
def built(text: str) -> ReferenceSegmenter[Any]:
    blocks = json.loads(text)
    infer = {"points_per_side": 3, "iou_thr": 0.0, **blocks.pop("sam2_infer_cfgs", {})}
    return model_class("matching_baseline_noAMG")(
        sam2_cfg_file="sam2_nano",
        sam2_ckpt_path=None,
        sam2_infer_cfgs=infer,
        encoder_cfg={"name": "dinov3_nano", "img_size": 96, **blocks.pop("encoder_cfg", {})},
        encoder_ckpt_path=None,
        memory_bank_cfg={},
    )


def image() -> Tensor:
    return torch.from_numpy(picture(0, (512, 512))).permute(2, 0, 1)[None] / 255


@torch.inference_mode()
def seen(model: ReferenceSegmenter[Any], size: tuple[int, int] = (200, 300)) -> tuple[Tensor, DecodedMasks]:
    """Features and proposals of one image."""
    features = model.patch_features(model.encoder, image())
    (masks,) = model.proposals(model.sam, model.propose, image(), [size], features, None)
    return features, masks


@dataclass(frozen=True)
class Part:
    share: float
    name: str = "a"
    inner: PointGrid | None = None
    chunk: int = field(default=1, compare=False)


def test_every_field_that_counts_is_in_the_description() -> None:
    part = Part(0.5)
    changed = [replace(part, share=0.6), replace(part, name="b"), replace(part, inner=PointGrid(8))]
    changed += [replace(part, inner=PointGrid(9)), replace(part, inner=PointGrid(8, min_iou=0.5))]
    assert len({described(other) for other in (part, *changed)}) == 6
    assert described(replace(part, chunk=2)) == described(part)
    assert described(normed_features) != described(test_every_field_that_counts_is_in_the_description)


@pytest.mark.parametrize("part", [lambda: 0, object(), np.zeros(1), torch.nn.Linear(1, 1)])
def test_what_cannot_be_told_apart_is_refused(part: object) -> None:
    with pytest.raises(TypeError, match=r"cannot tell this .* from others"):
        described(part)
    with pytest.raises(TypeError, match="frozen dataclass"):
        entry_key("masks", torch.zeros(1), (1, {"part": part}))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clean", [0.0, 0.5])
@torch.inference_mode()
def test_a_proposer_that_says_so_reads_neither_features_nor_references(kind: Any, clean: float) -> None:
    infer = Sam2InferConfig(4, prompts=kind, prompting=PromptConfig(coarse=2, clean=clean))
    propose, sam = make_proposer(infer), nano().sam
    assert described(propose) == described(make_proposer(replace(infer, testing_point_bs=1)))
    assert described(propose) != described(make_proposer(replace(infer, iou_thr=0.123)))
    assert propose.reads_references == (kind in {"adaptive", "guided", "boxes"})
    if not propose.reads_references:
        assert len(propose(sam, sam.encode(image())[0], None, None)) > 0  # type: ignore[arg-type]


OTHER_ARITHMETIC: dict[str, Any] = {
    "bf16": lambda model: setattr(model.sam, "precision", torch.bfloat16),
    "weights in bf16": lambda model: model.sam.to(torch.bfloat16),
}


@pytest.mark.parametrize("change", OTHER_ARITHMETIC)
def test_precisions_do_not_share_masks(change: str) -> None:
    store = Counted()
    exact = seen(nano(store))[1]
    model, plain = nano(store), nano()
    for one in (model, plain):
        OTHER_ARITHMETIC[change](one)
    found = seen(model)[1]
    assert len(store.entries) == 3  # features once, masks twice
    assert torch.equal(found.ious, seen(plain)[1].ious)
    assert not torch.equal(found.ious, exact.ious)


def test_precisions_do_not_share_features() -> None:
    store = Counted()
    exact = seen(nano(store))[0]
    found = seen(nano(store, encoder_cfg={"dtype": "bf16"}))[0]
    assert len(store.entries) == 3
    assert torch.equal(found, seen(nano(encoder_cfg={"dtype": "bf16"}))[0])
    assert not torch.equal(found, exact)


def test_autocast_does_not_share_with_exact_arithmetic() -> None:
    store = Counted()
    exact, model, uncached = seen(nano(store)), nano(store), nano()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, plain = seen(model), seen(uncached)
    assert len(store.entries) == 4
    assert torch.equal(found[0], plain[0])
    assert torch.equal(found[1].ious, plain[1].ious)
    assert not torch.equal(found[0], exact[0])
    assert not torch.equal(found[1].ious, exact[1].ious)


def test_the_precision_asked_of_products_is_in_the_key() -> None:
    store = Counted()
    seen(nano(store))
    torch.set_float32_matmul_precision("medium")
    try:
        seen(nano(store))
    finally:
        torch.set_float32_matmul_precision("highest")
    assert len(store.entries) == 4


def test_what_reads_whole_logits_does_not_get_outlines() -> None:
    store = Counted()
    seen(nano(store))
    whole = {"sam2_infer_cfgs": {"merging": {"rank_stability": True}}}
    assert torch.equal(seen(nano(store, **whole))[1].logits, seen(nano())[1].logits)
    assert torch.equal(seen(nano(store, **whole))[1].logits, seen(nano())[1].logits)
    assert len(store.entries) == 3


def test_outlines_are_kept_as_wide_as_the_size_needs_them() -> None:
    """Shrinking looks farther: masks kept for a large picture do not serve a tiny one."""
    store = Counted()
    for size in ((200, 300), (20, 30), (400, 300), (20, 30)):
        seen(nano(store), size)
    assert len(store.entries) == 3


def test_held_entries_are_the_same_and_go_when_told() -> None:
    behind = Counted()
    store = MemoryStore(behind)
    first = seen(nano(store))
    behind.entries.clear()
    again = seen(nano(store))
    assert behind.entries == {}
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1].logits > 0, again[1].logits > 0)
    assert again[1].asked == first[1].asked == 9
    store.clear()
    seen(nano(store))
    assert len(behind.entries) == 2
    seen(nano(MemoryStore(behind)))  # Counted refuses to be given an entry twice
