"""Rows that train: the adapter of an episode's references, or none where the guard keeps none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from no_time_to_train.bench.accuracy.rows import Row
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.pl_wrapper.fit_module import plain_trainer, run_fit

log = logging.getLogger(__name__)


def fitted(row: Row, references: Sequence[StoredReference], folder: Path) -> Path | None:
    """What ``ntt fit`` makes of some references; None where it makes nothing of them.

    Args:
        folder: where the file goes.
    """
    out, how = folder / "adapter.safetensors", row.fit
    assert how is not None
    with torch.inference_mode(False), torch.enable_grad():
        model = build_model(row.model)
        trainer = plain_trainer(torch.device("cpu"))
        sam2, crops = row.model.sam2_cfg_file, row.references.crops
        try:
            verdict = run_fit(trainer, model, references, how, crops, sam2, out, say=log.info)
        except ConfigError as error:
            log.info("%s: %s", row.name, error)
            return None
    return out if verdict.round else None
