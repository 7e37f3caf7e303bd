"""One row of ``benchmarks.engines``, measured in a process of its own; prints it as JSON.

    python -m benchmarks.engine_rows dinov3_small openvino:bf16 --threads 1

What several rows share is made first, in a process of its own too, and lies in ``--graphs``: of a network the
graph, that in eight bits, and what torch gives for the picture in fp32; of a whole picture what torch finds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from no_time_to_train import Segmenter
from no_time_to_train.bench.stages.case import Case, make_bank, set_threshold
from no_time_to_train.bench.stages.costs import measure, read_peak, start_peak
from no_time_to_train.bench.stages.fast_path import grid_of, grid_points
from no_time_to_train.bench.stages.random_weights import spread_weights
from no_time_to_train.config import EncoderConfig, EngineConfig
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder, build_encoder
from no_time_to_train.models.engines.agreement import agreement
from no_time_to_train.models.engines.backends import Network, truth_of, use_backend
from no_time_to_train.models.engines.compiled import compile_encoders
from no_time_to_train.models.engines.export import export_decoder, export_image_graph
from no_time_to_train.models.engines.graph import encoder_facts, sam2_facts
from no_time_to_train.models.engines.int8 import quantise
from no_time_to_train.models.engines.sessions import decoder_session, open_session
from no_time_to_train.models.sam.build import RANDOM, build_sam2
from no_time_to_train.models.sam.prompts import point_prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.graphs import found_again
from no_time_to_train.preprocess import to_square
from no_time_to_train.scenes import write_demo_dataset

Row = dict[str, Any]
CPU = torch.device("cpu")
OWN_WEIGHTS = ("sam2_nano", "dinov3_nano", "lite2_photographs")
POINTS, BATCH = 64, 8
"""Of the decoder's row, and of one call of its graph."""


