"""Networks of ``benchmarks.engines``, and what several rows need of them: graphs, and what torch computes."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from no_time_to_train.bench.stages.case import Case
from no_time_to_train.bench.stages.random_weights import spread_weights
from no_time_to_train.config import EncoderConfig
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder, build_encoder
from no_time_to_train.models.engines.backends import Network, truth_of
from no_time_to_train.models.engines.compiled import compile_encoders
from no_time_to_train.models.engines.export import export_image_graph
from no_time_to_train.models.engines.graph import encoder_facts, sam2_facts
from no_time_to_train.models.engines.int8 import quantise
from no_time_to_train.models.sam.build import RANDOM, build_sam2
from no_time_to_train.preprocess import to_square

OWN_WEIGHTS = ("sam2_nano", "dinov3_nano", "lite2_photographs")


def network_of(what: str) -> Any:
    network: Network
    if what.startswith("sam2"):
        name = what.replace("sam2", "sam2" if what == "sam2_nano" else "sam2.1_hiera")
        network = build_sam2(name, None if what == "sam2_nano" else RANDOM).requires_grad_(False)
    else:
        network = build_encoder(EncoderConfig(what, allow_random_weights=what not in OWN_WEIGHTS), None)
    if what not in OWN_WEIGHTS:
        spread_weights(network)
    return network


def picture_of(side: int) -> Tensor:
    """(1, 3, side, side)."""
    return to_square(Case(height=1024, width=1024).picture(), side)[None].contiguous()


def shared(what: str, folder: Path, int8: bool) -> Path:
    """Where the graph lies; what torch gives in a ``.pt`` of the same name, and the graph in eight bits."""
    graph = folder / f"{what}.onnx"
    if not graph.with_suffix(".pt").exists():
        in_a_process(what, "prepare", argparse.Namespace(graphs=folder))
    if int8 and not quantised(graph).exists():
        in_a_process(what, "quantise", argparse.Namespace(graphs=folder))
    return graph


def in_a_process(what: str, task: str, args: argparse.Namespace) -> None:
    words = [sys.executable, "-m", "benchmarks.engine_rows", what, task, "--graphs", str(args.graphs)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def prepare(what: str, graph: Path) -> None:
    """Export a network, and note what torch makes of the picture."""
    network = network_of(what)
    facts = sam2_facts(network) if what.startswith("sam2") else encoder_facts(network)
    export_image_graph(network, facts, graph)
    truth = truth_of(network)
    with torch.inference_mode():
        given = truth.compute(picture_of(facts.side))
    torch.save((facts.side, truth.channels, given), graph.with_suffix(".pt"))


def quantised(graph: Path) -> Path:
    return graph.with_name(f"{graph.stem}-int8.onnx")


def quantise_graph(what: str, graph: Path) -> None:
    """Calibrated on four generated scenes; the picture that is measured is not one of them."""
    side, *_ = torch.load(graph.with_suffix(".pt"))
    made = graph.with_name("partial.onnx")
    made.write_bytes(graph.read_bytes())
    scenes = [Case(height=512, width=512, seed=seed).picture() for seed in range(1, 5)]
    images = [to_square(scene, side)[None].contiguous() for scene in scenes]
    quantise(made, images, attention=not what.startswith("sam2"))
    made.replace(quantised(graph))


def compile_network(network: Network) -> None:
    if isinstance(network, FeatureEncoder):
        compile_encoders(network, network_of("sam2_nano"))
    else:
        compile_encoders(network_of("dinov3_nano"), network)
