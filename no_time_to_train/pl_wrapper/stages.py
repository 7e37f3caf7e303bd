"""The order of the stages: fill, post-process, search, evaluate, each with its files."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from no_time_to_train.dataset.evaluation import evaluate_coco, format_table
from no_time_to_train.errors import ConfigError
from no_time_to_train.pl_wrapper.result_writer import collect, write_json
from no_time_to_train.pl_wrapper.sam2matcher_pl import Sam2MatcherLightningModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """The flags of the command line that are no part of the model or the data.

    Args:
        out_path: where a memory stage saves the bank.
        export_result: where the list of detections is written as well.
        output_dir: folder for everything else that a run writes.
        n_shot: only part of the name of the result file.
        seed: only part of the name of the result file.
        coco_semantic_split: only part of the name of the result file.
    """

    out_path: str | None = None
    export_result: str | None = None
    output_dir: str = "runs/latest"
    n_shot: int | None = None
    seed: int | None = None
    coco_semantic_split: int | None = None


def run_stages(
    trainer: Trainer, model: Sam2MatcherLightningModel, options: RunOptions, ckpt_path: str | None = None
) -> dict[str, float]:
    """Run what ``model.test_mode`` names.

    Args:
        trainer: any Lightning trainer; its strategy decides on devices.
        model: the wrapped model.
        options: where things go.
        ckpt_path: a saved memory bank, for the stages that start from one.

    Returns:
        Metrics of the search; empty for the memory stages and for targets without annotations.

    Raises:
        ConfigError: a file that the stage needs was not named. Raised before any work.
    """
    mode = "run" if model.test_mode == "none" else model.test_mode
    if mode in ("fill_memory", "postprocess_memory") and not options.out_path:
        raise ConfigError(f"test_mode {mode} needs --out_path, the file the memory bank is saved to")
    if mode in ("postprocess_memory", "test") and not ckpt_path:
        raise ConfigError(f"test_mode {mode} needs --ckpt_path, the memory bank that fill_memory saved")
    if mode == "fill_memory":
        fill(trainer, model)
        model.save_memory(str(options.out_path))
    elif mode == "postprocess_memory":
        model.load_memory(str(ckpt_path))
        model.segmenter.postprocess_memory()
        model.save_memory(str(options.out_path))
    elif mode == "test":
        model.load_memory(str(ckpt_path))
        return search(trainer, model, options)
    elif mode == "run":
        fill(trainer, model)
        model.save_memory(options.out_path or Path(options.output_dir) / "memory.safetensors")
        return search(trainer, model, options)
    else:
        raise ConfigError(f"test_mode {mode} is not available yet")
    return {}


def fill(trainer: Trainer, model: Sam2MatcherLightningModel) -> None:
    """Fill the memory bank from the references."""
    model.begin_fill()
    trainer.test(model, verbose=False)
    model.finish_fill()


def search(trainer: Trainer, model: Sam2MatcherLightningModel, options: RunOptions) -> dict[str, float]:
    """Search the targets, write what was found, and score it where there is ground truth."""
    model.segmenter.postprocess_memory()
    folder = Path(options.output_dir)
    model.begin_search(folder, pictures=model.model_cfg.online_vis)
    trainer.test(model, verbose=False)
    if model.targets is None or model.writer is None:
        raise RuntimeError("begin_search was not called")
    records = collect(model.writer.records(), model.targets.image_ids)
    if model.global_rank != 0:
        return {}
    rows = [row for record in records for row in record["rows"]]
    write_json(folder / "predictions.json", rows)
    if options.export_result:
        write_json(options.export_result, rows)
    return _evaluate(model, rows, folder)


def _evaluate(model: Sam2MatcherLightningModel, rows: list[dict[str, Any]], folder: Path) -> dict[str, float]:
    targets = model.targets
    if targets is None or not targets.has_annotations:
        log.info("%d instances written; no annotations to score them against", len(rows))
        return {}
    metrics = evaluate_coco(targets.coco, rows, category_ids=model.category_ids, image_ids=targets.image_ids)
    write_json(folder / "metrics.json", metrics)
    print(format_table(metrics))
    return metrics
