"""What the figures in a memory bank depend on, short enough to keep beside them and to compare."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder

SAMPLES = 64
"""Values looked at per tensor: other weights differ in nearly all, and reading a gigabyte takes long."""


def encoder_fingerprint(encoder: FeatureEncoder) -> dict[str, Any]:
    """Describe an encoder in JSON values; two that give the same features have the same description."""
    return {
        "encoder": encoder.spec.name,
        "img_size": encoder.img_size,
        "patch_size": encoder.patch_size,
        "patches": encoder.grid**2,
        "embed_dim": encoder.embed_dim,
        "weights": weights_hash(encoder.backbone),
        "layers": None if encoder.layers is None else [encoder.layer_fusion, *encoder.layers],
        **({} if encoder.engine is None else {"engine": encoder.engine.name}),
    }


def weights_hash(module: nn.Module) -> str:
    """``<dtype>:<SHA-256>`` over names, shapes and evenly spaced values of every tensor of a module.

    The hash is of the weights in their running precision, so it only tells two modules of one dtype apart.
    """
    digest, dtypes = hashlib.sha256(), set()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().flatten()
        places = torch.linspace(0, max(flat.numel() - 1, 0), min(SAMPLES, flat.numel()), device=flat.device)
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(flat[places.long()].float().cpu().numpy().tobytes())
        if tensor.is_floating_point():
            dtypes.add(str(tensor.dtype).removeprefix("torch."))
    return f"{'+'.join(sorted(dtypes))}:{digest.hexdigest()}"
