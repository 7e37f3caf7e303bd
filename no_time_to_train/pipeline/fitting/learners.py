"""The two networks that can learn of references, each with its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.errors import ConfigError
from no_time_to_train.models.adapters.low_rank import WeightChanges, decoder_weights, encoder_weights
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.memory.stored_references import StoredReference, class_names_of
from no_time_to_train.models.sam.prompts import ImageEmbedding, Prompts, corner_prompts, point_prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.fitting.losses import contrastive_loss, mask_loss
from no_time_to_train.pipeline.fitting.pictures import Picture, View, view_of

VIEWS, HELD = 4, 400
"""Views of a picture that the decoder sees, and how many stay encoded: 1.6 MB each of nano, 17 of large."""

ASKED, ELSEWHERE = 4, 2
"""Prompts of a step: on objects, and where nothing is known."""

BOXES = 0.25
"""Share of the steps that ask with boxes."""

TOGETHER = 4
"""Views that the encoder sees in a step."""

ZOOM = 0.6
"""Of their windows: at half the encoder's side objects are as large as in whole pictures, and larger."""

FEWEST = 5
"""References of every class that the encoder needs; with fewer, tuning loses to their mean features."""


class Learner(Protocol):
    """One network that learns; :meth:`loss` is of one copy of its changes."""

    changes: WeightChanges

    def loss(self, copy: int, pictures: Sequence[int], draw: np.random.Generator) -> Tensor:
        """Of one step that sees only some pictures."""


@dataclass(frozen=True)
class SeenView:
    """What the decoder is asked about, and what it said before it learned.

    Attributes:
        view: with the masks that are wanted.
        embedding: of its image.
        elsewhere: (ELSEWHERE, 2) xy in pixels, on no object.
        ious: (ELSEWHERE, 4) predicted there without training.
    """

    view: View
    embedding: ImageEmbedding
    elsewhere: Tensor
    ious: Tensor


