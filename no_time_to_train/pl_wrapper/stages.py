"""The order of the stages: fill, post-process, search, evaluate, each with its files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch import Trainer

from no_time_to_train.config import FillMemoryDataConfig, TestDataConfig
from no_time_to_train.dataset.evaluation import evaluate_coco, format_table
from no_time_to_train.dataset.few_shot_file import write_few_shot_file
from no_time_to_train.dataset.negative_sampling import sample_negatives
from no_time_to_train.errors import ConfigError
from no_time_to_train.pl_wrapper.result_writer import collect, write_json
from no_time_to_train.pl_wrapper.sam2matcher_pl import Sam2MatcherLightningModel

Metrics = dict[str, float]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """The flags of the command line that are no part of the model or the data.

    Args:
        out_path: where a memory stage saves the bank.
        export_result: where the list of detections is written as well.
        out_support_res: where test_support writes its detections.
        out_neg_pkl: few-shot file of the negatives; test_support writes it, fill_memory_neg reads it.
        out_neg_json: COCO file of the negatives; test_support writes it, fill_memory_neg reads it.
        output_dir: folder for everything else that a run writes.
        resume: continue an interrupted search with the results that are already in output_dir.
        on_error: an image that cannot be read is named and skipped, or stops the run.
        evaluate: score the results where the targets have annotations.
        n_shot: only part of the name of the result file.
        seed: only part of the name of the result file.
        coco_semantic_split: only part of the name of the result file.
    """

    out_path: str | None = None
    export_result: str | None = None
    out_support_res: str | None = None
    out_neg_pkl: str | None = None
    out_neg_json: str | None = None
    output_dir: str = "runs/latest"
    resume: bool = False
    on_error: Literal["skip", "stop"] = "skip"
    evaluate: bool = True
    n_shot: int | None = None
    seed: int | None = None
    coco_semantic_split: int | None = None

    @property
    def result_name(self) -> str:
        """``semantic_split_<k>_`` and ``<n>shot_<seed>seed``, as far as they were given."""
        split = "" if self.coco_semantic_split is None else f"semantic_split_{self.coco_semantic_split}_"
        both = self.n_shot is not None and self.seed is not None
        return split + (f"{self.n_shot}shot_{self.seed}seed" if both else "")


NEEDS = {
    "fill_memory": ("out_path",),
    "postprocess_memory": ("ckpt_path", "out_path"),
    "test": ("ckpt_path",),
    "vis_memory": ("ckpt_path",),
    "test_support": ("ckpt_path", "out_support_res"),
    "fill_memory_neg": ("ckpt_path", "out_path", "out_neg_pkl", "out_neg_json"),
    "postprocess_memory_neg": ("ckpt_path", "out_path"),
    "run": (),
}
"""The files that each stage must be given; checked before any work."""


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
        ConfigError: a file that the stage needs was not named.
    """
    mode = "run" if model.test_mode == "none" else model.test_mode
    given = {**vars(options), "ckpt_path": ckpt_path}
    missing = [f"--{name}" for name in NEEDS[mode] if not given[name]]
    if missing:
        raise ConfigError(f"test_mode {mode} needs {' and '.join(missing)}")
    model.stop_on_error = options.on_error == "stop"
    if ckpt_path and mode != "fill_memory":
        model.load_memory(ckpt_path)
    return STAGES[mode](trainer, model, options) or {}


def run_everything(trainer: Trainer, model: Sam2MatcherLightningModel, options: RunOptions) -> Metrics:
    """Fill, negatives when they are on, search, evaluate: no files needed in between."""
    if model.seg_model is None:
        fill(trainer, model)
    cfg = model.model_cfg.sam2_infer_cfgs
    if cfg is not None and cfg.with_negative_refs and model.seg_model is not None:
        learn_negatives(trainer, model, options)
    model.save_memory(options.out_path or Path(options.output_dir) / "memory.safetensors")
    return search(trainer, model, options)


def learn_negatives(trainer: Trainer, model: Sam2MatcherLightningModel, options: RunOptions) -> None:
    """Fill the negative bank from what the user named, else from false positives on the support images."""
    named = model.dataset_cfgs.negatives
    if named is None:
        folder = Path(options.output_dir)
        options = replace(
            options,
            out_support_res=options.out_support_res or str(folder / "support.json"),
            out_neg_pkl=options.out_neg_pkl or str(folder / "negatives.pkl"),
            out_neg_json=options.out_neg_json or str(folder / "negatives.json"),
        )
        search_support(trainer, model, options)
        named = _sampled_negatives(model, options)
    model.begin_fill_negative(named)
    trainer.test(model, verbose=False)
    model.finish_fill()


def _fill_and_save(trainer: Trainer, model: Sam2MatcherLightningModel, options: RunOptions) -> None:
    fill(trainer, model)
    model.save_memory(str(options.out_path))


