"""The nano training: its parts, and both scripts as real processes that resume to the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from no_time_to_train.config import Sam2InferConfig
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco
from no_time_to_train.dataset.references.crops import CropOptions
from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.results import Query
from no_time_to_train.scenes import SHAPE_FAMILIES, TEXTURE_FAMILIES
from no_time_to_train.weights.sam2_models import SAM2_SIZES
from tests.conftest import ROOT
from tools.nano.encoder_data import (
    BACKGROUND,
    NO_FAMILY,
    SPEC,
    STRANGER,
    episode_source,
    judging_sets,
    training_step_data,
)
from tools.nano.evaluate import SEEDS, accuracy, colour_statistics, recall
from tools.nano.muon import Muon, orthogonalised
from tools.nano.photographs import coins_group
from tools.nano.pictures import GROUNDS, PHOTOS, Pictures
from tools.nano.pipeline import (
    COLOUR_WIDTH,
    Proposed,
    Source,
    average_precision,
    colour_source,
    coverage,
    generated_groups,
)
from tools.nano.pretrain_encoder import draw_batch, prepare
from tools.nano.sam2_data import POINTS, QUARTER, SIZE, judging_examples, training_example
from tools.nano.train_encoder import build_encoder, normalised, region_features
from tools.nano.train_sam2 import losses, mask_iou
from tools.nano.training import learning_rate_at

PICTURES = Pictures(
    photos=[np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)],
    grounds=[np.random.default_rng(1).integers(0, 256, (70, 70, 3), dtype=np.uint8)],
)


def test_learning_rate_rises_stays_and_falls() -> None:
    rates = [learning_rate_at(step, 1000, 0.3, 1.0) for step in (0, 59, 60, 699, 700, 850, 999)]
    assert rates == pytest.approx([1 / 60, 1.0, 1.0, 1.0, 1.0, 0.5, 0.02])


def test_sam2_examples_repeat_and_their_points_lie_on_their_targets() -> None:
    for number in range(12):
        example, again = (training_example(0, 5, number, PICTURES) for _ in range(2))
        torch.testing.assert_close(example.image, again.image, rtol=0, atol=0)
        torch.testing.assert_close(example.targets, again.targets, rtol=0, atol=0)
        assert example.image.shape == (3, SIZE, SIZE)
        assert example.targets.shape == (len(example.prompts), QUARTER, QUARTER)
        assert len(example.prompts) <= POINTS
        if example.prompts.points is None:
            continue
        for points, target in zip(example.prompts.points, example.targets, strict=True):
            x, y = (points / 4).long().unbind(1)
            assert target.amax() == 0 or (target[y, x] > 0).all()


def test_losses_prefer_the_truth_and_want_no_iou_on_the_background() -> None:
    targets = torch.zeros(2, 8, 8)
    targets[0, 2:6, 2:6] = 1
    right = ((targets - 0.5) * 20)[:, None].repeat(1, 4, 1, 1)
    ious = torch.tensor([[1.0] * 4, [0.0] * 4])
    good, bad = losses(right, ious, targets), losses(-right, 1 - ious, targets)
    assert good["mask"] < 0.01 < bad["mask"]
    assert good["iou"] == pytest.approx(0, abs=1e-6)
    assert bad["iou"] > 0.4


def test_mask_iou_by_hand() -> None:
    first = torch.tensor([[1, 1, 0], [1, 1, 0]], dtype=torch.bool)  # 4 pixels
    second = torch.tensor([[0, 1, 1], [0, 1, 1]], dtype=torch.bool)  # 4 pixels, 2 shared, 6 together
    assert mask_iou(first, second) == pytest.approx(1 / 3)
    assert mask_iou(first, torch.zeros_like(first)) == 0


def test_encoder_steps_repeat_and_labels_match_the_references() -> None:
    references, scenes = training_step_data(episode_source(PICTURES), 0, 4)
    again, _ = training_step_data(episode_source(PICTURES), 0, 4)
    torch.testing.assert_close(references.images, again.images, rtol=0, atol=0)
    assert references.labels.tolist() == list(range(len(references.images)))
    assert (references.weights.flatten(1).sum(1) > 0).all()
    assert set(scenes.labels.tolist()) <= set(references.labels.tolist()) | {STRANGER, BACKGROUND}
    assert int(scenes.owners.max()) < len(scenes.images)


def test_colour_features_turn_nearness_into_a_cosine() -> None:
    """exp(-d^2 / 2 w^2) of two plain colours, up to the chance in the Fourier features."""
    source = colour_source(8, features=20_000)
    images = [torch.full((3, 8, 8), value) for value in (0.5, 0.5 + COLOUR_WIDTH / 3**0.5)]  # one width apart
    mask = torch.ones(1, 8, 8, dtype=torch.bool)
    first, second = (source.of_target(Query(image, (8, 8)), mask)[0] for image in images)
    assert first @ second == pytest.approx(np.exp(-0.5), abs=0.03)


def test_the_table_of_a_pipeline_that_is_told_the_truth(tmp_path: Path) -> None:
    """Proposals that are the objects, described by their class: every figure is 1."""
    (group,) = generated_groups(tmp_path, "val", 3, 1, images=4)
    coco = CocoFile.read(group.targets)
    labels: list[Tensor] = []
    proposed = []
    for image_id, image in coco.images.items():
        mine = [a for a in coco.annotations if a.image_id == image_id]
        masks = [coco_mask.decode(segmentation_to_rle(a.segmentation, image.size)) for a in mine]
        logits = torch.as_tensor(np.array(masks), dtype=torch.float32).reshape(-1, *image.size) - 0.5
        labels.append(torch.tensor([int(a.category_id) - 1 for a in mine]))
        found = DecodedMasks(logits, torch.ones(len(mine)), torch.arange(len(mine)))
        proposed.append(Proposed(image_id, Query(torch.zeros(3, *image.size), image.size), found))
    rows = iter(labels)
    told = Source(
        of_target=lambda query, masks: F.one_hot(next(rows), 5).float(),
        of_reference=lambda crop: F.one_hot(torch.tensor(crop.label), 5).float(),
        crop_size=32,
    )
    infer = Sam2InferConfig(nms_thr=1.0, merge="none")
    figures = average_precision(group, proposed, told, infer, CropOptions(), shots=(1,), draws=1)
    assert figures[1][0]["segm/AP"] == pytest.approx(1)
    assert recall(coverage(group, proposed), 0.5)["recall at 0.75"] == 1


def test_there_are_24_coins(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the coins come with scikit-image")
    group = coins_group(tmp_path)
    coco = CocoFile.read(group.targets)
    assert len(coco.annotations) == 24
    assert len(references_from_coco(coco, group.root, category_map(coco))) == 24


def test_a_reference_fills_its_crop() -> None:
    """The longer side of the object spans 1 / 1.2 of the crop unless the border cut it."""
    (references, _), *_ = judging_sets(1, side=256)
    for mask in references.masks:
        y, x = torch.nonzero(mask, as_tuple=True)
        assert max(int(y.max() - y.min()), int(x.max() - x.min())) > 0.75 * 256


def test_colours_alone_tell_flat_colours_apart() -> None:
    sets = judging_sets(2, side=64, scenes=2, shots=2)
    for references, _ in sets:
        references.images.zero_()
        for label, owner in zip(references.labels, references.owners, strict=True):
            references.images[owner] = label / 5
    painted = [(references, references) for references, _ in sets]
    found = accuracy(colour_statistics, painted, shots=2, cosine=False)
    assert set(found) == {"mixed 1", "mixed 2", "hard 1", "hard 2"}
    assert all((values == 1).all() for values in found.values())


def test_recall_by_hand() -> None:
    """Two proposals for two objects, none for a third; only the first is sure."""
    sure = torch.tensor([0.9, 0.3])
    scenes = [(sure, torch.tensor([[0.8, 0.1], [0.0, 0.6]])), (torch.zeros(0), torch.zeros(0, 1))]
    both, one = recall(scenes, 0.2), recall(scenes, 0.5)
    assert both["mean best IoU"] == pytest.approx((0.8 + 0.6 + 0) / 3)
    assert both["recall at 0.5"] == pytest.approx(2 / 3)
    assert both["recall at 0.75"] == pytest.approx(1 / 3)
    assert both["proposals an image"] == 1
    assert one["mean best IoU"] == pytest.approx((0.8 + 0.1 + 0) / 3)


def test_region_features_have_unit_length() -> None:
    references, _ = judging_sets(1, side=64, scenes=1)[0]
    with torch.no_grad():
        features = region_features(build_encoder(), references)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))


def test_judging_scenes_are_of_held_out_families_and_seeds() -> None:
    assert len(set(SEEDS.values())) == 3
    assert not set(SHAPE_FAMILIES["train"]) & {*SHAPE_FAMILIES["val"], *SHAPE_FAMILIES["test"]}
    assert not set(TEXTURE_FAMILIES["train"]) & {*TEXTURE_FAMILIES["val"], *TEXTURE_FAMILIES["test"]}
    assert "coins" not in {*PHOTOS, *GROUNDS}
    example, masks = judging_examples(1)[0]
    assert masks.shape == (len(example.prompts), SIZE, SIZE)
    assert not masks[-4:].any()


def test_families_name_the_classes_that_regions_are_of() -> None:
    references, scenes = training_step_data(episode_source(PICTURES), 0, 4)
    assert references.families.shape == (len(references.labels), 2)
    for label, family in zip(scenes.labels.tolist(), scenes.families.tolist(), strict=True):
        if label >= 0:
            assert family == references.families[label].tolist()
        elif label == BACKGROUND:
            assert family == [NO_FAMILY, NO_FAMILY]
    shapes = scenes.families[scenes.labels != BACKGROUND, 0]
    assert ((shapes >= 0) & (shapes < len(SHAPE_FAMILIES["train"]))).all()


def test_an_orthogonalised_update_has_equal_singular_values() -> None:
    for rows, columns in ((16, 16), (64, 16), (16, 64)):
        update = orthogonalised(torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows)))
        values = torch.linalg.svdvals(update) / max(1.0, rows / columns) ** 0.5
        assert ((values > 0.3) & (values < 1.3)).all()


def test_muon_turns_matrices_and_leaves_the_rest_to_adamw() -> None:
    torch.manual_seed(0)
    matrix, vector = torch.nn.Parameter(torch.eye(8)), torch.nn.Parameter(torch.zeros(8))
    alone = torch.nn.Parameter(torch.zeros(8))
    optimizer = Muon([matrix], [vector], share=2.0)
    adamw = torch.optim.AdamW([alone], weight_decay=0.05, betas=(0.9, 0.98))
    for rate, group in zip((0.1, 0.2), optimizer.param_groups, strict=True):
        group["lr"] = rate
    adamw.param_groups[0]["lr"] = 0.1
    target = torch.linalg.qr(torch.randn(8, 8))[0]
    before = (matrix - target).norm().item()
    for _ in range(30):
        optimizer.zero_grad()
        adamw.zero_grad()
        loss = (matrix - target).square().sum() + (vector - 1).square().sum() + (alone - 1).square().sum()
        loss.backward()
        optimizer.step()
        adamw.step()
    torch.testing.assert_close(vector, alone, rtol=0, atol=0)
    assert (matrix - target).norm().item() < 0.5 * before


def test_the_start_of_the_encoder_sees_patterns_as_strongly_as_colours() -> None:
    """Over the scenes that it was made from, every filter answers with a deviation of 1."""
    images = torch.cat([draw_batch(0, step).images for step in range(2)])
    model = build_encoder()
    prepare(model, images)
    answers = model.patch_embed.proj(normalised(images))
    torch.testing.assert_close(answers.std((0, 2, 3)), torch.ones(SPEC.embed_dim), rtol=0.01, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("train_sam2", "sam2_nano"),
        ("pretrain_encoder", "dinov3_nano_families"),
        ("train_encoder", "dinov3_nano"),
    ],
)
def test_a_resumed_training_ends_with_the_same_bits(script: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the training scenes wear pictures that scikit-image ships")

    def run(work: str, *options: str) -> str:
        command = [sys.executable, "-m", f"tools.nano.{script}", "--work", str(tmp_path / work)]
        command += ["--steps", "2", "--check-every", "1", "--check-scenes", "4", *options]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    straight, halved = tmp_path / "straight.safetensors", tmp_path / "halved.safetensors"
    run("straight", "--export", str(straight))
    assert "step 1/2" in run("halved", "--stop-at", "1")
    assert "step 2/2" in run("halved", "--export", str(halved))
    first, second = (
        torch.load(tmp_path / f"{work}/{name}.pt", weights_only=True) for work in ("straight", "halved")
    )
    for part in ("model", "average"):
        assert first[part].keys() == second[part].keys()
        for key, value in first[part].items():
            torch.testing.assert_close(value, second[part][key], rtol=0, atol=0, equal_nan=True)
    assert straight.read_bytes() == halved.read_bytes()
    run("anew", "--init", str(straight), "--stop-at", "1", "--learning-rate", "0")
    anew = torch.load(tmp_path / f"anew/{name}.pt", weights_only=True)["average"]
    shipped = load_file(straight)
    for key, value in anew.items():
        if key.removeprefix("encoder.") in shipped:
            torch.testing.assert_close(value, shipped[key.removeprefix("encoder.")].float(), equal_nan=True)
    with safe_open(straight, "pt") as file:
        assert file.metadata()["model"] == name
        keys = set(file.keys())
    model = Sam2Backend(SAM2_SIZES["nano"]) if name == "sam2_nano" else build_encoder()
    assert keys == set(model.state_dict())
