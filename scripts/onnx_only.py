"""From a picture and a memory file to masks without torch: ONNX Runtime, numpy, Pillow, safetensors.

    python scripts/onnx_only.py graphs/ memory.safetensors picture.jpg found/

The folder holds one graph each of ``ntt export encoder``, ``sam2-image`` and ``decoder``. This is the
published method (arXiv 2507.02798) once more, in a page of numpy: a grid of points, cosine to prototypes,
suppression by boxes, soft merging. Other options of the memory are not looked at; ``encoder_resize`` is
``direct``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image
from safetensors import safe_open


def open_graphs(folder: Path) -> dict[str, onnxruntime.InferenceSession]:
    """Sessions by part, as the files say which they are."""
    found = {}
    for path in sorted(folder.glob("*.onnx")):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        facts = json.loads(session.get_modelmeta().custom_metadata_map["no_time_to_train"])
        found[facts["part"]] = session
    if missing := {"encoder", "sam2-image", "decoder"} - set(found):
        raise SystemExit(f"{folder} needs a graph of each part, {', '.join(sorted(missing))} is missing")
    return found


def read_memory(path: Path) -> tuple[list[str], np.ndarray]:
    """Class names and (K, C) unit prototypes: the mean of the references' mean features."""
    with safe_open(str(path), framework="np") as file:
        facts = json.loads(file.metadata()["no_time_to_train"])
        sums, weights, filled = (file.get_tensor(name) for name in ("sums", "weights", "filled"))
    means = sums / np.maximum(weights, 1e-30)[..., None] * filled[..., None]
    return facts["class_names"], unit(means.sum(1) / filled.sum(1)[:, None])


def segment(
    graphs: dict[str, Any], prototypes: np.ndarray, picture: Image.Image, points: int, min_iou: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks (N, H, W) bool, labels (N,) and scores (N,), best first."""
    encoder, sam, decoder = (graphs[part] for part in ("encoder", "sam2-image", "decoder"))
    (features,) = encoder.run(None, {"images": square(picture, encoder.get_inputs()[0].shape[-1])})
    side = sam.get_inputs()[0].shape[-1]
    embedded = dict(
        zip(("coarse", "fine", "middle"), sam.run(None, {"images": square(picture, side)}), strict=True)
    )
    logits, ious = decode(decoder, embedded, grid(points, side))
    kept = (ious > min_iou) & (logits > 0).any((1, 2))
    logits, ious = logits[kept], ious[kept]
    pooled = unit(pool(features[0], logits > 0))
    similar = np.clip(pooled @ prototypes.T, 0, 1)
    labels, scores = similar.argmax(1), similar.max(1)
    rows = suppressed(logits > 0, ious, labels, 0.5)
    rows = rows[scores[rows] > 0]
    logits, pooled, labels, scores = logits[rows], pooled[rows], labels[rows], scores[rows]
    up, across = (bilinear(logits.shape[1], size) for size in (picture.height, picture.width))
    masks = up @ logits @ across.T > 0
    flat = masks.reshape(len(masks), -1).astype(np.float32)
    share = flat @ flat.T / np.maximum(flat.sum(1), 1)[:, None]
    better = np.tril(labels[:, None] == labels, -1)
    decay = (share * np.clip(pooled @ pooled.T, 0, None) * better).max(1, initial=0)
    scores = scores * np.sqrt(1 - np.clip(decay, 0, 1))
    order = np.argsort(-scores, kind="stable")[:100]
    order = order[masks[order].any((1, 2))]
    return masks[order], labels[order], scores[order]


def square(picture: Image.Image, side: int) -> np.ndarray:
    """(1, 3, S, S) in [0, 1], aspect ratio not kept."""
    resized = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC), np.float32) / 255
    return np.ascontiguousarray(resized.transpose(2, 0, 1)[None])


def grid(points: int, side: int) -> np.ndarray:
    """(P, 2) xy, x slow, up to the border."""
    places = 0.5 + (side - 1) * np.arange(points, dtype=np.float32) / (points - 1)
    return np.stack([np.repeat(places, points), np.tile(places, points)], 1)


def decode(
    decoder: Any, embedded: dict[str, np.ndarray], places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best mask of each point, and its predicted IoU; the last call is filled up."""
    count = decoder.get_inputs()[-1].shape[0]
    filled = np.concatenate([places, np.repeat(places[-1:], -len(places) % count, 0)])
    found = [
        decoder.run(None, {**embedded, "points": some}) for some in np.split(filled, len(filled) // count)
    ]
    ious, logits = (np.concatenate(parts)[: len(places)] for parts in zip(*found, strict=True))
    return logits, ious


def pool(features: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(g, g, C) features enlarged to the masks' grid and averaged under each of (N, q, q) masks."""
    matrix = bilinear(features.shape[0], masks.shape[1])
    weights = matrix.T @ masks.astype(np.float32) @ matrix
    return (
        weights.reshape(len(masks), -1) @ features.reshape(-1, features.shape[2]) / masks.sum((1, 2))[:, None]
    )


def bilinear(source: int, target: int) -> np.ndarray:
    """The (target, source) matrix of antialiased bilinear resizing along one axis."""
    scale = source / target
    width = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    weights = np.clip(1 - np.abs(np.arange(source) + 0.5 - centres[:, None]) / width, 0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def suppressed(masks: np.ndarray, rank: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """Rows whose box overlaps no better-ranked box of their class by more than the threshold, best first."""
    columns, rows = masks.any(1), masks.any(2)
    ends = [axis.shape[1] - 1 - axis[:, ::-1].argmax(1) for axis in (columns, rows)]
    x1, y1, x2, y2 = (side.astype(np.float32) for side in (columns.argmax(1), rows.argmax(1), *ends))
    area, kept = (x2 - x1) * (y2 - y1), []
    for row in np.argsort(-rank, kind="stable"):
        wide = np.minimum(x2[row], x2[kept]) - np.maximum(x1[row], x1[kept])
        high = np.minimum(y2[row], y2[kept]) - np.maximum(y1[row], y1[kept])
        both = np.clip(wide, 0, None) * np.clip(high, 0, None)
        union = area[row] + area[kept] - both
        over = both > threshold * union
        if not (over & (labels[kept] == labels[row])).any():
            kept.append(row)
    return np.array(kept, dtype=int)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit length."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def main() -> None:
    """Write one mask picture for each instance that scores enough."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("graphs", "memory", "picture", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--points", type=int, default=32, help="on each side of the grid (%(default)s)")
    parser.add_argument("--min-iou", type=float, default=0.4, help="predicted IoU of a mask (%(default)s)")
    parser.add_argument("--min-score", type=float, default=0.5, help="(%(default)s)")
    given = parser.parse_args()
    names, prototypes = read_memory(given.memory)
    picture = Image.open(given.picture).convert("RGB")
    found = segment(open_graphs(given.graphs), prototypes, picture, given.points, given.min_iou)
    given.out.mkdir(parents=True, exist_ok=True)
    for number, (mask, label, score) in enumerate(zip(*found, strict=True)):
        if score >= given.min_score:
            path = given.out / f"{number}_{names[label]}_{score:.4f}.png"
            Image.fromarray((255 * mask).astype(np.uint8)).save(path)
            print(path)


if __name__ == "__main__":
    main()