def _postprocess(trainer: Trainer, model: Sam2MatcherLightningModel, options: RunOptions) -> None:
    model.segmenter.postprocess_memory()
    model.save_memory(str(options.out_path))


def _postprocess_negative(trainer: Trainer, model: Sam2MatcherLightningModel, options: RunOptions) -> None:
    model.segmenter.postprocess_memory(negative=True)
    model.save_memory(str(options.out_path))


def _fill_negative(trainer: Trainer, model: Sam2MatcherLightningModel, options: RunOptions) -> None:
    model.begin_fill_negative(_sampled_negatives(model, options))
    trainer.test(model, verbose=False)
    model.finish_fill()
    model.save_memory(str(options.out_path))


def _sampled_negatives(model: Sam2MatcherLightningModel, options: RunOptions) -> FillMemoryDataConfig:
    """The files that :func:`search_support` wrote, as a block of references."""
    return FillMemoryDataConfig(
        root=_support(model).root, json_file=str(options.out_neg_json), memory_pkl=options.out_neg_pkl
    )


def _support(model: Sam2MatcherLightningModel) -> TestDataConfig:
    if model.dataset_cfgs.support is None:
        raise ConfigError(
            "negatives from false positives need dataset_cfgs.support (root and json_file); "
            "or name negative references in dataset_cfgs.negatives"
        )
    return model.dataset_cfgs.support


def search_support(trainer: Trainer, model: Sam2MatcherLightningModel, options: RunOptions) -> None:
    """Search the support images without negatives; their false positives become negative references."""
    block = _support(model)
    model.begin_search(block, Path(options.output_dir) / "support", pictures=False)
    rows = _search_rows(trainer, model)
    if model.global_rank != 0:
        return
    write_json(str(options.out_support_res), rows)
    if options.out_neg_pkl and options.out_neg_json and model.targets and model.targets.coco:
        per_class = model.model_cfg.memory_bank_cfg.length_negative
        table, content = sample_negatives(rows, model.targets.coco, per_class)
        write_few_shot_file(options.out_neg_pkl, table)
        write_json(options.out_neg_json, content)


def fill(trainer: Trainer, model: Sam2MatcherLightningModel) -> None:
    """Fill the memory bank from the references."""
    model.begin_fill()
    trainer.test(model, verbose=False)
    model.finish_fill()


def search(trainer: Trainer, model: Sam2MatcherLightningModel, options: RunOptions) -> Metrics:
    """Search the targets, write what was found, and score it where there is ground truth."""
    block = model.dataset_cfgs.test
    if block is None:
        raise ConfigError("searching needs dataset_cfgs.test (root, and json_file unless it is a folder)")
    folder = Path(options.output_dir)
    pictures = model.model_cfg.online_vis
    model.begin_search(block, folder, pictures=pictures, resume=options.resume)
    rows = _search_rows(trainer, model)
    if model.global_rank != 0:
        return {}
    write_json(folder / "predictions.json", rows)
    if options.export_result:
        write_json(options.export_result, rows)
    if options.result_name:
        write_json(folder / "inst_to_segm" / f"coco_inst_{options.result_name}_results.json", rows)
    return _evaluate(model, rows, folder) if options.evaluate else {}


def _search_rows(trainer: Trainer, model: Sam2MatcherLightningModel) -> list[dict[str, Any]]:
    """Pass over the targets; all rows in the order of the data set, on rank zero."""
    model.segmenter.postprocess_memory()
    if len(model.test_dataloader()):
        trainer.test(model, verbose=False)
    if model.targets is None or model.writer is None:
        raise RuntimeError("begin_search was not called")
    if model.unreadable:
        log.warning("%d images could not be read and were skipped", len(model.unreadable))
    records = collect(model.writer.records(trainer.world_size), model.targets.image_ids)
    return [row for record in records for row in record["rows"]]


def _evaluate(model: Sam2MatcherLightningModel, rows: list[dict[str, Any]], folder: Path) -> Metrics:
    targets = model.targets
    if targets is None or targets.coco is None or not targets.has_annotations:
        log.info("%d instances written; no annotations to score them against", len(rows))
        return {}
    metrics = evaluate_coco(targets.coco, rows, category_ids=model.category_ids, image_ids=targets.image_ids)
    write_json(folder / "metrics.json", metrics)
    print(format_table(metrics))
    return metrics


STAGES: dict[str, Callable[[Trainer, Sam2MatcherLightningModel, RunOptions], Metrics | None]] = {
    "fill_memory": _fill_and_save,
    "postprocess_memory": _postprocess,
    "test": search,
    "test_support": search_support,
    "fill_memory_neg": _fill_negative,
    "postprocess_memory_neg": _postprocess_negative,
    "run": run_everything,
}
