"""``ntt export``: a graph of a part of the model, written only when its figures are those of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from no_time_to_train.config import Backend, CropOptions, EngineConfig, Precision
from no_time_to_train.dataset.images import as_rgb_array
from no_time_to_train.errors import ConfigError
from no_time_to_train.masks.overlaps import mask_iou
from no_time_to_train.models.engines.agreement import LEAST_FOUND, LEAST_IOU, Agreement, agreement, worst
from no_time_to_train.models.engines.backends import CheckedEngine, Network, open_engine
from no_time_to_train.models.engines.export import export_decoder, export_image_graph, replaced
from no_time_to_train.models.engines.graph import GraphFacts, Part, encoder_facts, sam2_facts
from no_time_to_train.models.engines.int8 import quantise
from no_time_to_train.models.engines.sessions import decoder_session
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.models.proposals.point_grid import half_cell_grid
from no_time_to_train.models.sam.prompts import DecodedMasks, ImageEmbedding, point_prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.memory import make_memory
from no_time_to_train.pipeline.remember import encoded_again
from no_time_to_train.pipeline.segment import segment
from no_time_to_train.pipeline.streams import as_target, is_one_image, open_stream
from no_time_to_train.preprocess import resize_square
from no_time_to_train.results import Instances, Query

MOST_CHECKED, MOST_CALIBRATED = 8, 64
"""Pictures that are looked at, the first of those that are given."""

GRID = 8
"""Points per side that masks are compared at."""

SAME_MASK, SURE = 0.9, 0.5
"""IoU of an instance that was found again; instances that score less than the second are not counted."""


@dataclass(frozen=True)
class GraphReport:
    """How a graph that was written compares with torch, on how many pictures.

    Attributes:
        values: of features or embeddings; None for a decoder.
        mask_iou: mean IoU of the masks of the same points; None for an encoder.
        found_again: share of the sure instances of either side that the other one has too; None where no
            references were given.
    """

    path: Path
    facts: GraphFacts
    pictures: int
    values: Agreement | None
    mask_iou: float | None
    found_again: float | None

    def __str__(self) -> str:
        size = sum(file.stat().st_size for file in self.path.parent.glob(f"{self.path.name}*")) / 1e6
        said = [f"{self.path}: {self.facts.part} {self.facts.model}, {self.facts.arithmetic}, {size:.1f} MB"]
        said.append(f"against torch, on {self.pictures} images:")
        said += [] if self.values is None else [f"  values: {self.values}"]
        said += [] if self.mask_iou is None else [f"  masks of the same points: mean IoU {self.mask_iou:.4f}"]
        again = (
            "not compared, for that give references"
            if self.found_again is None
            else f"{self.found_again:.3f}"
        )
        return "\n".join([*said, f"  final instances found again: {again}"])


def export_graph(
    model: ReferenceSegmenter[Any],
    part: Part,
    path: Path,
    pictures: Any,
    *,
    calibrate: Any = None,
    points: int = 16,
    backend: Backend = "onnxruntime",
    precision: Precision = "fp32",
    references: Sequence[StoredReference] = (),
    crops: CropOptions | None = None,
) -> GraphReport:
    """Export a part, compare it with torch, and write it when it is near enough.

    Args:
        model: in float32, on the CPU, computed by torch.
        path: of the file, or a folder, in which it gets a name of its own.
        pictures: that it is compared on.
        calibrate: pictures that eight bits are calibrated on; None: float.
        points: of a decoder, in one call.
        backend, precision: that it is compared in.
        references: with their images, encoded by either; without any, final instances are not compared.
        crops: how they are cut out.

    Raises:
        ConfigError: it cannot be exported, or its figures are too far off; names both.
    """
    facts = encoder_facts(model.encoder) if part == "encoder" else sam2_facts(model.sam, part)
    facts = replace(facts, arithmetic="fp32" if calibrate is None else "int8")
    path = path / facts.name if path.suffix != ".onnx" else path
    shown = _arrays(pictures, MOST_CHECKED, "pictures")
    with replaced(path) as partial, torch.no_grad():
        if part == "decoder":
            if calibrate is not None:
                raise ConfigError("the decoder has no eight bits; leave --int8 out")
            export_decoder(model.sam, facts, partial, points)
            report = _checked_decoder(model, facts, partial, shown, points)
        else:
            network: Network = model.encoder if part == "encoder" else model.sam
            export_image_graph(network, facts, partial)
            if calibrate is not None:
                inputs = [
                    _input(model, part, each) for each in _arrays(calibrate, MOST_CALIBRATED, "calibrate")
                ]
                quantise(partial, inputs, attention=part == "encoder" and bool(model.encoder.spec.num_heads))
            engine = open_engine(network, partial, facts, backend, precision, EngineConfig())
            engine.checked = True  # what follows looks at more than one picture
            report = _checked_image_graph(model, network, engine, shown, references, crops)
    return replace(report, path=path)


def _checked_image_graph(
    model: ReferenceSegmenter[Any],
    network: Network,
    engine: CheckedEngine,
    shown: Sequence[Any],
    references: Sequence[StoredReference],
    crops: CropOptions | None,
) -> GraphReport:
    facts, what = engine.facts, f"the {engine.facts.part} {engine.facts.model} in {engine.name}"
    inputs = [_input(model, facts.part, image) for image in shown]
    found, expected = [engine(image) for image in inputs], [engine.truth.compute(image) for image in inputs]
    pairs = zip(found, expected, strict=True)
    values = worst([agreement(one, other, engine.truth.channels) for one, other in pairs])
    values.require(engine.arithmetic, what)
    iou = None
    if facts.part == "sam2-image":
        pairs = zip(found, expected, strict=True)
        iou = min(_iou_of_grid(model, _embedded(one), _embedded(other)) for one, other in pairs)
        _require(iou, LEAST_IOU, what, "mean IoU of masks")
    again = None
    if references:

        def instances() -> list[Instances]:
            memory = make_memory(model, encoded_again(model, references, crops))
            return list(segment(model, memory, list(shown)))

        by_torch = instances()
        with _computed_by(network, engine):
            by_engine = instances()
        again = found_again(by_engine, by_torch)
        _require(again, LEAST_FOUND, what, "share of instances found again")
    return GraphReport(engine.path, facts, len(shown), values, iou, again)


def _checked_decoder(
    model: ReferenceSegmenter[Any], facts: GraphFacts, path: Path, shown: Sequence[Any], points: int
) -> GraphReport:
    decode, ious = decoder_session(path), []
    for image in shown:
        embedding = _embedded(model.sam.image_features(_input(model, "decoder", image)))
        places = half_cell_grid(GRID, model.sam.image_size)[:points]
        asked = torch.cat([places, places[-1:].expand(points - len(places), 2)])
        expected = model.sam.decode(embedding, point_prompts(asked))
        parts = (embedding.image, *embedding.high_res, asked)
        logits = torch.from_numpy(decode(*(part.numpy() for part in parts))[1])
        ious.append(mean_iou(logits, expected.logits))
    _require(min(ious), LEAST_IOU, f"the decoder {facts.model}", "mean IoU of masks")
    return GraphReport(path, facts, len(shown), None, min(ious), None)


def found_again(found: Sequence[Instances], expected: Sequence[Instances]) -> float:
    """Share of the instances that score at least ``SURE`` which the other side has too, the lesser of both.

    The other side may score them anything; the class must be the same, and the IoU at least ``SAME_MASK``.
    """
    shares = []
    for ones, others in ((found, expected), (expected, found)):
        hits, count = 0, 0
        for one, other in zip(ones, others, strict=True):
            ious = torch.from_numpy(mask_iou(other.rles, one.rles)).reshape(len(other.rles), len(one.rles))
            same = (ious >= SAME_MASK) & (other.labels[:, None] == one.labels)
            sure = one.scores >= SURE
            hits, count = hits + int(same.any(dim=0)[sure].sum()), count + int(sure.sum())
        shares.append(hits / count if count else 1.0)
    return min(shares)


@contextmanager
def _computed_by(network: Network, engine: CheckedEngine) -> Iterator[None]:
    network.engine = engine
    try:
        yield
    finally:
        network.engine = None


def _arrays(pictures: Any, most: int, what: str) -> list[Any]:
    read = []
    for number, item in enumerate(open_stream([pictures] if is_one_image(pictures) else pictures).items):
        if number == most:
            break
        read.append(as_rgb_array(as_target(item, number).image))
    if not read:
        raise ConfigError(f"{what} holds no image; give at least one of those that will be searched")
    return read


def _input(model: ReferenceSegmenter[Any], part: Part, image: Any) -> Tensor:
    """(1, 3, S, S) of a picture, as the pipeline gives it to the network."""
    query: Query = model.prepare(image)
    if part == "encoder":
        seen = query.image if query.encoder_image is None else query.encoder_image
        return model.encoder.resized(seen[None]).contiguous()
    return resize_square(query.image[None], model.sam.image_size).contiguous()


def _embedded(parts: Sequence[Tensor]) -> ImageEmbedding:
    coarse, fine, middle = parts
    return ImageEmbedding(coarse, (fine, middle))


def _iou_of_grid(model: ReferenceSegmenter[Any], one: ImageEmbedding, other: ImageEmbedding) -> float:
    asked = point_prompts(half_cell_grid(GRID, model.sam.image_size))
    found: list[DecodedMasks] = [model.sam.decode(each, asked) for each in (one, other)]
    return mean_iou(found[0].logits, found[1].logits)


def mean_iou(one: Tensor, other: Tensor) -> float:
    """Of two times (M, q, q) logits, mask by mask; 1 for two empty ones."""
    both, any_of = ((one > 0) & (other > 0)).flatten(1).sum(1), ((one > 0) | (other > 0)).flatten(1).sum(1)
    return float(torch.where(any_of == 0, 1.0, both / any_of.clamp(min=1)).mean())


def _require(came: float, bound: float, what: str, of: str) -> None:
    if not came >= bound:
        raise ConfigError(
            f"{what} does not find what torch finds: {of} {came:.4f}, it must be at least {bound}; "
            f"use backend torch, or a more exact graph or precision"
        )
