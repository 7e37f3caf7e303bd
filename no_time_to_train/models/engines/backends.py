"""``backend: onnxruntime`` or ``openvino``: both image encoders of a model in an engine.

SAM 2's mask decoder stays in torch: ours does the work of all prompts once, and took a third of the time that
its graph took in ONNX Runtime (docs/engines.md).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

from no_time_to_train.config import EngineConfig, Precision
from no_time_to_train.config.engine import Backend
from no_time_to_train.errors import ConfigError
from no_time_to_train.files import whole_file
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.engines.agreement import agreement
from no_time_to_train.models.engines.export import export_image_graph
from no_time_to_train.models.engines.graph import GraphFacts, encoder_facts, read_facts, sam2_facts
from no_time_to_train.models.engines.sessions import Session, open_session, version_of
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.weights.on_this_machine import checkpoint_folder

log = logging.getLogger(__name__)

Network = FeatureEncoder | Sam2Backend
Compute = Callable[[Tensor], tuple[Tensor, ...]]
"""(B, 3, S, S) images in [0, 1] to what a network gives."""


def use_backend(
    encoder: FeatureEncoder, sam: Sam2Backend, backend: Backend, precision: Precision, cfg: EngineConfig
) -> None:
    """Have an engine compute both image encoders from now on; their graphs are exported where they are not.

    Raises:
        ConfigError: a graph of another model, a missing package, or a machine that cannot do it.
    """
    graphs = {Path(name): read_facts(Path(name)) for name in cfg.graphs}
    unused = [str(path) for path, facts in graphs.items() if facts.part == "decoder"]
    if unused:
        raise ConfigError(f"{', '.join(unused)}: the mask decoder stays in torch; leave its graph out")
    networks: tuple[tuple[Network, GraphFacts, Precision], ...] = (
        (encoder, encoder_facts(encoder), precision),
        (sam, sam2_facts(sam), cfg.sam2_precision or precision),
    )
    for network, wanted, own in networks:
        path, facts = _graph_of(network, wanted, graphs)
        network.engine = open_engine(network, path, facts, backend, own, cfg)


def open_engine(
    network: Network, path: Path, facts: GraphFacts, backend: Backend, precision: Precision, cfg: EngineConfig
) -> CheckedEngine:
    """A graph of a network; what is not in eight bits in a quantised one is in float32.

    Raises:
        ConfigError: a missing package, or a machine that cannot do it.
    """
    precision = "fp32" if facts.arithmetic == "int8" else precision
    session = open_session(path, backend, precision, cfg)
    return CheckedEngine(session, truth_of(network), path, facts, backend, precision)


def _graph_of(
    network: Network, wanted: GraphFacts, graphs: dict[Path, GraphFacts]
) -> tuple[Path, GraphFacts]:
    """The given graph of a part, or the one that is kept for all runs, made where it is not there."""
    for path, facts in graphs.items():
        if facts.part == wanted.part:
            facts.require(path, wanted)
            return path, facts
    path = graphs_folder() / wanted.name
    if not path.exists():
        log.info("exporting %s %s, once: %s", wanted.part, wanted.model, path)
        export_image_graph(network, wanted, path)
    return path, wanted


def graphs_folder() -> Path:
    """Where graphs are kept that were exported at first use."""
    return checkpoint_folder() / "graphs"


class Truth(NamedTuple):
    """What torch computes in place of an engine, and the axis of the channels in all of it."""

    compute: Compute
    channels: int


def truth_of(network: Network) -> Truth:
    """For a network."""
    if isinstance(network, FeatureEncoder):
        return Truth(lambda images: (network.features(images),), -1)
    return Truth(network.image_features, 1)


class CheckedEngine:
    """A graph in an engine; its first picture goes through torch as well.

    That the figures agree is noted beside the graph, for this library on this processor, so that later runs
    need not look again.

    Attributes:
        name: what figures depend on; see ``feature_encoder.Engine``.
    """

    def __init__(
        self,
        session: Session,
        truth: Truth,
        path: Path,
        facts: GraphFacts,
        backend: Backend,
        precision: Precision,
    ) -> None:
        self.session, self.path, self.facts = session, path, facts
        self.truth, self._turn = truth, Lock()
        self.precision, self.backend = precision, backend
        quantised = facts.arithmetic == "int8"
        content = sha256(path.read_bytes()).hexdigest()[:12] if quantised else ""
        self.name = f"{backend} {precision}" + (f" int8 {content}" if quantised else "")
        self._note = path.with_name(f"{path.name}.{backend}-{precision}.json")
        stat = path.stat()
        self._told = {"by": version_of(backend), "size": stat.st_size, "changed": stat.st_mtime_ns}
        self.checked = self._was_checked()

    @property
    def arithmetic(self) -> str:
        """Whose bounds hold."""
        return self.facts.arithmetic if self.facts.arithmetic == "int8" else self.precision

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) images in [0, 1] to the outputs of the graph, picture by picture.

        Raises:
            ConfigError: the first picture shows that the figures are not those of torch.
        """
        rows = [self._run(image) for image in images]
        found = tuple(torch.cat(parts) for parts in zip(*rows, strict=True))
        if not self.checked:
            self.check(images[:1], tuple(part[:1] for part in found))
        return found

    def check(self, images: Tensor, found: tuple[Tensor, ...]) -> None:
        """Compare with torch in float32, and note that it is well.

        Raises:
            ConfigError: it is not.
        """
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            seen = agreement(found, self.truth.compute(images), self.truth.channels)
        seen.require(self.arithmetic, f"{self.path} in {self.name}")
        self.checked = True
        try:
            with whole_file(self._note) as file:
                json.dump({**self._told, "cosine": seen.cosine, "lowest": seen.lowest}, file)
        except OSError:  # a folder that cannot be written to: the next run looks again
            log.info("%s: %s", self.path, seen)

    def _run(self, image: Tensor) -> list[Tensor]:
        array = image[None].float().contiguous().cpu().numpy()
        with self._turn:  # a session works on one picture at a time
            return [torch.from_numpy(part.copy()).to(image.device) for part in self.session(array)]

    def _was_checked(self) -> bool:
        try:
            noted = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return {key: noted.get(key) for key in self._told} == self._told
