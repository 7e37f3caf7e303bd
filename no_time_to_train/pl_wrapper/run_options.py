"""The flags of the command line that are no part of the model or the data, and which stage needs which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from no_time_to_train.errors import ConfigError

SUBCOMMANDS = ("test", "predict", "fit")


@dataclass(frozen=True)
class RunOptions:
    """Where things go, and how a run goes on.

    Args:
        out_path: where a memory stage saves the bank, and ``fit`` the adapter.
        export_result: where the list of detections is written as well.
        out_support_res: where test_support writes its detections.
        out_neg_pkl: few-shot file of the negatives; test_support writes it, fill_memory_neg reads it.
        out_neg_json: COCO file of the negatives; test_support writes it, fill_memory_neg reads it.
        output_dir: folder for everything else that a run writes.
        resume: continue an interrupted search with the results that are already in output_dir, or an
            interrupted ``fit`` from <out_path>.ckpt.
        on_error: an image that cannot be read is named and skipped, or stops the run.
        evaluate: score the results where the targets have annotations.
        report: write report.html.
        format: further forms of the results, with commas between: coco (annotations.json), png, index, csv,
            crops, yolo, labelme, cvat, labelstudio, parquet, overlay (as model_cfg.online_vis), html (as
            report); of instances that score at least model_cfg.vis_thr.
        pixel_size: side of a pixel with its unit, such as 0.12mm, for the sizes in instances.csv.
        quiet: no progress bar and no summary, only warnings and errors.
        verbose: also what matters only when looking for a fault.
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
    report: bool = True
    format: str = ""
    pixel_size: str | None = None
    quiet: bool = False
    verbose: bool = False
    n_shot: int | None = None
    seed: int | None = None
    coco_semantic_split: int | None = None

    @property
    def folder(self) -> Path:
        """``output_dir`` as a path."""
        return Path(self.output_dir)

    @property
    def result_name(self) -> str:
        """``semantic_split_<k>_`` and ``<n>shot_<seed>seed``, as far as they were given."""
        split = "" if self.coco_semantic_split is None else f"semantic_split_{self.coco_semantic_split}_"
        both = self.n_shot is not None and self.seed is not None
        return split + (f"{self.n_shot}shot_{self.seed}seed" if both else "")


NEEDS: dict[str, tuple[str, ...]] = {
    "fill_memory": ("out_path",),
    "postprocess_memory": ("ckpt_path", "out_path"),
    "test": ("ckpt_path",),
    "vis_memory": ("ckpt_path",),
    "test_support": ("ckpt_path", "out_support_res"),
    "fill_memory_neg": ("ckpt_path", "out_path", "out_neg_pkl", "out_neg_json"),
    "postprocess_memory_neg": ("ckpt_path", "out_path"),
    "run": (),
}


def require_files(mode: str, options: RunOptions, ckpt_path: str | None) -> None:
    """Refuse a stage without its files, before any work.

    Raises:
        ConfigError: naming every option that is missing.
    """
    given = {**vars(options), "ckpt_path": ckpt_path}
    missing = [f"--{name}" for name in NEEDS[mode] if not given[name]]
    if missing:
        raise ConfigError(f"test_mode {mode} needs {' and '.join(missing)}")
