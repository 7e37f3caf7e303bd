"""A search on several devices, processes and machines, for faces that have a model and a memory already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer

from no_time_to_train.config import SearchConfig
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.memory import Memory
from no_time_to_train.pipeline.segment import Preparer, segment_prepared
from no_time_to_train.pipeline.streams import Skips
from no_time_to_train.pl_wrapper.data_pass import DataPass, Each, gathered
from no_time_to_train.results import Instances


class ManyDevices:
    """Processes under Lightning: started by it, by torchrun, or by SLURM.

    Every process runs the same program up to :meth:`search` and through it; what only one may do is for
    ``rank`` 0.

    Args:
        devices: how many, or ``auto`` for all.
        num_nodes: machines, which see the same folders.
        accelerator: ``cpu``, ``gpu`` or ``auto``.
    """

    def __init__(self, devices: int | str, num_nodes: int, accelerator: str) -> None:
        try:
            self.trainer = Trainer(
                accelerator=accelerator,
                devices=devices,
                num_nodes=num_nodes,
                strategy="auto",
                logger=False,
                enable_checkpointing=False,
                enable_model_summary=False,
            )
        except (MisconfigurationException, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"{devices} devices cannot be used here: {str(error).splitlines()[0]}"
            ) from None

    @property
    def rank(self) -> int:
        """Number of this process among all."""
        return self.trainer.global_rank

    def search(
        self,
        model: ReferenceSegmenter[Any],
        memory: Memory[Any],
        targets: Sequence[Target],
        how: SearchConfig,
        write: Callable[[Target, Instances], None],
        *,
        workers: int = 0,
        batch_size: int = 1,
    ) -> set[Any]:
        """Search the targets that fall to this process, and wait for the others.

        Args:
            write: gets what was found in each; a target may be given to two processes.
            workers: processes beside each that read images.

        Returns:
            Ids of the images that one process or another has written.
        """
        skips, written = Skips(), set[Any]()

        def step(batch: Sequence[Any]) -> None:
            own = memory.to(model.device)
            found_in = segment_prepared(model, own, batch, how, skips, batch_size=batch_size)
            for target, found in found_in:
                write(target, found)
                written.add(target.image_id)

        passing = DataPass(model)
        prepare = Preparer.of(model, how, memory=memory)
        passing.begin(Each(targets, prepare), step, workers=workers, batch_size=batch_size)
        if targets:
            self.trainer.test(passing, verbose=False)
        self.trainer.strategy.barrier()
        return set().union(*gathered({self.rank: written}))


def accelerator_of(device: str | None) -> str:
    """Lightning's word for ``--device``."""
    kind = None if device is None else torch.device(device).type
    return {"cpu": "cpu", "cuda": "gpu", "mps": "mps"}.get(kind or "", "auto")
