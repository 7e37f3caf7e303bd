"""One pass over a data set: Lightning supplies the loader, the processes and the device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader, Dataset

from no_time_to_train.models.segmenter import ReferenceSegmenter

Item = TypeVar("Item")
Made = TypeVar("Made")
Step = Callable[[Sequence[Any]], None]


class Each(Dataset[Made]):
    """Every item as ``read`` makes it, in its order."""

    def __init__(self, items: Sequence[Item], read: Callable[[Item], Made]) -> None:
        self.items, self.read = items, read

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Made:
        return self.read(self.items[index])


def as_list(batch: list[Any]) -> list[Any]:
    """Collate nothing; a module-level function, so that spawned workers can import it."""
    return batch


class DataPass(LightningModule):
    """Gives each batch of a loader to a function; :meth:`begin` says which, ``Trainer.test`` runs it.

    Attributes:
        seg_model: moved to the device of the process while a pass runs.
    """

    def __init__(self, model: ReferenceSegmenter[Any] | None = None) -> None:
        super().__init__()
        self.seg_model = model
        self._loader: DataLoader[Any] | None = None
        self._step: Step | None = None

    def begin(self, data: Dataset[Any], step: Step, *, workers: int, batch_size: int = 1) -> None:
        """Make the loader of a pass: lists of items, in order."""
        self._step = step
        with warnings.catch_warnings():
            # The reference of data_load_cfgs.workers says it once; torch says it in every pass of every run.
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            self._loader = DataLoader(
                data,
                batch_size=batch_size,
                collate_fn=as_list,
                num_workers=workers,
                pin_memory=torch.cuda.is_available(),
                persistent_workers=False,
            )

    def test_dataloader(self) -> DataLoader[Any]:
        """The loader of the pass that was begun."""
        if self._loader is None:
            raise RuntimeError("no stage was begun; run it through run_lightening.py or pl_wrapper.stages")
        return self._loader

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Leave the batch where it is: the model moves what it needs, and samples are frozen."""
        return batch

    def test_step(self, batch: Sequence[Any], batch_idx: int) -> None:
        """One batch."""
        if self._step is None:
            raise RuntimeError("no stage was begun")
        self._step(batch)


def gathered(own: dict[int, Item]) -> list[Item]:
    """What all processes have, by number; what a sampler gave to two of them counts once."""
    parts: list[dict[int, Item]] = [own]
    if dist.is_available() and dist.is_initialized():
        received: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(received, own)
        parts = received
    found = {number: item for part in reversed(parts) for number, item in part.items()}
    return [found[number] for number in sorted(found)]
