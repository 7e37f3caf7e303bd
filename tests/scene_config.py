"""A configuration that runs every stage on generated scenes with the nano weights and few points."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def scene_config(root: Path | str, points_per_side: int, iou_thr: float) -> dict[str, Any]:
    """The content of a YAML file.

    Args:
        root: folder that ``write_demo_dataset`` filled.
        points_per_side, iou_thr: of ``sam2_infer_cfgs``.
    """
    images, references = str(root), str(Path(root) / "references.json")
    blocks = {
        "model_cfg": {
            "sam2_cfg_file": "sam2_nano",
            "encoder_cfg": {"name": "dinov3_nano"},
            "memory_bank_cfg": {"length": 2, "length_negative": 2},
            "sam2_infer_cfgs": {"points_per_side": points_per_side, "iou_thr": iou_thr},
        },
        "dataset_cfgs": {
            "fill_memory": {"root": images, "json_file": references},
            "test": {"root": images, "json_file": str(Path(root) / "targets.json")},
            "support": {"root": images, "json_file": references},
        },
        "data_load_cfgs": {"workers": 0},
    }
    trainer = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}
    return {"trainer": trainer, "model": {"init_args": blocks}}
