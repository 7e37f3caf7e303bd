"""Options that turn any of the configs into one for the nano weights, a coarse grid and one CPU."""

from __future__ import annotations

NANO = (
    *("--model.model_cfg.sam2_cfg_file", "sam2_nano"),
    *("--model.model_cfg.sam2_ckpt_path", "null"),
    *("--model.model_cfg.encoder_cfg.name", "dinov3_nano"),
    *("--model.model_cfg.encoder_cfg.img_size", "null"),
    *("--model.model_cfg.encoder_cfg.patch_size", "null"),
    *("--model.model_cfg.encoder_ckpt_path", "null"),
    *("--model.model_cfg.sam2_infer_cfgs.points_per_side", "4"),
    *("--model.data_load_cfgs.workers", "0"),
    *("--trainer.accelerator", "cpu"),
)
