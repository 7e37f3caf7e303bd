"""The text of a run-length code as numbers: what can be known of a mask without making it."""

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


def runs(rle: RLE) -> tuple[np.ndarray, np.ndarray]:
    """(R,) first and (R,) one past the last flat place of every run of the object, column by column."""
    edges = np.cumsum(run_lengths(rle))
    starts, ends = edges[:-1:2], edges[1::2]
    starts = starts[: len(ends)]
    kept = ends > starts
    return starts[kept], ends[kept]
