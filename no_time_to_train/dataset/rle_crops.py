"""The part of a run-length code around its object, without ever making the whole mask."""

from __future__ import annotations

import numpy as np

from no_time_to_train.results import RLE


def run_lengths(rle: RLE) -> np.ndarray:
    """Decode the text of a compressed RLE: lengths of its runs, background first, in column order.

    Six bits a letter, five of them a digit and one that says whether more follow; from the fourth number
    on, each is the difference from the one before the last (``maskApi.c`` of the COCO tools).
    """
    counts = rle["counts"]
    letters = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, dtype=np.uint8)
    codes = letters.astype(np.int64) - 48
    last = (codes & 32) == 0  # the last letter of each number
    number = np.concatenate([[0], np.cumsum(last)[:-1]])
    first = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    place = np.arange(len(codes)) - first[number]
    values = np.zeros(int(last.sum()), dtype=np.int64)
    np.add.at(values, number, (codes & 31) << (5 * place))
    negative = (codes[last] & 16) != 0
    values -= np.where(negative, np.int64(1) << (5 * (place[last] + 1)), 0)
    for start in (1, 2):  # two chains of differences: odd places, and even ones from the third number on
        values[start::2] = np.cumsum(values[start::2])
    return values


def decode_crop(rle: RLE) -> tuple[np.ndarray, int, int]:
    """Decode only the box around an object.

    Args:
        rle: compressed, of size (H, W).

    Returns:
        (h, w) bool mask of the box, and its left and top edge in the image; (0, 0) when there is no object.
        Takes memory for H times w pixels.
    """
    height = int(rle["size"][0])
    edges = np.cumsum(run_lengths(rle))
    starts, ends = edges[:-1:2], edges[1::2]
    starts, ends = starts[: len(ends)], ends
    kept = ends > starts
    starts, ends = starts[kept], ends[kept]
    if len(starts) == 0:
        return np.zeros((0, 0), dtype=bool), 0, 0
    left, right = int(starts[0]) // height, int(ends[-1] - 1) // height + 1
    change = np.zeros((right - left) * height + 1, dtype=np.int8)
    change[starts - left * height] += 1
    change[ends - left * height] -= 1
    columns = np.cumsum(change[:-1], dtype=np.int8).astype(bool).reshape(right - left, height)
    rows = np.flatnonzero(columns.any(0))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return columns[:, top:bottom].T, left, top
