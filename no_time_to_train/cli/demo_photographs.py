"""The photographs of ``ntt demo``: one object of each class is shown, the others are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from no_time_to_train.errors import ConfigError
from no_time_to_train.files import write_json

if TYPE_CHECKING:
    from no_time_to_train.results import Instances

MATCH_IOU = 0.5
"""A mask of the same class that overlaps an object so much has found it."""
MIN_SCORE = 0.5
FOLDER, FIGURES = "real", "figures.json"

Ellipse = tuple[float, float, float, float]
Outline = Ellipse | list[tuple[float, float]]
"""Drawn by hand, in pixels: an ellipse by centre x, y and radii, or the corners of a polygon."""

MOTORCYCLE: Mapping[str, Sequence[Outline]] = {
    "wheel": [(201, 322, 80, 88), (598, 370, 84, 86)],
    "box": [
        [(530, 31), (594, 30), (592, 60), (587, 98), (528, 98)],
        [(592, 66), (600, 65), (641, 63), (637, 80), (634, 98), (589, 98)],
        [(639, 79), (679, 80), (677, 95), (674, 101), (635, 99)],
        [(618, 185), (683, 189), (677, 275), (614, 272)],
    ],
}
SKY: Mapping[str, Sequence[tuple[int, int]]] = {
    "galaxy": [
        (724, 472),
        (979, 488),
        (421, 716),
        (773, 738),
        (420, 403),
        (291, 110),
        (123, 400),
        (486, 65),
        (404, 74),
        (513, 438),
        (496, 594),
        (280, 605),
        (818, 166),
        (485, 356),
        (585, 850),
        (339, 77),
        (309, 335),
    ],
    "star": [(754, 577), (253, 166), (147, 217)],
}
"""A pixel of each large one; their outlines are those of equal brightness."""
EYES: Mapping[str, Sequence[Outline]] = {
    "eye": [
        (170, 113, 32, 29),
        [(296, 140), (303, 127), (314, 117), (328, 111), (340, 112), (340, 125), (335, 142), (310, 160)],
    ]
}
"""``MOTORCYCLE``, ``SKY`` and ``EYES``: all large ones of each class, the one that is shown first."""


@dataclass(frozen=True)
class RealPicture:
    """A photograph with the masks of all large objects of some classes.

    Attributes:
        name: of the picture.
        image: (H, W, 3) uint8 RGB.
        objects: class to (N, H, W) bool; the first is shown as the reference, the others are to be found.
        truth: how ``objects`` came about.
        tile: side in pixels of the tiles that it is searched in, for things that are small in it.
    """

    name: str
    image: NDArray[np.uint8]
    objects: Mapping[str, NDArray[np.bool_]]
    truth: str
    tile: int | None = None


def search_real_pictures(folder: Path, pictures: Sequence[RealPicture]) -> list[dict[str, Any]]:
    """Search each picture for the rest of its objects with the embedded models; write pictures and figures.

    Args:
        folder: ``real/`` is made in it.
        pictures: from :func:`load_real_pictures`.

    Returns:
        See :func:`figures_of`, and where the picture with masks is.
    """
    from no_time_to_train.api import Segmenter
    from no_time_to_train.api.settings import NANO_ENCODER, NANO_SAM2

    figures = []
    for picture in pictures:
        finder = Segmenter(NANO_ENCODER, sam2=NANO_SAM2)
        for name, masks in picture.objects.items():
            finder.add(name, picture.image, mask=masks[0])
        found = finder.predict(picture.image, min_score=MIN_SCORE, tile=picture.tile or "auto")
        path = folder / FOLDER / f"{picture.name}.jpg"
        found.save(path, _with_references(picture))
        figures.append(figures_of(picture, found) | {"picture": str(path)})
    write_json(folder / FOLDER / FIGURES, figures, indent=2)
    return figures


def _with_references(picture: RealPicture) -> NDArray[np.uint8]:
    """The picture with a white frame around each object that was shown."""
    image = Image.fromarray(picture.image)
    draw = ImageDraw.Draw(image)
    for masks in picture.objects.values():
        y, x = np.nonzero(masks[0])
        frame = (int(x.min()) - 3, int(y.min()) - 3, int(x.max()) + 3, int(y.max()) + 3)
        draw.rectangle(frame, outline=(255, 255, 255), width=2)
    return np.asarray(image)


def figures_of(picture: RealPicture, found: Instances) -> dict[str, Any]:
    """Which of the objects that were not shown were found, each by its best mask of its class.

    A mask of an object that was shown counts neither for nor against.

    Returns:
        ``name``, ``truth``, ``to_find``, ``found``, ``mean_best_iou``, ``masks`` and how many of them are
        ``right_masks``.
    """
    import torch

    from no_time_to_train.masks.overlaps import mask_iou
    from no_time_to_train.results import encode_masks

    best, masks, right = [], 0, 0
    for label, name in enumerate(picture.objects):
        own = [code for code, own in zip(found.rles, found.labels.tolist(), strict=True) if own == label]
        overlaps = mask_iou(own, encode_masks(torch.from_numpy(picture.objects[name])))  # (found, objects)
        others = overlaps[overlaps[:, 0] < MATCH_IOU, 1:]
        best += others.max(axis=0, initial=0.0).tolist()
        masks += len(others)
        right += int((others.max(axis=1, initial=0.0) >= MATCH_IOU).sum())
    return {
        "name": picture.name,
        "truth": picture.truth,
        "to_find": len(best),
        "found": sum(value >= MATCH_IOU for value in best),
        "mean_best_iou": float(np.mean(best)),
        "masks": masks,
        "right_masks": right,
    }


def load_real_pictures() -> list[RealPicture]:
    """Coins, galaxies and stars, a motorcycle in a garage, and the eyes of a cat.

    Raises:
        ConfigError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise ConfigError("the photographs come with scikit-image: pip install scikit-image") from error
    coins = np.repeat(np.asarray(data.coins())[..., None], 3, axis=2)
    drawn = {
        "garage": (data.stereo_motorcycle()[0], MOTORCYCLE),
        "cat": (data.chelsea(), EYES),
    }
    sky = np.asarray(data.hubble_deep_field())
    return [
        RealPicture("coins", coins, {"coin": coin_masks(coins[..., 0])}, "by watershed"),
        RealPicture("sky", sky, _bright(sky), "by brightness", tile=512),
        *(
            RealPicture(name, np.asarray(image), _drawn(image.shape[:2], outlines), "drawn by hand")
            for name, (image, outlines) in drawn.items()
        ),
    ]


