"""Runs every cell that is not finished, one draw of a task after the other, and keeps what rows share."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from no_time_to_train.bench.accuracy.episode import Task
from no_time_to_train.bench.accuracy.ledger import Cell, Ledger, cell_key
from no_time_to_train.bench.accuracy.rows import Row
from no_time_to_train.bench.accuracy.trial import Trials
from no_time_to_train.models.cache.disk_store import DiskStore
from no_time_to_train.models.encoders.fingerprint import encoder_fingerprint, weights_hash
from no_time_to_train.models.factory import build_model

log = logging.getLogger(__name__)

MEASURES_VERSION = 2
"""Raised whenever the same configuration and data would give other figures."""


CACHE_BYTES = 20 * 10**9


def run_cells(
    rows: Sequence[Row],
    tasks: Sequence[Task],
    shots: Sequence[int],
    seeds: Sequence[int],
    ledger: Ledger,
    cache: Path,
) -> list[Cell]:
    """Every cell of the table, computed or read from the ledger, in a fixed order.

    Args:
        cache: folder for what encoder and SAM 2 compute, so that a later run needs neither.
    """
    cells: list[Cell] = []
    weights, trials = weights_of(rows), Trials(DiskStore(cache, CACHE_BYTES))
    for task in tasks:
        trials.forget_pictures()
        for seed in seeds:
            started, fresh = time.process_time(), 0
            episode = task.episode(seed)
            drawn = episode.fingerprint()
            for row in rows:
                about = {"row": row.described(), "weights": weights[row.name], "version": MEASURES_VERSION}
                for count in shots:
                    key = cell_key(**about, episode=drawn, shots=episode.fewest_shots(count))
                    if ledger.get(key) is None:
                        measures = trials.run(row, episode, count)
                        ledger.add(key, Cell(row.name, task.name, count, seed, measures))
                        fresh += 1
                        log.info(
                            "%s, seed %d, %s, %d shots: %s", task.name, seed, row.name, count, said(measures)
                        )
                    cell = ledger.get(key)
                    assert cell is not None
                    # Another row may have the same configuration, another number the same references.
                    cells.append(replace(cell, row=row.name, shots=count))
            if fresh:
                spent = time.process_time() - started
                log.info("%s, seed %d: %d cells in %.1f CPU s", task.name, seed, fresh, spent)
    return cells


def weights_of(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Hashes of the two models of each row, so that a cell of other weights does not count as finished."""
    known: dict[str, dict[str, Any]] = {}
    found = {}
    for row in rows:
        cfg = row.model
        models = repr((cfg.encoder_cfg, cfg.encoder_ckpt_path, cfg.sam2_cfg_file, cfg.sam2_ckpt_path))
        if models not in known:
            model = build_model(cfg)
            known[models] = {**encoder_fingerprint(model.encoder), "sam2": weights_hash(model.sam)}
        found[row.name] = known[models]
    return found


def said(measures: Mapping[str, float]) -> str:
    """The main figure in words."""
    main = "segm_AP" if "segm_AP" in measures else "box_AP"
    return f"{main} {100 * measures[main]:.1f}"