class DecoderLearner:
    """SAM 2's mask decoder: points and boxes on references ask for their masks.

    Where nothing is known, the predicted IoU is held where it was: an object that nobody marked must not be
    taken for background, nor background for an object.

    Args:
        model: with a frozen SAM 2.
        pictures: of the references.
        seed: of the views.
        changes: what :class:`WeightChanges` takes beside the network and the names.
    """

    def __init__(
        self, model: ReferenceSegmenter[Any], pictures: Sequence[Picture], *, every: bool, **changes: Any
    ) -> None:
        self.sam, self.pictures, self.seed = model.sam, pictures, changes["seed"]
        self.add_no_mem_embed: bool = model.proposals.add_no_mem_embed  # type: ignore[attr-defined]
        self.changes = WeightChanges(self.sam, decoder_weights(self.sam, every=every), **changes)
        self._held: dict[tuple[int, int], SeenView] = {}

    def loss(self, copy: int, pictures: Sequence[int], draw: np.random.Generator) -> Tensor:
        """One view of one picture."""
        seen = self._seen(int(draw.choice(pictures)), int(draw.integers(VIEWS)))
        own = draw.integers(len(seen.view.masks), size=ASKED).tolist()
        wanted = seen.view.masks[own]
        with self.changes.use(copy):
            if draw.random() < BOXES:
                logits, ious = self.sam.every_mask(seen.embedding, _boxes(seen.view.inside, own))
                return mask_loss(logits[:, :1], ious[:, :1], wanted).mean()
            prompts = point_prompts(torch.cat([_points(seen.view.inside, own, draw), seen.elsewhere]))
            logits, ious = self.sam.every_mask(seen.embedding, prompts)
        loss = mask_loss(logits[:ASKED, 1:], ious[:ASKED, 1:], wanted).mean()
        return loss + (ious[ASKED:] - seen.ious).abs().mean()

    def _seen(self, picture: int, number: int) -> SeenView:
        key = (picture, number)
        if key not in self._held:
            if len(self._held) >= HELD:
                del self._held[next(iter(self._held))]
            side, device = self.sam.image_size, self.sam.mean.device
            draw = np.random.default_rng((self.seed, *key))
            view = view_of(self.pictures[picture], side, side // 4, draw).to(device)
            elsewhere = _points((view.masks.amax(dim=0) == 0)[None], [0] * ELSEWHERE, draw)
            with torch.no_grad(), self.changes.use(None):
                (embedding,) = self.sam.encode(view.image[None], self.add_no_mem_embed)
                _, ious = self.sam.every_mask(embedding, point_prompts(elsewhere))
            self._held[key] = SeenView(view, embedding, elsewhere, ious)
        return self._held[key]


class EncoderLearner:
    """The last blocks of the encoder: what is of one class comes together, what is not stays apart.

    Apart are other classes, negative references, and places without objects in pictures that are complete.

    Args:
        model: with a frozen encoder.
        pictures: of the references.
        references: at least :data:`FEWEST` of every class.
        changes: what :class:`WeightChanges` takes beside the network and the names.

    Raises:
        ConfigError: too few references, or nothing to tell a single class from.
    """

    def __init__(
        self,
        model: ReferenceSegmenter[Any],
        pictures: Sequence[Picture],
        references: Sequence[StoredReference],
        *,
        every: bool,
        **changes: Any,
    ) -> None:
        names = class_names_of(references)
        self.pictures, self.features = pictures, model.patch_features
        numbers = {name: number for number, name in enumerate(names)}
        own = [numbers.get(item.class_name, -1) for item in references]
        negative = torch.tensor([item.negative for item in references])
        self.against = torch.tensor(own)
        self.classes = self.against.masked_fill(negative, -1)
        _require_enough(references, names, any(picture.complete for picture in pictures))
        whole, patch = model.encoder, model.encoder.patch_size
        side = max(patch, whole.img_size // 2 // patch * patch)
        self.encoder = FeatureEncoder(
            whole.spec, whole.backbone, img_size=side, layers=whole.layers, layer_fusion=whole.layer_fusion
        ).to(whole.mean.device)
        self.encoder.learns = True
        names_of_weights = encoder_weights(whole.backbone, every=every)
        self.changes = WeightChanges(whole.backbone, names_of_weights, **changes)

    def loss(self, copy: int, pictures: Sequence[int], draw: np.random.Generator) -> Tensor:
        """Some views, the first two with objects of one class where there are any."""
        side, grid = self.encoder.img_size, self.encoder.grid
        chosen = [int(draw.choice(pictures))]
        wanted = set(self.classes[list(self.pictures[chosen[0]].owners)].tolist()) - {-1}
        alike = [p for p in pictures if wanted & set(self.classes[list(self.pictures[p].owners)].tolist())]
        chosen.append(int(draw.choice(alike or pictures)))
        chosen += [int(draw.choice(pictures)) for _ in range(TOGETHER - 2)]
        views = [view_of(self.pictures[picture], side, grid, draw, ZOOM) for picture in chosen]
        device = self.encoder.mean.device
        with self.changes.use(copy):
            maps = self.features(self.encoder, torch.stack([view.image for view in views]).to(device))
        pooled, classes, against = [maps.new_zeros(0, maps.shape[-1])], [], []
        for view, features in zip(views, maps, strict=True):
            elsewhere = _elsewhere(view, draw)
            weights = torch.cat([view.masks, elsewhere]).to(features).flatten(1)
            pooled.append(weights @ features.flatten(0, 1))
            nothing = torch.full((len(elsewhere),), -1)
            classes += [self.classes[view.owners], nothing]
            against += [self.against[view.owners], nothing]
        rows = F.normalize(torch.cat(pooled), dim=1)
        return contrastive_loss(rows, torch.cat(classes).to(device), torch.cat(against).to(device))


def _points(inside: Tensor, own: Sequence[int], draw: np.random.Generator) -> Tensor:
    """(len(own), 2) xy in pixels: a point inside of each mask that ``own`` names, anywhere if it is empty."""
    places = []
    for number in own:
        cells = inside[number].nonzero()
        cells = cells if len(cells) else torch.ones_like(inside[number]).nonzero()
        row, column = cells[int(draw.integers(len(cells)))].tolist()
        places.append([4 * column + draw.uniform(-0.5, 3.5), 4 * row + draw.uniform(-0.5, 3.5)])
    return torch.tensor(places, dtype=torch.float32, device=inside.device)


def _boxes(inside: Tensor, own: Sequence[int]) -> Prompts:
    """The box around each mask that ``own`` names."""
    corners = []
    for number in own:
        rows, columns = inside[number].nonzero(as_tuple=True)
        corners.append(torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]))
    return corner_prompts(4.0 * torch.stack(corners))


def _elsewhere(view: View, draw: np.random.Generator) -> Tensor:
    """(0 or 1, q, q): a square without objects, of a complete picture."""
    cells = view.masks.shape[-1]
    length = max(1, round(cells * draw.uniform(0.1, 0.4)))
    top, left = draw.integers(cells - length + 1, size=2)
    square = torch.zeros(1, cells, cells)
    square[0, top : top + length, left : left + length] = 1
    square = square * (view.masks.amax(dim=0) == 0)
    return square if view.complete and square.sum() >= length**2 / 2 else square[:0]


def _require_enough(references: Sequence[StoredReference], names: Sequence[str], background: bool) -> None:
    shots = Counter(item.class_name for item in references if not item.negative)
    few = [name for name in names if shots[name] < FEWEST]
    if few:
        raise ConfigError(
            f"the encoder learns from {FEWEST} references of every class up, {few[0]!r} has {shots[few[0]]}; "
            f"show more, or use part decoder"
        )
    if len(names) == 1 and not background and not any(item.negative for item in references):
        raise ConfigError(
            f"{names[0]!r} is the only class, and there is nothing to tell it from; give negative references "
            f"or complete images, or use part decoder"
        )