def measured(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """The figures of a row."""
    return ROWS.get(what, network_row)(what, engine, precision, threads, args)


def network_row(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """An image encoder on one picture."""
    graph = _shared(what, args.graphs, precision == "int8")
    side, axis, expected = torch.load(graph.with_suffix(".pt"))
    picture, row = _picture(side), Row()
    before, short = _memory(), nullcontext()
    call: Callable[[], Sequence[Tensor]]
    if engine in ("torch", "compiled"):
        network = _network(what)
        if precision == "bf16" and isinstance(network, FeatureEncoder):
            network.backbone.to(torch.bfloat16)
        elif precision == "bf16":
            short = torch.autocast("cpu", torch.bfloat16)
        if engine == "compiled":
            _compile(network)
        truth = truth_of(network)
        call = lambda: truth.compute(picture)  # noqa: E731
    else:
        path = _quantised(graph) if precision == "int8" else graph
        hint = "fp32" if precision == "int8" else precision
        session = open_session(path, engine, hint, EngineConfig(threads=threads))  # type: ignore[arg-type]
        row["file_mb"] = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / 1e6
        call = lambda: [torch.from_numpy(part) for part in session(picture.numpy())]  # noqa: E731
    with torch.inference_mode(), short:
        started = time.perf_counter()
        call()
        first = time.perf_counter() - started
        cost, found = measure(call, CPU, args.repeats)
    seen = agreement([part.float() for part in found], expected, axis)
    row |= {"cpu_s": cost.cpu, "wall_s": cost.wall, "mb": (cost.peak_mb or 0) - before}
    row["note"] = f"first call {first:.0f} s" if engine == "compiled" else ""
    return row | {"cosine": f"{seen.cosine:.5f}, {seen.lowest:.4f}"}


def decoder_row(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """The points of one embedding, each with its best mask."""
    sam, row = _network("sam2_tiny"), Row()
    points = torch.rand(POINTS, 2, generator=torch.Generator().manual_seed(0)) * sam.image_size
    with torch.inference_mode():
        embedding = sam.encode(_picture(sam.image_size))[0]
        expected = sam.decode(embedding, point_prompts(points)).logits
        before = _memory()
        call: Callable[[], Tensor]
        if engine == "torch":
            sam.precision = torch.bfloat16 if precision == "bf16" else None
            call = lambda: sam.decode(embedding, point_prompts(points)).logits  # noqa: E731
        else:
            path = args.graphs / "decoder.onnx"
            if not path.exists():
                export_decoder(sam, sam2_facts(sam, "decoder"), path, BATCH)
            decode, row["file_mb"] = decoder_session(path, threads), path.stat().st_size / 1e6
            image = [part.numpy() for part in (embedding.image, *embedding.high_res)]

            def call() -> Tensor:
                parts = [decode(*image, piece.numpy())[1] for piece in points.split(BATCH)]
                return torch.cat([torch.from_numpy(part) for part in parts])

        call()
        cost, found = measure(call, CPU, args.repeats)
    iou = ((found > 0) & (expected > 0)).sum() / ((found > 0) | (expected > 0)).sum()
    row |= {"cpu_s": cost.cpu, "wall_s": cost.wall, "mb": (cost.peak_mb or 0) - before}
    return row | {"note": f"IoU of all masks {float(iou):.5f}"}


def whole_row(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """A picture at the published size; both image encoders have run once before, the decoder has not."""
    case = Case("real", random_weights=True)
    before, model, picture = _memory(), case.model(CPU), case.picture()
    path = args.graphs / "whole.pt"
    args.graphs.mkdir(parents=True, exist_ok=True)
    fp32 = (engine, precision) == ("torch", "fp32")
    if not fp32 and not path.exists():
        _in_a_process("whole", "torch:fp32", args)
    if engine != "torch":
        use_backend(model.encoder, model.sam, engine, precision, EngineConfig(threads=threads))  # type: ignore[arg-type]
        for network in (model.encoder, model.sam):
            network.engine.checked = True  # type: ignore[union-attr]  # compared below, and not refused
    elif precision == "bf16":
        model.encoder.backbone.to(torch.bfloat16)
    if precision == "bf16":
        model.sam.precision = torch.bfloat16
    with torch.inference_mode():
        query = model.prepare(picture)
        features = model.patch_features(model.encoder, query.image[None])
        embedding = model.sam.encode(query.image[None])[0]
        outputs = [part.float() for part in (embedding.image, *embedding.high_res)]
        if fp32:
            bank, _ = make_bank(case, features[0])
            threshold = set_threshold(model, embedding, torch.arange(len(grid_points(model))))
        else:
            bank, threshold, *exact = torch.load(path, weights_only=False)
            model.propose = type(grid_of(model))(**{**vars(grid_of(model)), "min_iou": threshold})
        with _parts_timed(model) as parts:
            cost, found = measure(lambda: model.segment(picture, bank), CPU)
    if fp32:
        torch.save((bank, threshold, features, outputs, found), path)
        exact = [features, outputs, found]
    cosines = agreement([features], [exact[0]], -1).cosine, agreement(outputs, exact[1], 1).cosine
    note = ", ".join(f"{name} {spent:.1f}" for name, spent in parts.items())
    note += f"; of {len(exact[2])} instances found again {found_again([found], [exact[2]]):.3f}"
    row = {"cpu_s": cost.cpu, "wall_s": cost.wall, "mb": (cost.peak_mb or 0) - before, "note": note}
    return row | {"cosine": f"encoder {cosines[0]:.5f}, SAM 2 {cosines[1]:.5f}"}


@contextmanager
def _parts_timed(model: ReferenceSegmenter[Any]) -> Iterator[dict[str, float]]:
    """CPU seconds of the three large parts from now on."""
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def run(*args: Any, **options: Any) -> Any:
            started = time.process_time()
            try:
                return work(*args, **options)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - started

        return run

    places = ((model.encoder, "forward"), (model.sam, "encode"), (model.sam, "decode"))
    for place, name in places:
        said = "encoder" if name == "forward" else f"SAM 2 {name}"
        setattr(place, name, timed(said, getattr(place, name)))
    try:
        yield spent
    finally:
        for place, name in places:
            delattr(place, name)


def ap_row(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """AP and CPU seconds a picture, with the embedded models."""
    with tempfile.TemporaryDirectory() as folder:
        if what == "ap-demo":
            data = write_demo_dataset(folder)
            shown, truth, images = data.references, CocoFile.read(data.targets), data.root
        else:
            root = args.data / "fruits-nuts"
            shown, images = root / "annotations" / "train.json", root / "images"
            truth = CocoFile.read(root / "annotations" / "test.json")
        speed = {"compile": True} if engine == "compiled" else {"backend": engine}
        finder = Segmenter("lite2_photographs", "sam2_nano", precision=precision, device="cpu", **speed)  # type: ignore[arg-type]
        finder.add_coco(shown, images, shots=5)
        numbers = {category["name"]: category["id"] for category in truth.categories}
        ids = [numbers[name] for name in finder.classes]
        rows, started = [], time.process_time()
        for image in truth.images.values():
            rows += finder.predict(images / image.file_name).to_coco(image.id, ids)
        spent = (time.process_time() - started) / len(truth.images)
    scored = evaluate_coco(truth, rows)
    note = f"segm AP {100 * scored['segm/AP']:.1f}, AP50 {100 * scored['segm/AP50']:.1f}"
    return {"cpu_s": spent, "note": f"{note}, {len(truth.images)} pictures"}


ROWS = {"decoder": decoder_row, "whole": whole_row, "ap-demo": ap_row, "ap-fruits": ap_row}


def _network(what: str) -> Any:
    network: Network
    if what.startswith("sam2"):
        name = what.replace("sam2", "sam2" if what == "sam2_nano" else "sam2.1_hiera")
        network = build_sam2(name, None if what == "sam2_nano" else RANDOM).requires_grad_(False)
    else:
        network = build_encoder(EncoderConfig(what, allow_random_weights=what not in OWN_WEIGHTS), None)
    if what not in OWN_WEIGHTS:
        spread_weights(network)
    return network


def _picture(side: int) -> Tensor:
    """(1, 3, side, side)."""
    return to_square(Case(height=1024, width=1024).picture(), side)[None].contiguous()


def _memory() -> float:
    start_peak(CPU)
    return read_peak(CPU) or 0.0


def _shared(what: str, folder: Path, int8: bool) -> Path:
    """Where the graph lies; what torch gives in a ``.pt`` of the same name, and the graph in eight bits."""
    graph = folder / f"{what}.onnx"
    if not graph.with_suffix(".pt").exists():
        _in_a_process(what, "prepare", argparse.Namespace(graphs=folder))
    if int8 and not _quantised(graph).exists():
        _in_a_process(what, "quantise", argparse.Namespace(graphs=folder))
    return graph


def _in_a_process(what: str, task: str, args: argparse.Namespace) -> None:
    words = [sys.executable, "-m", "benchmarks.engine_rows", what, task, "--graphs", str(args.graphs)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def prepare(what: str, graph: Path) -> None:
    """Export a network, and note what torch makes of the picture."""
    network = _network(what)
    facts = sam2_facts(network) if what.startswith("sam2") else encoder_facts(network)
    export_image_graph(network, facts, graph)
    truth = truth_of(network)
    with torch.inference_mode():
        given = truth.compute(_picture(facts.side))
    torch.save((facts.side, truth.channels, given), graph.with_suffix(".pt"))


def _quantised(graph: Path) -> Path:
    return graph.with_name(f"{graph.stem}-int8.onnx")


def quantise_graph(what: str, graph: Path) -> None:
    """Calibrated on four generated scenes; the picture that is measured is not one of them."""
    side, *_ = torch.load(graph.with_suffix(".pt"))
    made = graph.with_name("partial.onnx")
    made.write_bytes(graph.read_bytes())
    scenes = [Case(height=512, width=512, seed=seed).picture() for seed in range(1, 5)]
    images = [to_square(scene, side)[None].contiguous() for scene in scenes]
    quantise(made, images, attention=not what.startswith("sam2"))
    made.replace(_quantised(graph))


def _compile(network: Network) -> None:
    if isinstance(network, FeatureEncoder):
        compile_encoders(network, _network("sam2_nano"))
    else:
        compile_encoders(_network("dinov3_nano"), network)


def main() -> None:
    """Measure, or make what is shared."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("what")
    parser.add_argument("engine", help="ENGINE:PRECISION; or prepare, quantise")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--graphs", type=Path, default=Path("graphs"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    engine, _, precision = args.engine.partition(":")
    if precision:
        print(json.dumps(measured(args.what, engine, precision, args.threads, args)))
    else:
        make = {"prepare": prepare, "quantise": quantise_graph}[engine]
        make(args.what, args.graphs / f"{args.what}.onnx")


if __name__ == "__main__":
    main()
