"""Random weights under which every part of a model has a say."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def spread_weights(model: nn.Module, seed: int = 0) -> None:
    """Draw the weights anew: attention neither uniform nor on one token, every bias non-zero.

    Fresh models have LayerScales of 1e-5, zero biases and masks all alike; with these weights masks and
    features differ from place to place, though they mean nothing.
    """
    draw = torch.Generator().manual_seed(seed)
    tables = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding)
        for parameter in module.parameters()
    }
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=draw).to(parameter)
        if id(parameter) in tables:
            parameter.copy_(noise * 0.5)
        elif name.endswith("gamma"):
            parameter.copy_(0.2 + noise * 0.05)
        elif parameter.ndim > 1:
            fan_in = parameter.shape[0] if "output_upscaling" in name else parameter[0].numel()
            parameter.copy_(noise / fan_in**0.5)
        else:
            parameter.copy_(float(name.endswith("weight")) + noise * 0.2)
