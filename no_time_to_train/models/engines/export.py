"""From a network to a graph file: static, for one side of the input, normalisation inside, resizing outside.

Exported by ``torch.onnx.export`` from our own modules, so that no second description of a network exists.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.engines.graph import OPSET, GraphFacts, write_facts
from no_time_to_train.models.engines.packages import package
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.point_decoder import PointDecoder
from no_time_to_train.models.sam.prompt_embedding import embed_prompts
from no_time_to_train.models.sam.prompts import choose_tokens, point_prompts

LARGEST_FILE = 2_000_000_000
"""Bytes of weights that one ONNX file may hold; more of them lie beside it, in ``<file>.data``."""

IMAGES = "images"
"""The input of both image graphs: (1, 3, S, S) RGB in [0, 1]."""

OUTPUTS = {
    "encoder": ("features",),
    "sam2-image": ("coarse", "fine", "middle"),
    "decoder": ("ious", "masks"),
}


class _Encoder(nn.Module):
    def __init__(self, encoder: FeatureEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder.features(images)


class _ImageEncoder(nn.Module):
    def __init__(self, sam: Sam2Backend) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.sam.image_features(images)


def export_image_graph(network: FeatureEncoder | Sam2Backend, facts: GraphFacts, path: Path) -> None:
    """Write the graph of an image encoder.

    Args:
        network: on the CPU, in float32.
        facts: what the file shall say of itself.
        path: of the file, which appears whole or not at all.

    Raises:
        ConfigError: torch cannot export this network, or a package is missing.
    """
    module = _Encoder(network) if isinstance(network, FeatureEncoder) else _ImageEncoder(network)
    images = torch.zeros(1, 3, facts.side, facts.side)
    export(Exported(module, (images,), (IMAGES,), OUTPUTS[facts.part]), facts, path)


class _Decoder(nn.Module):
    """One foreground point per prompt; of its three masks the one with the best predicted IoU."""

    def __init__(self, sam: Sam2Backend) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, coarse: Tensor, fine: Tensor, middle: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        decoder = PointDecoder(self.sam.sam_prompt_encoder, self.sam.sam_mask_decoder)
        image = decoder.prepare(coarse, (fine, middle), coarse.dtype)
        asked = point_prompts(points)
        sparse = embed_prompts(self.sam.sam_prompt_encoder, len(asked), asked.points, asked.labels, None)
        decoded = decoder.run(image, sparse)
        wanted, _ = choose_tokens(decoded.ious, "best", 0.0)
        masks = decoder.masks(image, decoded, wanted)
        return decoded.ious.gather(1, wanted)[:, 0], masks[:, 0]


def export_decoder(sam: Sam2Backend, facts: GraphFacts, path: Path, points: int) -> None:
    """Write the graph of SAM 2's mask decoder for a fixed number P of points, for programs without torch.

    It takes the outputs of the image graph and ``points`` (P, 2), xy in pixels of the square input, and gives
    ``ious`` (P,) and the logits ``masks`` (P, S/4, S/4).
    """
    width, side = sam.spec.d_model, facts.side // 16
    shapes = ((width, side), (width // 8, 4 * side), (width // 4, 2 * side))
    images = tuple(torch.zeros(1, channels, size, size) for channels, size in shapes)
    inputs = (*OUTPUTS["sam2-image"], "points")
    export(
        Exported(_Decoder(sam), (*images, torch.zeros(points, 2)), inputs, OUTPUTS["decoder"]), facts, path
    )


@dataclass(frozen=True)
class Exported:
    """A module, an example of what it takes, and the names of what goes in and comes out."""

    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: Sequence[str]
    outputs: Sequence[str]


def export(what: Exported, facts: GraphFacts, path: Path) -> None:
    """Write a graph, with what it was made of inside; an image graph with its constants folded."""
    package("onnxscript")
    large = sum(weight.nbytes for weight in what.module.parameters()) > LARGEST_FILE
    with replaced(path) as partial:
        raw = partial.with_name("raw.onnx")
        with torch.no_grad(), _quiet(), _naming(facts):
            torch.onnx.export(
                what.module.eval(),
                what.example,
                str(raw),
                input_names=list(what.inputs),
                output_names=list(what.outputs),
                opset_version=OPSET,
                dynamo=True,
                external_data=large,
                optimize=facts.part != "decoder",  # with 4 points onnxscript 0.7 makes another graph of it
                verbose=False,
            )
        if facts.part == "decoder":  # folding writes out what it repeats for every prompt
            raw.replace(partial)
        else:
            _fold_constants(raw, partial, large)
        write_facts(partial, facts)


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A place of the same name in a folder of its own; what is written there appears at ``path`` in the end.

    Weights that lie beside a graph come first, so that there is never a graph without them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        partial = Path(folder) / path.name
        yield partial
        weights = data_of(partial)
        if weights.exists():
            shutil.move(weights, data_of(path))
        partial.replace(path)


def data_of(path: Path) -> Path:
    """Where the weights of a large graph lie."""
    return path.with_name(f"{path.name}.data")


def _fold_constants(raw: Path, path: Path, large: bool) -> None:
    """Compute once what does not depend on the input, such as resized tables of positions.

    OpenVINO does the same at every start, and takes two minutes for those of Hiera.
    """
    onnxruntime = package("onnxruntime")
    options: Any = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    if large:
        key = "session.optimized_model_external_initializers_file_name"
        options.add_session_config_entry(key, data_of(path).name)
    onnxruntime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports on what it does; only its errors are ours to tell."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _naming(facts: GraphFacts) -> Iterator[None]:
    try:
        yield
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, TypeError) as error:
        first: BaseException = error
        while first.__cause__ is not None:
            first = first.__cause__
        reason = (str(first).strip() or type(first).__name__).splitlines()[0]
        raise ConfigError(
            f"torch {torch.__version__} cannot export the {facts.part} {facts.model} to ONNX ({reason}); "
            f"use backend torch for it"
        ) from error
