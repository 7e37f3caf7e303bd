"""Whole files of every kind that is read, to be damaged: what our own writers make of one small run."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from no_time_to_train.dataset.export import EXPORTERS, export_results
from no_time_to_train.dataset.export.image_result import ImageResult
from no_time_to_train.dataset.samples import Target
from no_time_to_train.models.memory.bank_file import save_bank
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.results import Instances
from no_time_to_train.runs.found_images import record_of

CONFIG = Path(__file__).parents[2] / "no_time_to_train" / "pl_configs" / "demo.yaml"
SIZE = H, W = 60, 80
NAMES = ("date", "walnut")
VOC = """<annotation><filename>a.png</filename><size><width>80</width><height>60</height></size><object>
<name>date</name><bndbox><xmin>10</xmin><ymin>12</ymin><xmax>40</xmax><ymax>44</ymax></bndbox></object></annotation>"""


def write_seeds(folder: Path) -> None:
    """A picture, its instances in every format, masks, a memory, weights, a config, shots and a run."""
    y, x = np.mgrid[:H, :W]
    drawn = np.stack([((x - cx) / 14) ** 2 + ((y - 30) / 11) ** 2 < 1 for cx in (20, 55)])
    picture = np.random.default_rng(0).integers(60, 200, (H, W, 3)).astype(np.uint8)
    picture[drawn.any(0)] = (200, 40, 30)
    folder.mkdir(parents=True, exist_ok=True)
    for place in ("pictures", "kinds", "out"):
        (folder / place).mkdir()
    for name in ("a.png", "a.jpg", "a.bmp", "a.tif", "a.webp", "a.gif", "a.ppm"):
        Image.fromarray(picture).save(folder / "kinds" / name)
    for place in ("pictures", "out"):
        shutil.copy(folder / "kinds" / "a.png", folder / place / "a.png")
    found = Instances.from_masks(
        torch.from_numpy(drawn), torch.tensor([0.9, 0.6]), torch.tensor([0, 1]), NAMES
    )
    found = replace(found, name="a.png", path=folder / "pictures" / "a.png")
    export_results([ImageResult("a.png", found, 1)], folder / "out", NAMES, list(EXPORTERS), copy_images=True)
    (folder / "voc" / "Annotations").mkdir(parents=True)
    (folder / "voc" / "JPEGImages").mkdir()
    Image.fromarray(picture).save(folder / "voc" / "JPEGImages" / "a.png")
    (folder / "voc" / "Annotations" / "a.xml").write_text(VOC)
    index = drawn[0] + drawn[1] * np.uint8(2)
    Image.fromarray(index.astype(np.uint8)).save(folder / "mask.png")
    Image.fromarray(index.astype(np.uint8) * 100).save(folder / "mask.jpg")
    bank = MemoryBank(2, 1, 8, class_names=NAMES)
    for label in range(2):
        bank.write(label, 0, torch.ones(8), torch.tensor(2.0))
    save_bank(folder / "memory.safetensors", bank, None, {"encoder": "dinov3_nano", "references": None})
    state = {
        "mem_fill_counts": torch.ones(2),
        "mem_feats": torch.rand(2, 1, 4, 8),
        "mem_masks": torch.ones(2, 1, 4),
    }
    torch.save(
        {"state_dict": {f"seg_model.{name}": tensor for name, tensor in state.items()}},
        folder / "memory.ckpt",
    )
    torch.save({"weight": torch.arange(9.0)}, folder / "weights.pth")
    (folder / "weights.safetensors").write_bytes(save({"weight": torch.arange(9.0)}))
    (folder / "weights.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"w": "weights.safetensors"}})
    )
    shutil.copy(CONFIG, folder / "config.yaml")
    shots = {1: [{"img_id": 1, "ann_ids": [1]}]}
    (folder / "shots.pkl").write_bytes(pickle.dumps(shots, protocol=2))
    (folder / "shots.json").write_text(
        json.dumps({"few_shot": [{"category_id": 1, "shots": [{"img_id": 1, "ann_ids": [1]}]}]})
    )
    (folder / "parts").mkdir()
    record = record_of(found, Target(folder / "pictures" / "a.png", 1, "a.png"), [1, 2])
    (folder / "parts" / "part-0000.jsonl").write_text((json.dumps(record) + "\n") * 2)
    (folder / "parts" / "settings.json").write_text(json.dumps({"memory": "x"}))
    (folder / "out" / "run.json").write_text(
        json.dumps({"settings": {"image_folder": str(folder / "pictures")}})
    )
