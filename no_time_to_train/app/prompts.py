"""Clicks and boxes become masks: SAM 2 sees an image once, then each prompt costs a pass of its decoder."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor

from no_time_to_train.app.images import Images
from no_time_to_train.app.worker import AHEAD, PROMPT, SOON, Worker
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.ops import bilinear_matrix
from no_time_to_train.masks.rle import encode_mask
from no_time_to_train.models.cache.keys import NetworkDescription, arithmetic, entry_key
from no_time_to_train.models.cache.memory_store import Store
from no_time_to_train.models.encoders.fingerprint import weights_hash
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import ImageEmbedding, Prompts
from no_time_to_train.models.sam.single_thread_map import map_alone
from no_time_to_train.preprocess import to_square
from no_time_to_train.results import RLE

log = logging.getLogger(__name__)

Tell = Callable[[str, dict[str, Any]], None]
"""Event and data, for the pages that listen."""

KEPT_BYTES = 2**29
"""Of encoded images in memory."""

MOST_POINTS = 64
CRUMB = 0.1
"""Pieces below this share of the largest one go, unless a point lies on them."""


NEIGHBOURS = 2
"""Images on each side of the one in view that are encoded in advance."""


class Prompter:
    """Masks of prompts, in two threads beside that of the search, so that a person does not wait for it.

    Args:
        sam: SAM 2 of the model that searches.
        tell: called with events, from any thread.
        store: keeps encoded images beyond this process: a large SAM 2 takes a minute for one on a CPU.
    """

    def __init__(self, sam: Sam2Backend, images: Images, tell: Tell, store: Store | None = None) -> None:
        self.sam, self.images, self.tell, self.store = sam, images, tell, store
        self._weights = NetworkDescription(weights_hash)
        self._encode, self._decode = Worker("encode"), Worker("prompts", map_alone)
        self._kept: OrderedDict[int, ImageEmbedding] = OrderedDict()  # only the first thread uses it
        self._view: int | None = None

    def look_at(self, image: int) -> None:
        """An image came into view: it, then its neighbours, are made ready for prompts."""
        self._view = image
        steps = [step * side for step in range(1, NEIGHBOURS + 1) for side in (1, -1)]
        for other in [image, *(image + step for step in steps if 0 <= image + step < len(self.images))]:
            urgency = SOON if other == image else AHEAD
            self._encode.submit(urgency, partial(self._make_ready, other, image))

    def prompt(self, image: int, points: Any, box: Any) -> Future[tuple[RLE, float]]:
        """A future of the mask of a prompt and its score; see :meth:`mask`."""
        return self._decode.submit(PROMPT, lambda: self.mask(image, points, box))

    def close(self, seconds: float) -> None:
        """End both threads, after what they are at."""
        self._decode.close(seconds)
        self._encode.close(seconds)

    def _make_ready(self, image: int, view: int) -> None:
        if self._view != view:
            return  # the person went on
        try:
            self.embedding(image)
        except DatasetError as error:
            log.info("%s", error)
            return
        self.tell("encoded", {"image": image})

    @torch.inference_mode()
    def embedding(self, image: int) -> ImageEmbedding:
        """Encode an image; the last ones are kept.

        Raises:
            DatasetError: it cannot be read.
        """
        if image in self._kept:
            self._kept.move_to_end(image)
            return self._kept[image]
        made = self._kept[image] = self._stored(to_square(self.images.pixels(image), self.sam.image_size))
        while len(self._kept) > 1 and len(self._kept) * _bytes(made) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return made

    def _stored(self, square: Tensor) -> ImageEmbedding:
        """From the store, or encoded now and put there."""
        sam, device = self.sam, self.sam.mean.device
        facts = (sam.spec, sam.precision, self._weights(sam), arithmetic(device))
        key = entry_key("prompted", square, *facts)
        entry = self.store.get(key) if self.store is not None else None
        if entry is None:
            made = sam.encode(square[None].to(device), add_no_mem_embed=True)[0]
            entry = {"image": made.image, "fine": made.high_res[0], "middle": made.high_res[1]}
            if self.store is not None:
                self.store.put(key, entry)
        held = {name: tensor.to(device) for name, tensor in entry.items()}
        return ImageEmbedding(held["image"], (held["fine"], held["middle"]))

    @torch.inference_mode()
    def mask(self, image: int, points: Any, box: Any) -> tuple[RLE, float]:
        """The mask of one prompt.

        Args:
            points: [[x, y, 1 or 0], ...] in pixels of the image; 0 is outside of the object.
            box: [x1, y1, x2, y2] or None.

        Returns:
            The mask, which may be empty, and SAM 2's own estimate of its IoU in [0, 1].

        Raises:
            DatasetError: no prompt, or the image cannot be read.
        """
        size = self.images.size(image)
        spots, labels = _checked(points, box, size)
        embedding = self._encode.submit(PROMPT, lambda: self.embedding(image)).result()
        scale = torch.tensor([self.sam.image_size / size[1], self.sam.image_size / size[0]])
        device = self.sam.mean.device
        prompt = Prompts((spots * scale)[None].to(device), labels[None].to(device))
        found = self.sam.decode(embedding, prompt, tokens="best" if len(spots) == 1 else "single")
        inside = [(x, y) for (x, y), kind in zip(spots.tolist(), labels.tolist(), strict=True) if kind == 1]
        return _full_size(found.logits[0].float().cpu(), size, inside), float(found.ious[0].clamp(0, 1))


def _checked(points: Any, box: Any, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(T, 2) places and (T,) labels as SAM 2 knows them, corners of the box first."""
    fault = DatasetError(
        f"a prompt needs 1 to {MOST_POINTS} points [x, y, 1 or 0], or a box [x1, y1, x2, y2], in pixels"
    )
    try:
        rows = [(float(x), float(y), int(kind)) for x, y, kind in points or ()]
        corners = [] if box is None else [float(value) for value in box]
    except (TypeError, ValueError, OverflowError):
        raise fault from None
    if len(rows) > MOST_POINTS or not (rows or corners) or len(corners) not in (0, 4):
        raise fault
    if corners:
        x1, x2 = sorted(corners[::2])
        y1, y2 = sorted(corners[1::2])
        rows = [(x1, y1, 2), (x2, y2, 3), *rows]
    if any(kind not in (0, 1) for *_, kind in rows[2 if corners else 0 :]):
        raise fault
    places = torch.tensor([row[:2] for row in rows], dtype=torch.float32)
    if not torch.isfinite(places).all():
        raise fault
    limits = torch.tensor([size[1], size[0]], dtype=torch.float32)
    return places.clamp(torch.zeros(2), limits), torch.tensor([row[2] for row in rows], dtype=torch.int32)


