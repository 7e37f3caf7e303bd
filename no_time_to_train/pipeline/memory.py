"""The memory: what a search looks for, and the small file that it is kept in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from no_time_to_train.errors import MemoryMismatchError
from no_time_to_train.models.matching.scoring import PrototypeScorer
from no_time_to_train.models.memory.bank_file import read_bank, require_same_making, save_bank
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.memory.stored_references import (
    Bank,
    StoredReference,
    described,
    make_bank,
    make_negative_bank,
    references_from_bank,
)
from no_time_to_train.models.segmenter import ReferenceSegmenter

BankT = TypeVar("BankT", bound=Bank)


@dataclass(frozen=True)
class ClassThreshold:
    """The operating thresholds of one class, both of published scores.

    Attributes:
        threshold: from here on a detection counts as an instance.
        positives, negatives: number of scores that it was measured on.
        presence: from here on the best detection in an image says that the class is there; never below
            ``threshold``, so that a class that is there has an instance.
        pictures_with, pictures_without: number of images that it was measured on; where none is without
            the class, it is ``threshold``.
    """

    threshold: float
    positives: int
    negatives: int
    presence: float
    pictures_with: int
    pictures_without: int


@dataclass(frozen=True)
class Head:
    """What was learned of the references, beside the means of their features.

    Attributes:
        kind: which of ``model.heads``.
        offsets: (K, C) on the CPU, what scores get added; zeros where nothing was gained.
        similarity: that it adds to; a search with another one refuses it.
        penalty: None where it is infinite: scores stay those without training.
        gain: share of the mistakes on left-out pictures that the best finite penalty takes away.
        error: standard error of the gain; None where one picture says nothing of it.
        objects, pictures: that it was learned of; all background of a picture counts as one object.
    """

    kind: str
    offsets: Tensor = field(repr=False)
    similarity: str
    penalty: float | None
    gain: float
    error: float | None
    objects: int
    pictures: int


@dataclass(frozen=True)
class Memory(Generic[BankT]):
    """What a search looks for; its content is never changed, only replaced. Made by :func:`make_memory`.

    Attributes:
        references: positive and negative ones.
        bank, negatives: made of them, on the model's device.
        thresholds: by class name, to calibrate the scores with; none leave them as published.
        category_ids: of the classes in their annotation file; numbers from 1 where there is none.
        head: what was learned of the references; None: nothing, as published.
    """

    references: tuple[StoredReference, ...] = field(repr=False)
    bank: BankT
    negatives: MemoryBank | None
    thresholds: Mapping[str, ClassThreshold] = field(default_factory=dict)
    category_ids: tuple[Any, ...] = ()
    head: Head | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The index in this tuple is the label of a result."""
        return self.bank.class_names

    def to(self, device: torch.device) -> Memory[BankT]:
        """The banks on another device; Lightning moves models around between stages."""
        for part in (self.bank, self.negatives):
            if part is not None and any(buffer.device != device for buffer in part.buffers()):
                part.to(device)
        return self

    def digest(self) -> str:
        """A hash of all that a result depends on."""
        held = hashlib.sha256(repr((self.class_names, self.thresholds)).encode())
        for item in self.references:
            held.update(f"{item.class_name}/{item.negative}".encode())
        for part in (self.bank, self.negatives):
            for buffer in part.state_dict().values() if part is not None else ():
                held.update(buffer.cpu().numpy().tobytes())
        return held.hexdigest()


def make_memory(
    model: ReferenceSegmenter[BankT],
    references: Sequence[StoredReference],
    *,
    class_names: Sequence[str] | None = None,
    category_ids: Sequence[Any] | None = None,
    thresholds: Mapping[str, ClassThreshold] | None = None,
    head: Head | None = None,
) -> Memory[BankT]:
    """Banks of these references on the model's device.

    Args:
        class_names: the classes in their order; None takes those of the references. A class without a
            reference is named when the memory is searched with.
        head: learned of these references.

    Raises:
        MemoryMismatchError: the references are of another encoder, or of another class of model; the head
            is for another similarity.
    """
    bank: BankT = make_bank(references, model.new_bank, class_names)
    if head is not None:
        require_similarity(model, head)
        bank.offsets = head.offsets.clone()
    bank.to(model.device)
    negatives = make_negative_bank(references, model.encoder.embed_dim, class_names)
    return Memory(
        tuple(references),
        bank,
        None if negatives is None else negatives.to(model.device),
        dict(thresholds or {}),
        tuple(category_ids or range(1, len(bank.class_names) + 1)),
        head,
    )


