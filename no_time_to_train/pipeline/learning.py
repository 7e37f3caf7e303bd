"""From a memory to one that has learned as well: a head for its scores, kept where left-out pictures gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from no_time_to_train.errors import ConfigError, did_you_mean
from no_time_to_train.models.matching.class_head import MaskExamples
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.examples import Examples, SeenPictures, examples_of, memory_scores
from no_time_to_train.pipeline.fitting.held_out import left_out
from no_time_to_train.pipeline.memory import BankT, Head, Memory, make_memory, similarity_of

MOST_SCORES = 10**9
"""Pictures times examples times classes that are held at once: 4 GB."""


def learned(
    model: ReferenceSegmenter[BankT],
    memory: Memory[BankT],
    head: str = "ridge",
    seen: SeenPictures | None = None,
) -> Memory[BankT]:
    """The memory with a head learned of its references; where nothing is gained its scores stay as they are.

    Positive are proposals on the references of a class. Negative are proposals on those of other classes, on
    negative references that speak against it, and on nothing in pictures whose objects are all references.
    Nothing is learned where every class is shown in one picture only, unless there are negatives of the other
    two kinds. The memory that comes back has no thresholds: its scores are others.

    Args:
        head: one of ``model.heads``.
        seen: keeps the proposals of pictures from one call to the next.

    Raises:
        ConfigError: no such head, the model takes none, the references came from a memory file, or there are
            more of them than fit in memory.
    """
    similarity = similarity_of(model)
    if not similarity:
        raise ConfigError(
            "a head needs model_cfg.name matching_baseline_noAMG, and no matching.center or matching.whiten"
        )
    if head not in model.heads:
        known = ", ".join(model.heads)
        raise ConfigError(f"unknown head {head!r}{did_you_mean(head, model.heads)} (known: {known})")
    examples = examples_of(model, memory, seen or SeenPictures())
    found = model.heads[head](
        MaskExamples(
            examples.features,
            says := _says(examples, memory.class_names),
            examples.weights,
            examples.pictures,
            memory_scores(model, memory, examples.features),
            _held_out_scores(model, memory, examples),
        )
    )
    if not _enough(examples):
        found = replace(found, offsets=torch.zeros_like(found.offsets), penalty=math.inf)
    objects = torch.where(examples.objects < 0, -1 - examples.pictures, examples.objects)
    made = Head(
        head,
        found.offsets,
        similarity,
        None if math.isinf(found.penalty) else found.penalty,
        found.gain,
        found.error if math.isfinite(found.error) else None,
        len(objects[(says != 0).any(dim=1)].unique()),
        len(examples.pictures.unique()),
    )
    return make_memory(
        model,
        memory.references,
        class_names=memory.class_names,
        category_ids=memory.category_ids,
        head=made,
    )


def learned_text(head: Head) -> str:
    """What was learned, or that scores stay as they were, and of how much."""
    of = f"{head.objects} objects in {head.pictures} images"
    if head.error is None:
        return f"learned nothing of {of}: nothing to leave out and compare with; scores stay training-free"
    gain = f"left-out images have {100 * head.gain:.0f} % ± {100 * head.error:.0f} % fewer mistakes"
    if head.penalty is None:
        return f"learned nothing of {of}: {gain}; scores stay training-free"
    return f"learned of {of}: {gain}"


def _says(examples: Examples, names: Sequence[str]) -> Tensor:
    """(n, K): 1 where an example is of a class, -1 where it is not, 0 where nobody knows."""
    rows = [[_speaks(item, name, names) for name in names] for item in examples.references]
    background = [-1] * len(names)
    return torch.tensor([*rows, background])[examples.objects]  # -1 is the last row


def _speaks(item: StoredReference, name: str, names: Sequence[str]) -> int:
    if not item.negative:
        return 1 if item.class_name == name else -1
    return -1 if item.class_name == name or item.class_name not in names else 0


def _enough(examples: Examples) -> bool:
    """Whether a class is shown in two pictures, or something else than the classes is."""
    if any(number < 0 or examples.references[number].negative for number in examples.objects.tolist()):
        return True
    pairs = {
        (item.class_name, place) for item, place in zip(examples.references, examples.places, strict=True)
    }
    return len(pairs) > len({name for name, _ in pairs})


def _held_out_scores(model: ReferenceSegmenter[Any], memory: Memory[Any], examples: Examples) -> Tensor:
    """(P, n, K) scores by the memory without the references in each picture.

    A class that is shown in that picture only keeps them: there would be nothing to compare with.
    """
    pictures, classes = max(examples.places) + 1, len(memory.class_names)
    if pictures * len(examples.objects) * classes > MOST_SCORES:
        raise ConfigError(
            f"a head is for some tens of classes and images; {classes} classes in {pictures} images need "
            f"more memory than it may take; learn of fewer references"
        )
    found = []
    for picture in range(pictures):
        own = [number for number, place in enumerate(examples.places) if place == picture]
        left = left_out(examples.references, own)
        without = make_memory(model, left, class_names=memory.class_names)
        found.append(memory_scores(model, replace(without, negatives=memory.negatives), examples.features))
    return torch.stack(found)
