"""One training: a copy of the changes for every fold, which never sees its pictures, and one that sees all.

All copies learn side by side, so that one run, one checkpoint and one early stop serve them all. Which round
is kept, if any, is decided by the copies on the pictures that they were kept from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from no_time_to_train.config import CropOptions, FitConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.adapters.adapter_file import LearnedPart, Part, base_of
from no_time_to_train.models.adapters.low_rank import take_off
from no_time_to_train.models.cache.cached_parts import cache_in, without_cache
from no_time_to_train.models.cache.memory_store import MemoryStore
from no_time_to_train.models.matching.class_head import one_standard_error
from no_time_to_train.models.memory.stored_references import StoredReference, class_names_of
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.fitting.held_out import picture_loss
from no_time_to_train.pipeline.fitting.learners import DecoderLearner, EncoderLearner, Learner
from no_time_to_train.pipeline.fitting.pictures import pictures_of
from no_time_to_train.pipeline.remember import encoded_again


@dataclass(frozen=True)
class Verdict:
    """What left-out pictures say of a training.

    Attributes:
        round: the one that is kept; 0: none.
        gain: share of the mistakes without training that the best round takes away.
        error: standard error of the gain.
        objects, pictures: that were learned of.
    """

    round: int
    gain: float
    error: float
    objects: int
    pictures: int

    def __str__(self) -> str:
        what = f"of {self.objects} objects in {self.pictures} images"
        gain = f"left-out images have {100 * self.gain:.0f} % ± {100 * self.error:.0f} % fewer mistakes"
        return f"learned {what}: {gain}" if self.round else f"learned nothing {what}: {gain}"


class Fit(nn.Module):
    """What learns, its steps, and the figures of left-out pictures.

    Args:
        model: its networks become parametrized, until :meth:`close`; a cache on disk is taken off.
        references: with their pictures, in at least two.
        how: ``fit_cfgs``.
        crops: how references are cut out.
        sam2: name of SAM 2's configuration.

    Attributes:
        losses: of every round, the first without any training, the mistakes on each picture, left out.
        kept: of every round the factors of the copy that saw all pictures, by part.

    Raises:
        ConfigError: too few pictures or references for what is to be learned.
    """

    def __init__(
        self,
        model: ReferenceSegmenter[Any],
        references: Sequence[StoredReference],
        how: FitConfig,
        crops: CropOptions,
        sam2: str,
    ) -> None:
        super().__init__()
        _require_plain(model)
        without_cache(model)
        self.how, self.crops, self.references = how, crops, list(references)
        self.pictures = pictures_of(references)
        if len(self.pictures) < 2:
            raise ConfigError(
                "all references are in one image, so that none can be left out to compare with; show "
                "references in at least two"
            )
        self.folds = min(how.folds, len(self.pictures))
        self._model = (model,)  # held, not registered: only the changes are trained and saved
        wanted: tuple[Part, ...] = ("decoder", "encoder") if how.part == "both" else (how.part,)
        self.bases = {part: base_of(part, model.encoder, model.sam, sam2) for part in wanted}
        self.learners: dict[Part, Learner] = {part: self._learner(part) for part in wanted}
        self.changes = nn.ModuleList([learner.changes for learner in self.learners.values()])
        self._keep_what_is_frozen()
        self.losses: list[list[float]] = []
        self.kept: list[dict[str, dict[str, Tensor]]] = []

    def _learner(self, part: Part) -> Learner:
        (model,), how = self._model, self.how
        options: dict[str, Any] = {
            "every": how.trainable == "all",
            "rank": 0 if how.trainable == "all" else how.rank,
            "copies": self.folds + 1,
            "seed": how.seed,
        }
        if part == "encoder":
            return EncoderLearner(model, self.pictures, self.references, **options)
        return DecoderLearner(model, self.pictures, **options)

    def _keep_what_is_frozen(self) -> None:
        """The network that does not learn sees every left-out picture once."""
        (model,) = self._model
        features, proposals = model.patch_features, model.proposals
        cache_in(MemoryStore(), model, whole_masks=True)
        if "encoder" in self.bases:
            model.patch_features = features
        if "decoder" in self.bases:
            model.proposals = proposals

    @contextmanager
    def using(self, copy: int) -> Iterator[None]:
        """Inside, the model has what one copy has learned."""
        with ExitStack() as stack:
            for learner in self.learners.values():
                stack.enter_context(learner.changes.use(copy))
            yield

    def loss(self, step: int) -> Tensor:
        """Of all copies, which do not meet; everything random depends on the step and the copy alone."""
        total = torch.zeros((), device=self._model[0].device)
        for copy in range(self.folds + 1):
            seen = [number for number in range(len(self.pictures)) if number % self.folds != copy]
            for number, learner in enumerate(self.learners.values()):
                draw = np.random.default_rng((self.how.seed, step, copy, number))
                total = total + learner.loss(copy, seen, draw)
        return total

    def measure(self) -> None:
        """Search every picture with the copy that never saw it, and keep what the last copy has learned."""
        (model,), names = self._model, class_names_of(self.references)
        found = [0.0] * len(self.pictures)
        for copy in range(self.folds):
            with self.using(copy):
                references = self.references
                if "encoder" in self.bases and self.losses:
                    references = encoded_again(model, references, self.crops)
                for number in range(copy, len(self.pictures), self.folds):
                    picture = self.pictures[number]
                    found[number] = picture_loss(
                        model, references, picture.owners, names, complete=picture.complete
                    )
        self.losses.append(found)
        self.kept.append({part: item.changes.factors(self.folds) for part, item in self.learners.items()})

    @property
    def done(self) -> bool:
        """No round of the last ones was better than all before."""
        totals = [sum(losses) for losses in self.losses]
        return len(totals) > self.how.patience and totals.index(min(totals)) < len(totals) - self.how.patience

    def verdict(self) -> Verdict:
        """Which round is kept: the best one, if it is better than none by more than the standard error."""
        losses = torch.tensor(self.losses, dtype=torch.float64)
        chosen, gain, error = one_standard_error(losses, tuple(range(len(losses))))
        objects = sum(not item.negative for item in self.references)
        return Verdict(int(chosen), gain, error, objects, len(self.pictures))

    def learned(self, number: int) -> dict[Part, LearnedPart]:
        """What a file keeps of a round."""
        rank = 0 if self.how.trainable == "all" else self.how.rank
        return {
            part: LearnedPart(base.name, base.weights, rank, self.kept[number][part])
            for part, base in self.bases.items()
        }

    def close(self) -> None:
        """Give the networks back as they were."""
        (model,) = self._model
        without_cache(model)
        for network in (model.encoder.backbone, model.sam):
            take_off(network)

    def get_extra_state(self) -> dict[str, Any]:
        """Beside the changes themselves, what a resumed training needs."""
        return {"losses": self.losses, "kept": self.kept, "made_of": self._made_of()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with it.

        Raises:
            ConfigError: it is of another training.
        """
        if state["made_of"] != self._made_of():
            raise ConfigError(
                "the interrupted training had other references, models or options; use the same ones, or "
                "begin anew without --resume"
            )
        self.losses, self.kept = state["losses"], state["kept"]

    def _made_of(self) -> str:
        held = hashlib.sha256(repr((self.how, self.crops)).encode())
        for base in self.bases.values():
            held.update(f"{base.name}{base.weights}".encode())
        for item in self.references:
            held.update(f"{item.class_name}/{item.negative}".encode())
        for picture in self.pictures:
            held.update(picture.image.tobytes() + np.packbits(picture.masks).tobytes())
        return held.hexdigest()


def _require_plain(model: ReferenceSegmenter[Any]) -> None:
    """Refuse weights that are not those of the preset in float32."""
    if model.encoder.adapter is not None:
        raise ConfigError("fit begins at the weights as they come; leave the adapter out")
    if model.sam.precision is not None or next(model.encoder.backbone.parameters()).dtype != torch.float32:
        raise ConfigError(
            "fit needs weights in float32; leave precision out (the trainer has one: --trainer.precision)"
        )
    engines = model.encoder.engine, model.sam.engine, model.sam.image_encoder._compiled_call_impl
    if any(engine is not None for engine in engines):
        raise ConfigError("fit changes weights, which engines do not see; leave backend and compile out")
