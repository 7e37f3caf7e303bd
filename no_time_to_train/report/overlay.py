"""Instances drawn onto their picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

from no_time_to_train.masks.rle import decode_crop, pixel_boxes
from no_time_to_train.report.labels import Tag, draw_tags, writable
from no_time_to_train.report.palette import CROWD, RGB, instance_colours, is_crowd, readable_ink
from no_time_to_train.results import RLE, Instances

BOX_ALPHA = 0.9
HALO_ALPHA = 0.35  # of the dark or light rim that sets a contour off from ground of its own colour
MIN_FONT = 11  # pixels; smaller letters of the built-in font run together


def draw_instances(
    image: np.ndarray,
    found: Instances,
    class_names: Sequence[str] = (),
    *,
    min_score: float = 0.0,
    palette: Sequence[RGB] | None = None,
    mask_alpha: float = 0.45,
    boxes: bool = True,
    labels: bool = True,
    scores: bool = True,
) -> np.ndarray:
    """Draw masks, contours, boxes and tags such as "date 0.87"; the arguments stay as they are.

    Line widths and letters grow with the image. Better instances lie above worse ones. A tag on an object
    that is small for it says the score alone. In a crowd (many instances) lines are thin, boxes are left out,
    and a tag is drawn only where it covers no object; a crowd of one class has a colour for each instance.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: instances of that image; an empty mask (a box-only annotation) shows its box alone.
        class_names: name per class index; ``found.class_names`` when empty, "class 3" when that is too.
        min_score: only instances that score at least this are drawn.
        palette: (r, g, b) per class index; ``class_palette`` by default.
        mask_alpha: opacity of the masks in [0, 1].
        boxes: draw boxes.
        labels: draw tags.
        scores: put the score into the tag; off for ground truth.

    Returns:
        (H, W, 3) uint8 RGB, a new array.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    if tuple(found.size) != image.shape[:2]:
        raise ValueError(f"the instances belong to an image of size {found.size}, got {image.shape[:2]}")
    kept = found[found.scores >= min_score]
    kept = kept[torch.argsort(kept.scores, descending=True, stable=True)]
    class_of = kept.labels.tolist()
    crowd, colours = len(class_of) > CROWD, instance_colours(class_of, palette)
    canvas = image.copy()
    line = max(1 if crowd else 2, round((0.001 if crowd else 0.003) * image.shape[1]))
    for row in reversed(range(len(kept))):
        _paint_mask(canvas, kept.rles[row], colours[row], mask_alpha, line)
    picture = Image.fromarray(canvas)
    rects = _rectangles(kept)
    if boxes and not crowd:
        _draw_boxes(picture, rects, colours)
    if labels:
        texts = [_class_text(class_names or found.class_names, label) for label in class_of]
        short = [f"{score:.2f}" if scores else "" for score in kept.scores.tolist()]
        if is_crowd(class_of):  # all are of one class, so its name says nothing
            texts = short
        else:
            texts = [f"{name} {score}".strip() for name, score in zip(texts, short, strict=True)]
        tags = [Tag(*parts) for parts in zip(texts, short, colours, rects, strict=True)]
        size = max(MIN_FONT, round((0.01 if crowd else 0.02) * picture.width))
        draw_tags(picture, tags, size, **({"on_objects": 0.0} if crowd else {}))
    return np.asarray(picture).copy()


def numbered(image: np.ndarray, text: str, flagged: bool = False) -> np.ndarray:
    """An image with a text in its upper left corner, for a :func:`contact_sheet`; red where ``flagged``."""
    picture = Image.fromarray(image)
    size = max(MIN_FONT, picture.width // 10)
    colour = (179, 38, 30) if flagged else (28, 31, 36)
    draw_tags(picture, [Tag(text, text, colour, (0.0, 0.0, picture.width, picture.height))], size)
    return np.asarray(picture).copy()


def contact_sheet(images: Sequence[np.ndarray], columns: int, width: int, gap: int = 8) -> np.ndarray:
    """Lay pictures out in rows, each shrunk into an equal cell, on white.

    Args:
        images: at least one (H, W, 3) uint8 RGB; sizes may differ. The cells take the shape of the
            picture with the middle aspect ratio.
        columns: pictures per row.
        width: width of the sheet in pixels.
        gap: white pixels between and around the cells.

    Returns:
        (sheet height, ``width``, 3) uint8 RGB.
    """
    if not images or columns < 1:
        raise ValueError(f"a contact sheet needs images and columns, got {len(images)} and {columns}")
    columns = min(columns, len(images))
    cell_width = (width - gap * (columns + 1)) // columns
    if cell_width < 1:
        raise ValueError(f"{columns} columns do not fit into {width} pixels; ask for fewer or a wider sheet")
    ratios = sorted(image.shape[0] / image.shape[1] for image in images)
    cell_height = max(1, round(cell_width * ratios[len(ratios) // 2]))
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (width, gap + rows * (cell_height + gap)), "white")
    for place, image in enumerate(images):
        scale = min(cell_width / image.shape[1], cell_height / image.shape[0])
        small = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        x = gap + place % columns * (cell_width + gap) + (cell_width - small[0]) // 2
        y = gap + place // columns * (cell_height + gap) + (cell_height - small[1]) // 2
        sheet.paste(Image.fromarray(image).resize(small, Image.Resampling.LANCZOS), (x, y))
    return np.asarray(sheet).copy()


def _class_text(names: Sequence[str], label: int) -> str:
    return writable(names[label], label) if label < len(names) else f"class {label}"


def _rectangles(found: Instances) -> list[tuple[float, float, float, float]]:
    return [(x, y, x + w, y + h) for x, y, w, h in pixel_boxes(found).tolist()]


def _draw_boxes(picture: Image.Image, rects: Sequence[tuple[float, ...]], colours: Sequence[RGB]) -> None:
    line = max(2, round(0.004 * picture.width))
    layer = picture.copy()
    draw = ImageDraw.Draw(layer)
    for rect, colour in reversed(list(zip(rects, colours, strict=True))):
        x1, y1, x2, y2 = (round(value) for value in rect)
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=line)
    picture.paste(Image.blend(picture, layer, BOX_ALPHA))


def _paint_mask(canvas: np.ndarray, rle: RLE, colour: RGB, alpha: float, line: int) -> None:
    """Tint one mask and draw its contour, inside its box only."""
    mask, x, y = decode_crop(rle)
    if not mask.size:
        return
    h, w = mask.shape
    opacity = np.maximum(mask * alpha, _contour(mask, line))[..., None]
    halo = np.asarray(readable_ink(colour), dtype=np.float32)
    rim = _contour(mask, 2 * line)[..., None] * HALO_ALPHA
    region = canvas[y : y + h, x : x + w]
    shaded = region * (1 - rim) + halo * rim
    region[:] = np.rint(shaded * (1 - opacity) + np.asarray(colour) * opacity)


def _contour(mask: np.ndarray, thickness: int) -> np.ndarray:
    """(h, w) opacity in [0, 1] of a softened line of ``thickness`` pixels along the inner edge."""
    inner = np.pad(mask, thickness)  # the picture's border counts as an edge
    for axis in (0, 1):
        whole = inner.copy()
        for step in range(1, thickness + 1):
            whole &= np.roll(inner, step, axis) & np.roll(inner, -step, axis)
        inner = whole
    edge = mask & ~inner[thickness:-thickness, thickness:-thickness]
    soft = Image.fromarray((edge * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))
    return np.asarray(soft, dtype=np.float32) / 255 * mask
