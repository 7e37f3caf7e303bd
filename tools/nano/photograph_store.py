"""Photographs, cut-outs and scenes on the device: decoded once from a pack of pictures and masks.

Letters: N pictures, R masks of all of them, C cut-outs, S side in pixels, L side of a cut-out.
"""

from __future__ import annotations

import io
import json
import lzma
import math
import mmap
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from tools.nano.lite_sam2 import SIZE as S

LEVELS = (160, 80, 40)
"""Sides at which cut-outs are kept, so that a small one is not sampled from a large picture."""
MIN_AREA, MAX_SHARE = 20, 0.75
"""Objects of fewer pixels, or of more of the picture, are not asked for."""
MOST = 60
"""Masks of a picture."""
CLOSED = {
    "nuclei-dsb2018-other",
    "small-things-desk",
    "nano-shapes",
    "steel-spheroidite",
    "granular-material",
    "metal-powder",
    "hand-tools",
    "scenes",
}
"""Sources that name (nearly) all that there is: elsewhere points off the masks prove nothing."""
WEIGHTS = {
    "coco-mixed": 4.0,
    "animals-openimages": 2.5,
    "hand-tools": 2.0,
    "bottles-lab": 1.5,
    "small-things-desk": 1.5,
    "plant-leaf-fruit-flower": 1.2,
    "facades": 0.6,
    "granular-material": 0.8,
    "rocks-grains": 0.8,
    "metal-powder": 0.8,
    "steel-spheroidite": 0.6,
    "nano-shapes": 0.6,
    "lpbf-defects": 0.4,
    "hbn-flakes": 0.4,
    "potholes": 0.4,
    "wagon-load": 0.5,
    "tree-limbs": 0.5,
}
"""Sources are drawn by the root of their size times this."""


