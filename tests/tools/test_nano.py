"""The nano training: its parts, and both scripts as real processes that resume to the same bits."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from no_time_to_train.scenes import SHAPE_FAMILIES
from tests.conftest import ROOT
from tools.nano.colours import WIDTH, ColourBackbone
from tools.nano.encoder_data import (
    BACKGROUND,
    NO_FAMILY,
    SPEC,
    STRANGER,
    episode_source,
    judging_sets,
    training_step_data,
)
from tools.nano.muon import Muon, orthogonalised
from tools.nano.pictures import Pictures
from tools.nano.pretrain_encoder import draw_batch, prepare
from tools.nano.train_encoder import build_encoder, normalised, region_features
from tools.nano.training import learning_rate_at

PICTURES = Pictures(
    photos=[np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)],
    grounds=[np.random.default_rng(1).integers(0, 256, (70, 70, 3), dtype=np.uint8)],
)


def test_learning_rate_rises_stays_and_falls() -> None:
    rates = [learning_rate_at(step, 1000, 0.3, 1.0) for step in (0, 59, 60, 699, 700, 850, 999)]
    assert rates == pytest.approx([1 / 60, 1.0, 1.0, 1.0, 1.0, 0.5, 0.02])


def test_encoder_steps_repeat_and_labels_match_the_references() -> None:
    references, scenes = training_step_data(episode_source(PICTURES), 0, 4)
    again, _ = training_step_data(episode_source(PICTURES), 0, 4)
    torch.testing.assert_close(references.images, again.images, rtol=0, atol=0)
    assert references.labels.tolist() == list(range(len(references.images)))
    assert (references.weights.flatten(1).sum(1) > 0).all()
    assert set(scenes.labels.tolist()) <= set(references.labels.tolist()) | {STRANGER, BACKGROUND}
    assert int(scenes.owners.max()) < len(scenes.images)


def test_a_reference_fills_its_crop() -> None:
    """The longer side of the object spans 1 / 1.2 of the crop unless the border cut it."""
    (references, _), *_ = judging_sets(1, side=256)
    for mask in references.masks:
        y, x = torch.nonzero(mask, as_tuple=True)
        assert max(int(y.max() - y.min()), int(x.max() - x.min())) > 0.75 * 256


def test_region_features_have_unit_length() -> None:
    references, _ = judging_sets(1, side=64, scenes=1)[0]
    with torch.no_grad():
        features = region_features(build_encoder(), references)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(len(features)))


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
        ("pretrain_encoder", "dinov3_nano_families"),
        ("train_encoder", "dinov3_nano"),
    ],
)
def test_a_resumed_training_ends_with_the_same_bits(
    script: str, name: str, tmp_path: Path, quick_python: str
) -> None:
    pytest.importorskip("skimage", reason="the training scenes wear pictures that scikit-image ships")

    def run(work: str, *options: str) -> str:
        command = [quick_python, "-m", f"tools.nano.{script}", "--work", str(tmp_path / work)]
        command += ["--steps", "2", "--check-every", "1", "--check-scenes", "4", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
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
    assert keys == set(build_encoder().state_dict())


def test_colour_features_turn_nearness_into_a_cosine() -> None:
    """exp(-d² / 2 w²) of two plain colours one width apart, up to the chance in the Fourier features."""
    images = [torch.full((1, 3, 16, 16), value) for value in (0.5, 0.5 + WIDTH / 3**0.5)]
    first, second = (ColourBackbone().forward_features(x)["x_norm_patchtokens"][0, 0] for x in images)
    assert float(first @ second) == pytest.approx(np.exp(-0.5), abs=0.1)
    assert float(first.norm()) == pytest.approx(1)
