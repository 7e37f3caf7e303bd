"""The pictures of ``docs/method.md``, made by the code itself from generated scenes.

python -m tools.method_pictures --out docs/pictures
ntt demo && cp runs/demo/real/coins.jpg docs/pictures/  # that of the README
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from no_time_to_train.config import EncoderConfig, ModelConfig, Sam2InferConfig
from no_time_to_train.dataset.images import read_image
from no_time_to_train.dataset.references.crops import crop_reference
from no_time_to_train.dataset.references.given import NamedReference, references_in
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.matching.merging import Candidates, RankedMerger
from no_time_to_train.models.proposals.point_grid import border_grid
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.memory import Memory
from no_time_to_train.pipeline.remember import remember
from no_time_to_train.preprocess import resize_square
from no_time_to_train.report.memory_panels import ClassLook, look_of_class, memory_panel
from no_time_to_train.report.overlay import contact_sheet, draw_instances
from no_time_to_train.report.palette import class_palette
from no_time_to_train.results import Instances, ReferenceCrop
from no_time_to_train.scenes import DemoDataset, write_demo_dataset

Picture = np.ndarray  # (H, W, 3) uint8 RGB
SIDE, POINTS, QUALITY = 384, 20, 82
SHOWN = 0.4  # score that an instance needs in the pictures of merging


@dataclass(frozen=True)
class Demo:
    """A model, its memory with the crops that it is made of, and one picture to search."""

    model: ReferenceSegmenter[Any]
    memory: Memory[Any]
    crops: list[ReferenceCrop]
    target: Picture

    @property
    def names(self) -> tuple[str, ...]:
        """Class names."""
        return self.memory.class_names


def main() -> None:
    """Draw the references, proposals, similarities, merging and results of one generated scene."""
    parser = argparse.ArgumentParser(prog="python -m tools.method_pictures", description=main.__doc__)
    parser.add_argument("--out", default="docs/pictures", help="folder (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes (%(default)s)")
    parser.add_argument("--target", type=int, default=13, help="which target scene (%(default)s)")
    arguments = parser.parse_args()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, torch.inference_mode():
        data = write_demo_dataset(folder, seed=arguments.seed, num_targets=arguments.target + 1, size=SIDE)
        demo = fill(data, arguments.target)
        for name, pictures in {"references": reference_pictures(demo), **search_pictures(demo)}.items():
            save(out / f"method_{name}.jpg", pictures, min(len(pictures), 5), 260)


def save(path: Path, pictures: list[Picture], columns: int, width: int) -> None:
    """Write pictures on one sheet, each about ``width`` pixels wide."""
    Image.fromarray(contact_sheet(pictures, columns, width * columns)).save(path, quality=QUALITY)
    print(path)


def fill(data: DemoDataset, target: int) -> Demo:
    """Build the model of ``ntt demo`` and show it the references."""
    given = references_in(data.references)
    names = list(dict.fromkeys(item.class_name for item in given))
    config = ModelConfig(
        sam2_cfg_file="sam2_nano",
        encoder_cfg=EncoderConfig("dinov3_nano"),
        sam2_infer_cfgs=Sam2InferConfig(points_per_side=POINTS),
    )
    model = build_model(config)
    crops = crops_of(given, names, model.encoder.img_size)
    memory = remember(model, given)
    picture = data.images / f"targets_{target:04d}.png"
    return Demo(model, memory, crops, read_image(picture))


def crops_of(given: list[NamedReference], names: list[str], size: int) -> list[ReferenceCrop]:
    """Each reference as the encoder sees it, in a slot of its own."""
    crops = []
    for slot, item in enumerate(given):
        crop = crop_reference(item.sample, size)
        crops.append(replace(crop, label=names.index(item.class_name), slot=slot))
    return crops


def reference_pictures(demo: Demo) -> list[Picture]:
    """One crop of each class with its mask outlined; below it its patches in the colours of three axes."""
    outlined, coloured = [], []
    for label in range(len(demo.names)):
        own = [crop for crop in demo.crops if crop.label == label][:3]
        features = [demo.model.encoder(crop.image[None])[0] for crop in own]
        look: ClassLook = look_of_class(features, [crop.mask for crop in own])
        panel = memory_panel(own[0].image, own[0].mask, features[0], look)
        side = own[0].mask.shape[0]
        one = Instances.from_masks(own[0].mask[None] > 0.5, torch.ones(1), torch.tensor([label]), demo.names)
        outlined.append(draw_instances(panel[:, :side].copy(), one, boxes=False, scores=False))
        coloured.append(panel[:, -side:].copy())
    return [*outlined, *coloured]


def search_pictures(demo: Demo) -> dict[str, list[Picture]]:
    """The steps of a search, each with the pictures that show it."""
    model, size = demo.model, demo.target.shape[:2]
    query = model.prepare(demo.target)
    features = model.encoder(query.image[None])[0]
    image = resize_square(query.image[None], model.sam.image_size)
    masks = model.propose(model.sam, model.sam.encode(image)[0], features, demo.memory.bank)
    found: Candidates = model.score(masks, features, demo.memory.bank, None)
    merger = RankedMerger()
    unmerged = replace(merger, nms_threshold=1.0, rule=None, max_instances=len(found) or 1)
    suppressed = replace(merger, rule=None)
    steps = [draw(demo, each(found, size)) for each in (unmerged, suppressed, merger)]
    return {
        "proposals": [with_grid(demo), any_colour(demo, unmerged(found, size))],
        "similarity": [similarity(demo, features, label) for label in range(len(demo.names))],
        "merging": steps,
    }


def draw(demo: Demo, found: Instances) -> Picture:
    """Instances of some certainty, in the colours of their classes."""
    return draw_instances(demo.target, found, demo.names, min_score=SHOWN, boxes=False, labels=False)


def with_grid(demo: Demo) -> Picture:
    """The target with the points that SAM 2 is asked about."""
    scale = demo.target.shape[0] / demo.model.sam.image_size
    canvas = demo.target.copy()
    for x, y in (border_grid(POINTS, demo.model.sam.image_size) * scale).long().tolist():
        canvas[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = (255, 255, 0)
    return canvas


def any_colour(demo: Demo, found: Instances) -> Picture:
    """Every proposal in a colour of its own."""
    each = replace(found, labels=torch.arange(len(found)))
    return draw_instances(
        demo.target, each, palette=class_palette(max(len(found), 1)), boxes=False, labels=False
    )


def similarity(demo: Demo, features: Tensor, label: int) -> Picture:
    """Cosine of every patch to the prototype of a class: the brighter, the more alike."""
    cosine = F.normalize(features, dim=-1) @ demo.memory.bank.prototypes()[label]
    height, width = demo.target.shape[:2]
    large = F.interpolate(cosine.clamp(0, 1)[None, None], (height, width), mode="bilinear")[0, 0, :, :, None]
    colour = torch.tensor(class_palette(label + 1)[label], dtype=torch.float32)
    grey = torch.from_numpy(demo.target.copy()).float().mean(-1, keepdim=True) * 0.35
    return (grey * (1 - large) + colour * large).round().clamp(0, 255).byte().numpy()


if __name__ == "__main__":
    main()
