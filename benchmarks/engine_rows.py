"""One row of ``benchmarks.engines``, measured in a process of its own; prints it as JSON.

    python -m benchmarks.engine_rows dinov3_small openvino:bf16 --threads 1

What several rows share is made first, in a process of its own too, and lies in ``--graphs``: of a network the
graph, that in eight bits, and what torch gives for the picture in fp32; of a whole picture what torch finds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.engine_networks import (
    compile_network,
    in_a_process,
    network_of,
    picture_of,
    prepare,
    quantise_graph,
    quantised,
    shared,
)
from no_time_to_train import Segmenter
from no_time_to_train.bench.stages.case import Case, make_bank, set_threshold
from no_time_to_train.bench.stages.costs import measure, read_peak, start_peak
from no_time_to_train.bench.stages.fast_path import grid_of, grid_points
from no_time_to_train.config import EngineConfig
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.engines.agreement import agreement
from no_time_to_train.models.engines.backends import truth_of, use_backend
from no_time_to_train.models.engines.export import export_decoder
from no_time_to_train.models.engines.graph import sam2_facts
from no_time_to_train.models.engines.sessions import decoder_session, open_session
from no_time_to_train.models.proposals.point_grid import half_cell_grid
from no_time_to_train.models.sam.prompts import ImageEmbedding, point_prompts
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.graphs import GRID, found_again, mean_iou
from no_time_to_train.scenes import write_demo_dataset

Row = dict[str, Any]
CPU = torch.device("cpu")
POINTS, BATCH = 64, 8
"""Of the decoder's row, and of one call of its graph."""


def measured(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """The figures of a row."""
    return ROWS.get(what, network_row)(what, engine, precision, threads, args)


def network_row(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """An image encoder on one picture."""
    graph = shared(what, args.graphs, precision == "int8")
    side, axis, expected = torch.load(graph.with_suffix(".pt"))
    picture, row = picture_of(side), Row()
    before, short = _memory(), nullcontext()
    call: Callable[[], Sequence[Tensor]]
    if engine in ("torch", "compiled"):
        network = network_of(what)
        if precision == "bf16" and isinstance(network, FeatureEncoder):
            network.backbone.to(torch.bfloat16)
        elif precision == "bf16":
            short = torch.autocast("cpu", torch.bfloat16)
        if engine == "compiled":
            compile_network(network)
        truth = truth_of(network)
        call = lambda: truth.compute(picture)  # noqa: E731
    else:
        path = quantised(graph) if precision == "int8" else graph
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
    sam, row = network_of("sam2_tiny"), Row()
    points = torch.rand(POINTS, 2, generator=torch.Generator().manual_seed(0)) * sam.image_size
    with torch.inference_mode():
        embedding = sam.encode(picture_of(sam.image_size))[0]
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
        in_a_process("whole", "torch:fp32", args)
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
    note += f"; masks of the same {GRID**2} points: mean IoU {_masks_alike(model, outputs, exact[1]):.4f}"
    note += f"; of {len(exact[2])} instances found again {found_again([found], [exact[2]]):.3f}"
    row = {"cpu_s": cost.cpu, "wall_s": cost.wall, "mb": (cost.peak_mb or 0) - before, "note": note}
    return row | {"cosine": f"encoder {cosines[0]:.5f}, SAM 2 {cosines[1]:.5f}"}


def _masks_alike(model: ReferenceSegmenter[Any], outputs: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """Mean IoU of the model's masks with those in fp32, image encoder and decoder together."""
    asked, logits = point_prompts(half_cell_grid(GRID, model.sam.image_size)), []
    with torch.inference_mode():
        for coarse, *high_res in (outputs, exact):
            embedding = ImageEmbedding(coarse, (high_res[0], high_res[1]))
            logits.append(model.sam.decode(embedding, asked, tokens="single").logits)
            model.sam.precision = None
    return mean_iou(*logits)


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


def _memory() -> float:
    start_peak(CPU)
    return read_peak(CPU) or 0.0


def main() -> None:
    """Measure, or make what is shared."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("what")
    parser.add_argument("engine", help="ENGINE:PRECISION; or prepare, quantise")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--graphs", type=Path, default=Path("runs/graphs"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)  # SAM 2 draws its code of positions too, which is no parameter
    engine, _, precision = args.engine.partition(":")
    if precision:
        print(json.dumps(measured(args.what, engine, precision, args.threads, args)))
    else:
        make = {"prepare": prepare, "quantise": quantise_graph}[engine]
        make(args.what, args.graphs / f"{args.what}.onnx")


if __name__ == "__main__":
    main()
