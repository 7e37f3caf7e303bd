"""The training of an adapter on Lightning's loop, which sees to devices, precision and checkpoints."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, Sampler

from no_time_to_train.config import CropOptions, FitConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.adapters.adapter_file import require_own, save_adapter
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.fitting.fit import Fit, Verdict
from no_time_to_train.pl_wrapper.data_pass import Each
from no_time_to_train.pl_wrapper.stages import Stages
from no_time_to_train.runs.logs import set_trainer_level, without_tips
from no_time_to_train.weights.checkpoints import read_checkpoint

log = logging.getLogger(__name__)

RATES = {"adapter": 0.001, "all": 0.0001}
"""Learning rates by default: what low-rank changes need spoils whole weights."""

RISE, LAST_SHARE = 0.1, 0.1
"""Share of the steps over which the learning rate rises, and what it falls to along a straight line."""


class FitModule(LightningModule):
    """Steps of a :class:`Fit`; a round is an epoch.

    Args:
        learning: what learns.
        say: gets a line after every round.
    """

    def __init__(self, learning: Fit, say: Callable[[str], None]) -> None:
        super().__init__()
        self.learning, self.say = learning, say
        self._began = time.monotonic()

    def train_dataloader(self) -> DataLoader[Any]:
        """Numbers of the steps of a round; processes share them, and their gradients are averaged."""
        steps, trainer = Each(range(self.learning.how.steps), int), self.trainer
        share: Sampler[int] = DistributedSampler(  # Lightning's own would shuffle them
            steps, trainer.world_size, trainer.global_rank, shuffle=False
        )
        return DataLoader(steps, batch_size=1, sampler=share)

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate rises, then falls."""
        how = self.learning.how
        optimizer = torch.optim.AdamW(
            self.parameters(), how.learning_rate or RATES[how.trainable], weight_decay=0.0
        )
        steps = how.rounds * math.ceil(how.steps / self.trainer.world_size)

        def share(step: int) -> float:
            return min(1.0, (step + 1) / (RISE * steps), max(1 - step / steps, LAST_SHARE))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """What is there without any training comes first."""
        if not self.learning.losses:
            self._measure()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        """Leave out the rest where nothing was gained lately."""
        return -1 if self.learning.done else None

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """The loss of one step."""
        return self.learning.loss(self.current_epoch * self.learning.how.steps + int(batch))

    def on_train_epoch_end(self) -> None:
        """Search the left-out pictures; on every process, so that all of them stop together."""
        if len(self.learning.losses) <= self.current_epoch + 1 and not self.learning.done:
            self._measure()
        self.trainer.should_stop = self.learning.done

    def _measure(self) -> None:
        self.learning.measure()
        losses, how = self.learning.losses, self.learning.how
        seconds = time.monotonic() - self._began
        objects = sum(not item.negative for item in self.learning.references)
        self.say(
            f"round {len(losses) - 1} of {how.rounds}: mistakes on left-out images "
            f"{sum(losses[-1]) / objects:.3f} (training-free {sum(losses[0]) / objects:.3f}), {seconds:.0f} s"
        )


def plain_trainer(device: torch.device) -> Trainer:
    """A trainer on one device that says and writes nothing of its own."""
    set_trainer_level(quiet=True)
    with without_tips():
        return Trainer(
            accelerator="gpu" if device.type == "cuda" else device.type,
            devices=[device.index or 0] if device.type == "cuda" else 1,
            max_epochs=1,  # run_fit says how many
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )


def run_fit(
    trainer: Trainer,
    model: ReferenceSegmenter[Any],
    references: Sequence[StoredReference],
    how: FitConfig,
    crops: CropOptions,
    sam2: str,
    out: str | Path,
    *,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> Verdict:
    """Learn an adapter, and write it where it is better than no training.

    Args:
        trainer: gets a callback that keeps ``<out>.ckpt`` after every round, until the training is done.
        out: a file that the adapter is written to; nothing is when nothing was gained.
        resume: go on from ``<out>.ckpt``.

    Raises:
        CheckpointError: a file lies there that is no adapter.
        ConfigError: see :class:`Fit`; or there is nothing to resume.
    """
    out = Path(out)
    require_own(out)
    kept = Path(f"{out}.ckpt")
    if resume:
        _require_interrupted(kept)
    elif kept.exists():
        raise ConfigError(f"{kept} is there of an interrupted training; go on with --resume, or remove it")
    model.to(trainer.strategy.root_device)
    learning = Fit(model, references, how, crops, sam2)
    say_once = say if trainer.is_global_zero else log.debug
    try:
        trainer.fit_loop.max_epochs = how.rounds
        trainer.callbacks.append(  # type: ignore[attr-defined]
            ModelCheckpoint(
                out.parent,
                kept.stem,
                every_n_epochs=1,
                save_on_train_epoch_end=True,
                enable_version_counter=False,
            )
        )
        with warnings.catch_warnings(), without_tips():
            warnings.filterwarnings("ignore", module=r"lightning\.")  # networks are in eval mode on purpose
            trainer.fit(FitModule(learning, say_once), ckpt_path=kept if resume else None)
    finally:
        learning.close()
    verdict = learning.verdict()
    say_once(f"{verdict}; {_written(out, verdict)}")
    if trainer.is_global_zero:
        if verdict.round:
            save_adapter(out, learning.learned(verdict.round))
        kept.unlink(missing_ok=True)
    return verdict


def fit_stage(stages: Stages) -> dict[str, float]:
    """Learn of the references, and negatives, that a configuration names."""
    model, options = stages.model, stages.options
    model.trainer = stages.trainer
    stages.fill_with_negatives()
    block, out = model.dataset_cfgs.fill_memory, options.out_path
    assert block is not None
    assert out is not None
    run_fit(
        stages.trainer,
        model.segmenter,
        model.ready_memory().references,
        model.fitting,
        block.crops,
        model.model_cfg.sam2_cfg_file,
        out,
        resume=options.resume,
        say=stages.say,
    )
    return {}


def _require_interrupted(kept: Path) -> None:
    held = read_checkpoint(kept) if kept.is_file() else {}
    if "learning._extra_state" not in (held.get("state_dict", {}) if isinstance(held, dict) else {}):
        raise ConfigError(f"there is no interrupted training {kept}; run without --resume")


def _written(out: Path, verdict: Verdict) -> str:
    if verdict.round:
        return f"round {verdict.round} -> {out}"
    left = f"; {out} stays as it was" if out.exists() else ""
    return f"results stay training-free, and no adapter was written{left}"
