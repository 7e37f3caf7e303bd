"""The models; importing this needs neither SAM 2 nor Lightning nor timm."""

from __future__ import annotations

from no_time_to_train.models.dinov3_utils import DINOV3_CONFIGS, get_dinov3_model, load_pretrained_weights

__all__ = ["DINOV3_CONFIGS", "get_dinov3_model", "load_pretrained_weights"]