def _full_size(logits: Tensor, size: tuple[int, int], inside: list[tuple[float, float]]) -> RLE:
    """The mask of (q, r) logits in a picture of (H, W), without crumbs.

    The values are those of ``masks.ops.resized_masks``, computed only where the mask can be: a picture of a
    phone has 12 million pixels, and a person waits.
    """
    full = np.zeros(size, dtype=np.uint8, order="F")  # as pycocotools reads it
    rows = _reach((logits > 0).any(dim=1), size[0])
    columns = _reach((logits > 0).any(dim=0), size[1])
    down = bilinear_matrix(logits.shape[0], size[0])[rows]
    across = bilinear_matrix(logits.shape[1], size[1])[columns]
    mask = (down @ logits @ across.T > 0).numpy()
    own = [(x - columns.start, y - rows.start) for x, y in inside]
    full[rows, columns] = _without_crumbs(mask, own)
    return encode_mask(full)


def _reach(covered: Tensor, length: int) -> slice:
    """Which of ``length`` pixels the covered cells of an axis can reach when it is resized."""
    cells = torch.nonzero(covered)[:, 0].tolist()
    if not cells:
        return slice(0, 0)
    scale = length / len(covered)
    first, last = int((cells[0] - 1) * scale) - 1, int((cells[-1] + 2) * scale) + 2
    return slice(max(0, first), min(length, last))


def _without_crumbs(mask: np.ndarray, inside: list[tuple[float, float]]) -> np.ndarray:
    """Args: ``inside``: places on the object, some of which may lie outside of the (h, w) mask."""
    pieces, count = label(mask, np.ones((3, 3)))
    if count < 2:
        return mask
    areas = np.bincount(pieces.ravel())
    areas[0] = 0
    kept = areas >= CRUMB * areas.max()
    height, width = mask.shape
    for x, y in inside:
        if 0 <= x < width and 0 <= y < height:
            kept[pieces[int(y), int(x)]] = True
    kept[0] = False
    return kept[pieces]


def _bytes(embedding: ImageEmbedding) -> int:
    """Of one image, with what its first prompt adds (about twice of it)."""
    tensors = (embedding.image, *embedding.high_res)
    return 3 * sum(tensor.numel() * tensor.element_size() for tensor in tensors)
