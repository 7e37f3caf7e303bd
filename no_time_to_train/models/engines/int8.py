"""Eight bits: weights and activations of convolutions and products, calibrated on pictures (W8A8, NNCF).

Layer norms, softmax, additions, position codes and everything else stay in float.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from no_time_to_train.models.engines.export import IMAGES
from no_time_to_train.models.engines.packages import package

FLOAT = ("Add", "Sub", "Mul", "Div", "Concat", "Resize", "ReduceL2", "LayerNormalization", "Softmax")
"""Operators that are never quantised."""


def quantise(path: Path, images: Sequence[Tensor], *, attention: bool) -> None:
    """Replace a float graph by its quantised form.

    Args:
        path: of the graph.
        images: (1, 3, S, S) in [0, 1], which the ranges of activations are read from.
        attention: the network is a transformer, whose outliers are moved into the weights first
            (SmoothQuant, arXiv 2211.10438).
    """
    os.environ.setdefault("NNCF_CI", "1")  # or it sends statistics of its use
    nncf, onnx = package("nncf", "int8"), package("onnx")
    nncf.set_log_level(logging.ERROR)
    quantised = nncf.quantize(
        onnx.load(str(path)),
        nncf.Dataset([{IMAGES: image.numpy()} for image in images]),
        subset_size=len(images),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if attention else None,
        ignored_scope=nncf.IgnoredScope(types=list(FLOAT), validate=False),
    )
    onnx.save(quantised, str(path))
