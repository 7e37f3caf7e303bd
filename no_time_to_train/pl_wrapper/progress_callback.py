"""Lightning's progress as lines in a file."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from no_time_to_train.runs.progress import ProgressLines


class LinesOfProgress(ProgressBar):
    """A line every so often instead of a bar, of the first process."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: ProgressLines | None = None

    def disable(self) -> None:
        """Say nothing; the other processes do so."""
        self._lines = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to count the pass that begins."""
        loader = pl_module.test_dataloader() if trainer.is_global_zero else None
        self._lines = None if loader is None else ProgressLines(len(loader.dataset))

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **more: Any
    ) -> None:
        """Count the images of a batch, on every process."""
        if self._lines is not None:
            loader = pl_module.test_dataloader()
            self._lines.step(int(loader.batch_size or 1) * trainer.world_size)