def shared(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Zeros that forked processes fill together."""
    return np.frombuffer(mmap.mmap(-1, max(1, math.prod(shape))), np.uint8, math.prod(shape)).reshape(shape)


def read_rle(text: str, height: int, width: int) -> NDArray[np.uint8]:
    """COCO's compressed run lengths to (H, W) of 0 and 255."""
    counts: list[int] = []
    value = shift = 0
    for letter in text.encode():
        code = letter - 48
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    runs = np.zeros(len(counts), np.uint8)
    runs[1::2] = 255
    return np.repeat(runs, counts).reshape(width, height).T


def _square(array: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(array)).resize((S, S), Image.Resampling.BILINEAR)


@dataclass
class _Job:
    """What the forked processes read and fill."""

    blob: mmap.mmap
    items: list[dict[str, Any]]
    images: NDArray[np.uint8]
    bits: NDArray[np.uint8]
    unions: NDArray[np.uint8]
    facts: NDArray[np.float32]


_job: _Job


def _decode(number: int) -> int:
    """Decode one picture and its masks; returns 1 where that failed, and leaves it black without masks."""
    item = _job.items[number]
    try:
        with Image.open(io.BytesIO(_job.blob[item["at"] : item["at"] + item["n"]])) as picture:
            image = picture.convert("RGB").resize((S, S), Image.Resampling.BICUBIC)
        union = np.zeros((S, S), bool)
        for row, text in enumerate(item.get("masks", ()), item["first"]):
            mask = np.asarray(_square(read_rle(text, item["h"], item["w"]))) > 127
            union |= mask
            _job.bits[row] = np.packbits(mask, axis=1)
            y, x = np.nonzero(mask)
            if len(x):
                middle = np.argmin((x - x.mean()) ** 2 + (y - y.mean()) ** 2)  # a pixel of the mask itself
                _job.facts[row] = (x[middle], y[middle], len(x), x.min(), y.min(), x.max() + 1, y.max() + 1)
        _job.unions[number] = np.packbits(union, axis=1)
        _job.images[number] = np.asarray(image).transpose(2, 0, 1)
    except Exception as error:  # one bad picture must not end a training
        print("not read:", item.get("src"), number, repr(error), flush=True)
        return 1
    return 0


def _decode_cutout(item: dict[str, Any]) -> list[NDArray[np.uint8]]:
    with Image.open(io.BytesIO(_job.blob[item["at"] : item["at"] + item["n"]])) as picture:
        image = picture.convert("RGBA")
    return _levels(image)


def _levels(image: Image.Image) -> list[NDArray[np.uint8]]:
    """Each level (4, L, L): the object in the middle of a square, colours not darkened by what is
    transparent."""
    side = max(image.size)
    square = Image.new("RGBA", (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return [
        np.asarray(square.resize((level, level), Image.Resampling.BOX)).transpose(2, 0, 1) for level in LEVELS
    ]


def primitives(count: int, grounds: NDArray[np.uint8], seed: int = 0) -> list[list[NDArray[np.uint8]]]:
    """Plain things: boxes, discs, rings, capsules, polygons, in one colour, shaded, striped or cut from
    a picture."""
    rng, made, side = np.random.default_rng(seed), [], LEVELS[0]
    for _ in range(count):
        alpha = Image.new("L", (2 * side, 2 * side))
        draw, kind = ImageDraw.Draw(alpha), rng.integers(6)
        w, h = side * rng.uniform(0.3, 0.98, 2) if kind in (0, 1, 2) else [side * 0.95] * 2
        box = (side - w, side - h, side + w, side + h)
        if kind == 0:
            draw.rectangle(box, fill=255)
        elif kind == 1:
            draw.rounded_rectangle(box, radius=min(w, h) * rng.uniform(0.1, 1), fill=255)
        elif kind == 2:
            draw.ellipse(box, fill=255)
        elif kind == 3:
            draw.ellipse(box, fill=255)
            hole = w * rng.uniform(0.3, 0.7)
            draw.ellipse((side - hole, side - hole, side + hole, side + hole), fill=0)
        else:
            corners = int(rng.integers(3, 9))
            angles = (
                np.sort(rng.uniform(0, 2 * np.pi, corners))
                if kind == 4
                else np.arange(corners) * 2 * np.pi / corners
            )
            reach = side * rng.uniform(0.55, 0.98, corners) if kind == 4 else np.full(corners, side * 0.95)
            draw.polygon(
                [(side + r * np.cos(a), side + r * np.sin(a)) for r, a in zip(reach, angles, strict=True)],
                fill=255,
            )
        y, x = np.mgrid[0:side, 0:side] / side
        colours = rng.uniform(0, 255, (2, 3))
        angle = rng.uniform(0, np.pi)
        ramp = x * np.cos(angle) + y * np.sin(angle)
        surface = rng.integers(4)
        if surface == 0:
            colour = np.broadcast_to(colours[0], (side, side, 3))
        elif surface == 1:
            colour = colours[0] + (colours[1] - colours[0]) * (ramp[..., None] % 1) * rng.uniform(0.2, 1)
        elif surface == 2:
            colour = colours[(np.sin(ramp * rng.uniform(8, 60)) > rng.uniform(-0.8, 0.8)).astype(int)]
        else:
            source = grounds[rng.integers(len(grounds))]
            top, left = rng.integers(0, S - side, 2)
            colour = (
                source[:, top : top + side, left : left + side].transpose(1, 2, 0) * rng.uniform(0.5, 1.1)
                + colours[0] * 0.2
            )
        if rng.random() < 0.5:  # a rim, and light from one side
            colour = colour * (0.75 + 0.5 * np.clip(ramp, 0, 1)[..., None])
        rgba = np.dstack(
            [np.clip(colour, 0, 255), np.asarray(alpha.resize((side, side), Image.Resampling.BOX))]
        )
        made.append(_levels(Image.fromarray(rgba.astype(np.uint8), "RGBA")))
    return made


class Store:
    """All pictures, masks and cut-outs on the device.

    Attributes:
        images: (N, 3, S, S) uint8.
        bits: (R, S, S/8) uint8, the masks of all pictures one after the other, packed along x.
        unions: (N, S, S/8) uint8, all masks of a picture.
        facts: (R, 7) a pixel near the middle of each mask (x, y), its area and its box xyxy, in pixels
        of the square.
        labels: (R,) int64 number of the source and class of each mask.
        first, count: (N,) int64, the rows of a picture in ``bits``.
        closed: (N,) bool, see ``CLOSED``.
        cutouts: one (C, 4, L, L) uint8 for each of ``LEVELS``.
        rows: numbers of the pictures by kind.
    """

    def __init__(self, folder: Path, device: torch.device, processes: int, every: int = 1) -> None:
        """Decode.

        Args:
            every: take only each so many-th picture, for trials.
        """
        global _job
        index = json.loads(lzma.decompress((folder / "index.json.xz").read_bytes()))[::every]
        cut = [item for item in index if item["kind"] == "cutout"]
        items = [item for item in index if item["kind"] != "cutout"]
        total = 0
        for item in items:
            item["first"], item["count"] = total, len(item.get("masks", ()))
            total += item["count"]
        with (folder / "pictures.bin").open("rb") as file:
            blob = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        facts = np.frombuffer(mmap.mmap(-1, max(1, total * 28)), np.float32, total * 7).reshape(-1, 7)
        count = len(items)
        _job = _Job(
            blob,
            items,
            shared((count, 3, S, S)),
            shared((total, S, S // 8)),
            shared((count, S, S // 8)),
            facts,
        )
        with get_context("fork").Pool(processes) as pool:
            failed = sum(pool.imap_unordered(_decode, range(count), 8))
            levels = pool.map(_decode_cutout, cut, 8)
        if failed > count // 20:
            raise RuntimeError(f"{failed} of {count} pictures cannot be decoded")
        self.device, self.items = device, items
        self.images = torch.from_numpy(_job.images).to(device)
        self.bits, self.unions = (
            torch.from_numpy(_job.bits).to(device),
            torch.from_numpy(_job.unions).to(device),
        )
        self.facts = torch.from_numpy(facts).to(device)
        self.first = torch.tensor([item["first"] for item in items], device=device)
        self.count = torch.tensor([item["count"] for item in items], device=device)
        self.closed = torch.tensor([item["src"] in CLOSED for item in items], device=device)
        self.rows = {
            kind: [i for i, item in enumerate(items) if item["kind"] == kind]
            for kind in {item["kind"] for item in items}
        }
        levels += primitives(max(8, len(cut) // 4), _job.images[self.rows["plain"]])
        self.cutouts = [
            torch.from_numpy(np.stack([each[i] for each in levels])).to(device) for i in range(len(LEVELS))
        ]
        names = [(item["src"], name) for item in items for name in item.get("cls", [None] * item["count"])]
        numbers = {name: number for number, name in enumerate(sorted(set(names), key=str))}
        self.names = list(numbers)
        self.labels = torch.tensor([numbers[name] for name in names], device=device)
        sizes: dict[str, int] = {}
        for i in self.rows["train"]:
            sizes[items[i]["src"]] = sizes.get(items[i]["src"], 0) + 1
        weights = [
            sizes[items[i]["src"]] ** -0.5 * WEIGHTS.get(items[i]["src"], 1.0) for i in self.rows["train"]
        ]
        self.photo_weights = torch.tensor(weights, device=device)
        self.row_tensors = {kind: torch.tensor(rows, device=device) for kind, rows in self.rows.items()}


def unpack(bits: Tensor) -> Tensor:
    """(..., S, S/8) uint8 to (..., S, S) uint8 of 0 and 1."""
    places = torch.arange(7, -1, -1, device=bits.device, dtype=torch.uint8)
    return ((bits[..., None] >> places) & 1).flatten(-2)
