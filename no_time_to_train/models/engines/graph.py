"""A graph file, and what it says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.encoders.fingerprint import weights_hash
from no_time_to_train.models.engines.packages import package
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.version import __version__
from no_time_to_train.weights.sam2_models import SAM2_SIZES

Part = Literal["encoder", "sam2-image", "decoder"]
Arithmetic = Literal["fp32", "int8"]

OPSET = 18
"""The ONNX operators that graphs are written in."""

KEY = "no_time_to_train"
"""Under which the metadata of a graph holds its facts, as JSON."""

FREE = ("arithmetic", "opset", "version")
"""Facts in which a graph may differ from what a model asks for: the check of its figures sees to it."""


@dataclass(frozen=True)
class GraphFacts:
    """What a graph was made of.

    Attributes:
        part: which network.
        model: preset of the encoder, or SAM 2 and its size.
        side: of the square input in pixels.
        weights: of the network, see ``weights_hash``.
        layers: those that are fused, and how; None for the last.
        arithmetic: ``int8`` where products of a quantised graph are in eight bits.
        opset: of ONNX.
        version: of this package.
    """

    part: Part
    model: str
    side: int
    weights: str
    layers: tuple[str | int, ...] | None = None
    arithmetic: Arithmetic = "fp32"
    opset: int = OPSET
    version: str = __version__

    @property
    def name(self) -> str:
        """A file name that no other graph has."""
        told = sha256(repr(self).encode()).hexdigest()[:12]
        return f"{self.part}-{self.model.replace(':', '-')}-{self.side}-{self.arithmetic}-{told}.onnx"

    def require(self, path: Path, wanted: GraphFacts) -> None:
        """Refuse a graph of another network.

        Raises:
            ConfigError: names the first difference.
        """
        for item in fields(self):
            came, needed = getattr(self, item.name), getattr(wanted, item.name)
            if came != needed and item.name not in FREE:
                raise ConfigError(
                    f"{path} was exported with {item.name} {came}, the model has {needed}; export it again "
                    f"with ntt export {wanted.part}"
                )


def encoder_facts(encoder: FeatureEncoder) -> GraphFacts:
    """Of the graph that an encoder would give."""
    layers = None if encoder.layers is None else (encoder.layer_fusion, *encoder.layers)
    weights = weights_hash(encoder.backbone)
    return GraphFacts("encoder", encoder.spec.name, encoder.img_size, weights, layers)


def sam2_facts(sam: Sam2Backend, part: Part = "sam2-image") -> GraphFacts:
    """Of the graph that a part of SAM 2 would give."""
    size = next(name for name, spec in SAM2_SIZES.items() if spec == sam.spec)
    return GraphFacts(part, f"sam2_{size}", sam.image_size, weights_hash(sam))


def write_facts(path: Path, facts: GraphFacts) -> None:
    """Put facts into an ONNX file; weights beside it stay where they are."""
    onnx = package("onnx")
    graph = onnx.load(str(path), load_external_data=False)
    onnx.helper.set_model_props(graph, {KEY: json.dumps(asdict(facts))})
    path.write_bytes(graph.SerializeToString())


def read_facts(path: Path) -> GraphFacts:
    """The facts of an ONNX file.

    Raises:
        ConfigError: it is not there, damaged, or no graph of ``ntt export``.
    """
    onnx = package("onnx")
    try:
        graph = onnx.load(str(path), load_external_data=False)
        told: dict[str, Any] = json.loads({item.key: item.value for item in graph.metadata_props}[KEY])
        told["layers"] = None if told["layers"] is None else tuple(told["layers"])
        return GraphFacts(**told)
    except FileNotFoundError:
        raise ConfigError(f"there is no graph {path}; make it with ntt export, or leave it out") from None
    except Exception as error:  # protobuf's own class for a file that it cannot read has no public name
        raise ConfigError(
            f"{path} is no graph that ntt export has written, or a damaged one ({type(error).__name__}); "
            f"export it again"
        ) from error