def similarity_of(model: ReferenceSegmenter[Any]) -> str:
    """What a head of this model adds to, in words; empty for a model that takes none."""
    score = model.score
    if not isinstance(score, PrototypeScorer) or score.space is not None:
        return ""
    return f"{score.similarity!r}, {score.negative_positives}"


def require_similarity(model: ReferenceSegmenter[Any], head: Head) -> None:
    """Refuse a head that was learned for other scores.

    Raises:
        MemoryMismatchError: it was.
    """
    if (own := similarity_of(model)) != head.similarity:
        raise MemoryMismatchError(
            f"the head of this memory was learned for {head.similarity}, the configuration has "
            f"{own or 'a feature space or a model class without heads'}; learn it again, or use the "
            f"sam2_infer_cfgs.matching that it was learned with"
        )


@dataclass(frozen=True)
class SavedMemory:
    """A memory file that was read; no model is built yet.

    Attributes:
        path: of the file.
        references, thresholds: what was learned.
        class_names: None in a checkpoint of the original, which has no names; its references have numbers.
        category_ids: empty where the file has none.
        head: None where the file has none.
        facts: everything else that the file says: encoder, its size and weights, options.
    """

    path: Path
    references: tuple[StoredReference, ...]
    thresholds: dict[str, ClassThreshold]
    class_names: tuple[str, ...] | None
    category_ids: tuple[Any, ...]
    facts: Mapping[str, Any]
    head: Head | None = None

    def named(self, class_names: Sequence[str]) -> tuple[StoredReference, ...]:
        """The references of a file without names, with these.

        Raises:
            MemoryMismatchError: the file has another number of classes.
        """
        tensors, _ = read_bank(self.path)
        if len(tensors["filled"]) != len(class_names):
            raise MemoryMismatchError(
                f"{self.path} holds {len(tensors['filled'])} classes, the configuration names "
                f"{len(class_names)} ({', '.join(class_names[:5])}); name those it was made with"
            )
        return tuple(references_from_bank(tensors, class_names, None))

    def require(self, fingerprint: Mapping[str, Any]) -> None:
        """Refuse a model whose features are not those of the file.

        Raises:
            MemoryMismatchError: the first thing that differs: encoder, size, layers, weights, options.
        """
        require_same_making(self.path, self.facts, fingerprint)


def save_memory(path: str | Path, memory: Memory[Any], **facts: Any) -> Path:
    """Write a memory; ``facts`` are JSON values that it depends on, as ``memory_fingerprint`` has them."""
    metadata = {
        **facts,
        "references": described(memory.references),
        "category_ids": list(memory.category_ids),
        "thresholds": {name: asdict(value) for name, value in memory.thresholds.items()},
    }
    if memory.head is not None:
        metadata["head"] = {key: value for key, value in vars(memory.head).items() if key != "offsets"}
    save_bank(path, memory.bank, memory.negatives, metadata)
    return Path(path)


def read_memory(path: str | Path) -> SavedMemory:
    """Read a file of :func:`save_memory`, or a checkpoint of the original.

    Raises:
        MemoryMismatchError: missing, damaged, or no memory.
    """
    tensors, facts = read_bank(path)
    names = facts.get("class_names")
    return SavedMemory(
        Path(path),
        () if names is None else tuple(references_from_bank(tensors, names, facts.get("references"))),
        {name: ClassThreshold(**value) for name, value in facts.get("thresholds", {}).items()},
        None if names is None else tuple(names),
        tuple(facts.get("category_ids", ())),
        facts,
        _head_of(path, tensors, facts),
    )


def _head_of(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Head | None:
    """The head of a file; None where it has none.

    Raises:
        MemoryMismatchError: half of one.
    """
    if ("head" in facts) != ("offsets" in tensors):
        raise MemoryMismatchError(
            f"{path} has half of a learned head; learn it again, or fill the memory again"
        )
    if "head" not in facts:
        return None
    sums, offsets = tensors["sums"], tensors["offsets"].clone()  # not a view of the file
    try:
        made = Head(offsets=offsets, **facts["head"])
    except TypeError as error:
        raise MemoryMismatchError(f"{path} has a learned head of another form ({error})") from None
    if offsets.shape != (sums.shape[0], sums.shape[2]) or not torch.isfinite(offsets).all():
        raise MemoryMismatchError(
            f"{path} has a learned head that must be {sums.shape[0]} x {sums.shape[2]} finite numbers, "
            f"got {tuple(offsets.shape)}"
        )
    return made
