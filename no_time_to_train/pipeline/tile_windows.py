"""Which images are searched in tiles, how large the tiles are, and where they lie."""

from __future__ import annotations

from no_time_to_train.config import SearchConfig

Window = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in pixels of the image, end-exclusive."""

AUTO_ABOVE = 4
"""Times SAM 2's input side: a longer side than this (4096 pixels with the released models) is large. Images
of a 12-megapixel camera are not; they are searched whole, as published."""

AUTO_TILE = 2
"""Side of an automatic tile, in times SAM 2's input side; see docs/large-pictures.md for what others give."""

LEAST_SEEN = 24
"""Pixels that an object needs in SAM 2's input; references that are smaller there call for tiles."""


def tile_side(
    how: SearchConfig, size: tuple[int, int], input_side: int, reference_side: float | None = None
) -> int | None:
    """Side of the tiles for an image of (H, W); None when it is searched whole only.

    Args:
        input_side: of the square that SAM 2 sees.
        reference_side: typical side of the references, in pixels of their images; None: unknown.
    """
    if how.tile == "off":
        return None
    if isinstance(how.tile, int):
        return how.tile if max(size) > how.tile else None
    large = AUTO_TILE * input_side if max(size) > AUTO_ABOVE * input_side else None
    if reference_side is None or reference_side * input_side >= LEAST_SEEN * max(size):
        return large
    fitting = max(1, int(reference_side * input_side / LEAST_SEEN))
    return fitting if large is None else min(fitting, large)


def tile_windows(size: tuple[int, int], tile: int, overlap: float) -> list[Window]:
    """Square windows that cover a picture, evenly spread, neighbours overlapping by at least ``overlap``.

    Args:
        size: (H, W).
        tile: side in pixels; a side of the picture that is shorter is taken whole.
        overlap: share of a tile in [0, 1).

    Returns:
        Row by row; the whole picture alone when it fits into one tile.
    """
    if tile < 1 or not 0 <= overlap < 1:
        raise ValueError(f"tiles need a side of at least 1 and an overlap in [0, 1), got {tile}, {overlap}")
    height, width = size
    rows, columns = _starts(height, tile, overlap), _starts(width, tile, overlap)
    return [(x, y, min(x + tile, width), min(y + tile, height)) for y in rows for x in columns]


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    count = -(-(length - tile) // step) + 1
    return [round(number * (length - tile) / (count - 1)) for number in range(count)]
