"""The models."""

from __future__ import annotations

from dinov3.models.vision_transformer import DinoVisionTransformer

__all__ = ["DinoVisionTransformer"]
