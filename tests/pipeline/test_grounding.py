"""``ntt propose``: a small GroundingDINO with random weights, read as a published one is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from no_time_to_train.cli import main
from no_time_to_train.config import SearchConfig
from no_time_to_train.dataset.given_boxes import box_prompts, read_boxes
from no_time_to_train.dataset.images import read_image
from no_time_to_train.dataset.readers.detect import list_targets
from no_time_to_train.errors import CheckpointError, ConfigError
from no_time_to_train.pipeline.grounding import GroundingDetector

transformers = pytest.importorskip("transformers", reason="needs the extra boxes")
CPU = torch.device("cpu")
SIZES = {"a.png": (90, 160), "b.png": (120, 70)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``save_pretrained`` writes it."""
    folder = tmp_path_factory.mktemp("detector")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "object", "?"]
    (folder / "vocab.txt").write_text("\n".join(words))
    swin = {"model_type": "swin", "image_size": 64, "embed_dim": 8, "depths": [1, 1, 1, 1], "window_size": 4}
    text = {"model_type": "bert", "vocab_size": len(words), "hidden_size": 16, "num_hidden_layers": 1}
    config = transformers.GroundingDinoConfig(
        backbone_config={**swin, "num_heads": [1, 1, 2, 2], "out_features": ["stage2", "stage3", "stage4"]},
        text_config={**text, "num_attention_heads": 2, "intermediate_size": 16},
        **{f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in SMALL.items()},
        d_model=32,
        num_queries=20,
        max_text_len=16,
    )
    torch.manual_seed(0)
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    sizes = {"shortest_edge": 64, "longest_edge": 96}
    transformers.GroundingDinoProcessor(
        transformers.GroundingDinoImageProcessor(size=sizes),
        transformers.BertTokenizer(vocab=str(folder / "vocab.txt")),
    ).save_pretrained(folder)
    return folder


SMALL = {"layers": 2, "attention_heads": 2, "ffn_dim": 32}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for name, size in SIZES.items():
        pixels = np.random.default_rng(len(name)).integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def by_hand(weights: Path, picture: Path, words: str) -> tuple[np.ndarray, np.ndarray]:
    """What the network says, from its centres and sizes in shares of the picture."""
    processor = transformers.GroundingDinoProcessor.from_pretrained(weights)
    network = transformers.GroundingDinoForObjectDetection.from_pretrained(weights).eval()
    pixels = read_image(picture)
    with torch.inference_mode():
        said = network(**processor(images=pixels, text=words, return_tensors="pt"))
    height, width = pixels.shape[:2]
    x, y, w, h = (said.pred_boxes[0].numpy() * [width, height, width, height]).T
    corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    return corners, said.logits[0].sigmoid().amax(1).numpy()


def test_boxes_for_ntt_predict(weights: Path, pictures: Path, tmp_path: Path) -> None:
    """The file holds the best boxes in pixels of each picture, and reads as those of any detector."""
    words = ["propose", "--images", str(pictures), "--out", str(tmp_path / "boxes.json"), "--device", "cpu"]
    words += ["--detector", str(weights), "--min-score", "0.5", "--max-boxes", "4"]
    assert main(words) == 0
    rows = json.loads((tmp_path / "boxes.json").read_text())
    given = read_boxes(tmp_path / "boxes.json")
    for target in given.given_to(list_targets(pictures)):
        if target.file_name == "broken.png":
            assert target.boxes == ()
            continue
        corners, scores = by_hand(weights, pictures / target.file_name, "object.")
        order = np.argsort(-scores)[: min(4, (scores > 0.5).sum())]
        height, width = SIZES[target.file_name]
        expected = np.clip(corners[order], 0, [width, height, width, height])
        own = [row for row in rows if row["image_id"] == target.file_name]
        np.testing.assert_allclose([row["score"] for row in own], scores[order], atol=1e-5)
        prompts = box_prompts(target, (height, width), SearchConfig(proposals="boxes"))
        assert prompts is not None
        np.testing.assert_allclose(prompts.boxes, expected, atol=1e-3)
    assert main(words) == 2  # the file is there
    assert main([*words, "--overwrite", "--max-boxes", "0"]) == 2
    assert main([*words, "--overwrite", "--min-score", "2"]) == 0
    assert json.loads((tmp_path / "boxes.json").read_text()) == []


def test_a_prompt_is_in_lower_case_with_one_full_stop(weights: Path, pictures: Path) -> None:
    image = read_image(pictures / "a.png")
    plain, sloppy = (GroundingDetector(str(weights), words, CPU) for words in ("object.", " Object . "))
    for one, other in zip(plain(image, 0.1), sloppy(image, 0.1), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ConfigError, match="prompt must name something"):
        GroundingDetector(str(weights), " .", CPU)


def test_weights_that_are_not_whole_are_refused(weights: Path, tmp_path: Path) -> None:
    """transformers would draw what is missing at random."""
    shutil.copytree(weights, tmp_path / "less")
    tensors = load_file(weights / "model.safetensors")
    del tensors["model.level_embed"]
    save_file(tensors, tmp_path / "less" / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 tensors are missing, model\.level_embed"):
        GroundingDetector(str(tmp_path / "less"), "object", CPU)
    (tmp_path / "less" / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="not read as a GroundingDINO"):
        GroundingDetector(str(tmp_path / "less"), "object", CPU)
    with pytest.raises(CheckpointError, match="no such folder, and not to be had from the hub"):
        GroundingDetector("no/such/folder", "object", CPU)
