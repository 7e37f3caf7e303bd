"""The training of the photograph models: what is packed comes back, and what learns is what runs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from safetensors.torch import load_file

from no_time_to_train.models.sam.build import build_sam2
from no_time_to_train.models.sam.prompts import point_prompts
from tests.conftest import ROOT
from tools.nano import pack_photographs
from tools.nano.lite_sam2 import SIZE, LiteSam2
from tools.nano.photograph_batches import Augment
from tools.nano.photograph_store import Store, read_rle, unpack
from tools.nano.train_photographs import Trainer, judge

SHIPPED = ROOT / "no_time_to_train" / "weights" / "sam2_nano.safetensors"
POINTS = torch.tensor([[100.0, 120.0], [256.0, 256.0], [400.0, 90.0]])


def trained() -> LiteSam2:
    model = LiteSam2()
    model.load_state_dict({name: value.float() for name, value in load_file(SHIPPED).items()})
    return model


def shapes(seed: int, height: int = 90, width: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """(H, W, 3) ground with two plain boxes, and their (2, H, W) masks."""
    rng = np.random.default_rng(seed)
    image = rng.integers(90, 110, (height, width, 3), dtype=np.uint8)
    masks = np.zeros((2, height, width), bool)
    for mask, (top, left) in zip(masks, ((10, 15), (45, 70)), strict=True):
        mask[top : top + 30, left : left + 35] = True
        image[mask] = rng.integers(0, 255, 3)
    return image, masks


@given(seed=st.integers(0, 1000), height=st.integers(1, 40), width=st.integers(1, 40))
def test_run_lengths_are_read_as_cocos_are(seed: int, height: int, width: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.4
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii")
    np.testing.assert_array_equal(read_rle(code, height, width), 255 * mask)


@torch.no_grad()
def test_the_same_masks_while_it_learns_and_in_a_search() -> None:
    """Two implementations: many images and prompts at once, and the search's own decoder."""
    image = torch.from_numpy(shapes(0, SIZE, SIZE)[0]).permute(2, 0, 1)[None] / 255
    learning, searching = trained().eval(), build_sam2("sam2_nano", None)
    points = torch.stack([POINTS, torch.zeros_like(POINTS)], 1)[None]  # each with its padding
    labels = torch.tensor([1, -1]).expand(1, len(POINTS), 2)
    logits, ious = learning.decode(learning.encode(image), points, labels)
    found = searching.decode(searching.encode(image)[0], point_prompts(POINTS), tokens="all")
    assert len(found) == 3 * len(POINTS)
    torch.testing.assert_close(found.ious.view(-1, 3), ious[0, :, 1:], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.logits.unflatten(0, (-1, 3)), logits[0, :, 1:], atol=2e-3, rtol=1e-3)


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs to learn from, one to watch, a plain one, a cut-out, and a scene of each kind."""
    data, rows = tmp_path / "data", []
    for folder in ("toys/images", "plain/wood", "cutouts/toys"):
        (data / folder).mkdir(parents=True)
    for number in range(1, 4):
        image, masks = shapes(number)
        Image.fromarray(image).save(data / "toys" / "images" / f"{number}.png")
        for mask in masks:
            code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            told = {"size": code["size"], "counts": code["counts"].decode("ascii")}
            box, area = coco_mask.toBbox(code).tolist(), int(mask.sum())
            rows.append({"id": len(rows) + 1, "image_id": number, "category_id": 1, "segmentation": told})
            rows[-1] |= {"bbox": box, "area": area, "iscrowd": 0}
    images = [{"id": n, "file_name": f"images/{n}.png", "height": 90, "width": 120} for n in range(1, 4)]
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "box"}]}
    (data / "toys" / "annotations.json").write_text(json.dumps(content))
    names = [f"toys/images/{number}.png" for number in range(1, 4)]
    (data / "split.json").write_text(json.dumps({"train": names[:2], "val": names[2:]}))
    Image.fromarray(shapes(4)[0]).save(data / "plain" / "wood" / "one.jpg")
    alpha = np.full((40, 50, 4), 200, np.uint8)
    alpha[:10, :, 3] = 0
    Image.fromarray(alpha, "RGBA").save(data / "cutouts" / "toys" / "one.webp")
    monkeypatch.setattr(pack_photographs, "SCENES", 1)
    monkeypatch.setattr(pack_photographs, "WATCHED_SCENES", 1)
    out = tmp_path / "pack"
    monkeypatch.setattr("sys.argv", ["pack", "--data", str(data), "--out", str(out)])
    pack_photographs.main()
    return out


@pytest.mark.slow
def test_what_is_packed_comes_back_and_a_step_learns_of_it(pack: Path) -> None:
    cpu = torch.device("cpu")
    store = Store(pack, cpu, 1)
    kinds = {kind: len(rows) for kind, rows in store.rows.items()}
    assert kinds == {"train": 2, "val": 1, "plain": 1, "scene": 1, "scene-val": 1}
    for row, number in zip(store.rows["train"], (1, 2), strict=True):
        _, masks = shapes(number)
        kept = unpack(store.bits[int(store.first[row]) : int(store.first[row]) + 2]).bool()
        assert kept.float().mean((1, 2)).numpy() == pytest.approx(masks.mean((1, 2)), rel=0.05)
    model = trained()
    first = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = Trainer(model, Augment(store, torch.Generator(cpu).manual_seed(0)))
    losses = trainer.step(6, 2, 1.0, 1)
    assert all(math.isfinite(value.item()) for value in losses.values())
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, first[name])}
    for part in ("image_encoder.trunk.", "image_encoder.neck.", "sam_mask_decoder.iou_prediction_head."):
        assert any(name.startswith(part) for name in moved), part
    seen = judge(model.eval(), store, "val", trainer.autocast)
    assert seen["best"] > 0.8  # two plain boxes