def coin_masks(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Watershed of the edges between what is surely ground and surely coin, as in scikit-image's example."""
    from scipy import ndimage
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    markers = np.zeros(grey.shape, dtype=np.int32)
    markers[grey < 30], markers[grey > 150] = 1, 2
    coins = ndimage.binary_fill_holes(watershed(sobel(grey), markers) == 2)
    labels, count = ndimage.label(coins)
    masks = np.stack([labels == number for number in range(1, count + 1)])
    return masks[masks.sum(axis=(1, 2)) > 500]  # specks of the ground are far smaller than any coin


def _bright(image: NDArray[np.uint8]) -> dict[str, NDArray[np.bool_]]:
    """The spots of ``SKY``, as far as they are brighter than 60 of 255 when smoothed by two pixels."""
    from scipy import ndimage

    labels, _ = ndimage.label(ndimage.gaussian_filter(image.max(axis=2).astype(float), 2) > 60)
    return {name: np.stack([labels == labels[y, x] for x, y in spots]) for name, spots in SKY.items()}


def _drawn(size: tuple[int, int], outlines: Mapping[str, Sequence[Outline]]) -> dict[str, NDArray[np.bool_]]:
    return {name: np.stack([_filled(size, one) for one in some]) for name, some in outlines.items()}


def _filled(size: tuple[int, int], outline: Outline) -> NDArray[np.bool_]:
    mask = Image.new("1", (size[1], size[0]))
    draw = ImageDraw.Draw(mask)
    if isinstance(outline, tuple):
        x, y, across, down = outline
        draw.ellipse((x - across, y - down, x + across, y + down), fill=1)
    else:
        draw.polygon(outline, fill=1)
    return np.asarray(mask)


def describe(figures: Sequence[Mapping[str, Any]]) -> str:
    """A line for each picture."""
    return "\n".join(
        f"photograph {row['name']}, one of each class shown: {row['found']} of {row['to_find']} others "
        f"found, mean IoU {row['mean_best_iou']:.2f} "
        f"({row['right_masks']} of {row['masks']} masks are of these; truth {row['truth']}) "
        f"-> {row['picture']}"
        for row in figures
    )
