"""A model together with the banks that it is searched with, so that a test reads as a user would think."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.results import Instances, Query, ReferenceCrop

OWN = ("model", "bank", "negative_bank")


class WithMemory:
    """Everything but the banks belongs to the model, also what is set."""

    model: ReferenceSegmenter[Any]
    bank: Any
    negative_bank: MemoryBank

    def __init__(
        self, model: ReferenceSegmenter[Any], categories: int, length: int, class_names: Sequence[str] = ()
    ) -> None:
        names = tuple(class_names) or tuple(f"class {k}" for k in range(categories))
        self.model = model
        self.bank = model.new_bank(names, length)
        self.negative_bank = MemoryBank(categories, 10, model.encoder.embed_dim, class_names=names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OWN:
            super().__setattr__(name, value)
        else:
            setattr(self.model, name, value)

    def fill_memory(self, crops: Iterable[ReferenceCrop], *, negative: bool = False) -> list[bool]:
        """Encode the crops into their slots; which of them had a mask."""
        kept = []
        for crop in crops:
            encoded = self.model.encode_reference(crop)
            kept.append(encoded is not None)
            if encoded is not None:
                if negative:  # of which a bank keeps no centres
                    self.negative_bank.write(crop.label, crop.slot, *encoded[:2])
                else:
                    self.bank.write(crop.label, crop.slot, *encoded)
        return kept

    def segment(self, target: Query | np.ndarray) -> Instances:
        """Search one image."""
        return self.segment_batch([target])[0]

    def segment_batch(self, targets: Sequence[Query | np.ndarray]) -> list[Instances]:
        """Search several."""
        negatives = self.negative_bank if bool(self.negative_bank.filled.any()) else None
        return self.model.segment_batch(targets, self.bank, negatives)
