"""What each engine takes and changes: networks, a whole picture and AP, one table by one command.

    python -m benchmarks.engines --networks dinov3_small sam2_tiny whole --threads 1 2

Each row is a process of its own and is printed when it is done. Large networks have random weights, under
which every part has a say; the nano models have theirs. CPU s and wall s: of one picture, the best of
--repeats. MB: highest memory above what the process had before the network was opened, weights included.
Cosine: mean and lowest of any place, against torch in fp32, of the worst output. Rows:

- a preset, or sam2_<size>: its image encoder;
- decoder: 64 points of SAM 2 large by our decoder in torch, or by its graph;
- whole: a picture at the published size (DINOv2-L, SAM 2-L, 1024 points), and the instances found again;
- ap-demo, ap-fruits (needs --data): AP with the embedded models, five references of a class.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from no_time_to_train import Segmenter
from no_time_to_train.bench.stages import fast_path
from no_time_to_train.bench.stages.case import Case, make_bank, set_threshold
from no_time_to_train.bench.stages.costs import measure, read_peak, start_peak
from no_time_to_train.bench.stages.meter import Meter
from no_time_to_train.bench.stages.random_weights import spread_weights
from no_time_to_train.config import EncoderConfig, EngineConfig
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.models.encoders.feature_encoder import build_encoder
from no_time_to_train.models.engines.agreement import agreement
from no_time_to_train.models.engines.backends import Network, truth_of, use_backend
from no_time_to_train.models.engines.compiled import compile_encoders
from no_time_to_train.models.engines.export import export_decoder, export_image_graph
from no_time_to_train.models.engines.graph import encoder_facts, sam2_facts
from no_time_to_train.models.engines.int8 import quantise
from no_time_to_train.models.engines.sessions import decoder_session, open_session
from no_time_to_train.models.sam.build import RANDOM, build_sam2
from no_time_to_train.models.sam.prompts import point_prompts
from no_time_to_train.pipeline.graphs import found_again
from no_time_to_train.preprocess import to_square
from no_time_to_train.scenes import write_demo_dataset

Row = dict[str, Any]
CPU = torch.device("cpu")
COLUMNS = ("what", "engine", "precision", "threads", "cpu_s", "wall_s", "mb", "file_mb", "cosine", "note")
ENGINES = (
    *(("torch", "fp32"), ("torch", "bf16"), ("compiled", "fp32"), ("compiled", "bf16")),
    *(("onnxruntime", "fp32"), ("onnxruntime", "int8")),
    *(("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")),
)
NETWORKS = ("dinov3_small", "dinov3_base", "dinov3_large", "sam2_nano", "sam2_tiny", "sam2_large", "decoder")


def network_row(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """An image encoder on one picture."""
    network, facts = _network(what)
    picture = to_square(Case(height=1024, width=1024).picture(), facts.side)[None].contiguous()
    truth, row = truth_of(network), {}
    with torch.no_grad():
        expected = truth.compute(picture)
    start_peak(CPU)
    before = read_peak(CPU) or 0.0
    call: Callable[[], Any]
    if engine in ("torch", "compiled"):
        bf16 = precision == "bf16"
        if bf16 and not what.startswith("sam2"):
            network.to(torch.bfloat16)
        if engine == "compiled":
            _compile(network)
        short = torch.autocast("cpu", torch.bfloat16) if bf16 and what.startswith("sam2") else nullcontext()
        call = lambda: truth.compute(picture)  # noqa: E731
    else:
        path = args.graphs / facts.name
        if not path.exists():
            export_image_graph(network, facts, path)
        if precision == "int8":
            path = _quantised(path, facts.side, not what.startswith("sam2"))
        hint = "fp32" if precision == "int8" else precision
        session = open_session(path, engine, hint, EngineConfig(threads=threads))  # type: ignore[arg-type]
        short, row["file_mb"] = nullcontext(), path.stat().st_size / 1e6
        call = lambda: [torch.from_numpy(part) for part in session(picture.numpy())]  # noqa: E731
    with torch.inference_mode(), short:
        started = time.perf_counter()
        found = [part.float() for part in call()]
        first = time.perf_counter() - started
        cost, _ = measure(call, CPU, args.repeats)
    seen = agreement(found, expected, truth.channels)
    note = f"first call {first:.0f} s" if engine == "compiled" else ""
    cosine = f"{seen.cosine:.6f}, {seen.lowest:.4f}"
    row |= {"cpu_s": cost.cpu, "wall_s": cost.wall, "mb": (cost.peak_mb or 0) - before, "cosine": cosine}
    return row | {"note": note}


def decoder_row(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """64 points of one embedding, each with its best mask."""
    sam, row = _network("sam2_large")[0], {}
    points, batch = torch.rand(64, 2, generator=torch.Generator().manual_seed(0)) * 1024, 8
    with torch.inference_mode():
        embedding = sam.encode(to_square(Case(height=1024, width=1024).picture(), 1024)[None])[0]
        expected = sam.decode(embedding, point_prompts(points)).logits
        if engine == "torch":
            sam.precision = torch.bfloat16 if precision == "bf16" else None
            call: Callable[[], Any] = lambda: sam.decode(embedding, point_prompts(points)).logits  # noqa: E731
        elif (engine, precision) == ("onnxruntime", "fp32"):
            path = args.graphs / sam2_facts(sam, "decoder").name
            if not path.exists():
                export_decoder(sam, sam2_facts(sam, "decoder"), path, batch)
            decode, row["file_mb"] = decoder_session(path, threads), path.stat().st_size / 1e6
            shared = [part.numpy() for part in (embedding.image, *embedding.high_res)]

            def call() -> Any:
                parts = [decode(*shared, piece.numpy())[1] for piece in points.split(batch)]
                return torch.cat([torch.from_numpy(part) for part in parts])
        else:
            return {"note": "not offered"}
        found = call()
        cost, _ = measure(call, CPU, args.repeats)
    iou = ((found > 0) & (expected > 0)).sum() / ((found > 0) | (expected > 0)).sum()
    return row | {"cpu_s": cost.cpu, "wall_s": cost.wall, "note": f"IoU of all masks {float(iou):.5f}"}


def whole_row(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """A picture at the published size, against torch in fp32 in the same process."""
    case = Case("real", random_weights=True)
    model, picture = case.model(CPU), case.picture()
    with torch.inference_mode():
        seen = fast_path.see(model, picture, Meter(CPU, tqdm(disable=True), "", 1, count=False))
        bank, _ = make_bank(case, seen.features)
        set_threshold(model, seen.embedding, torch.arange(len(fast_path.grid_points(model))))
        plain, expected = measure(lambda: model.segment(picture, bank), CPU)
        use_backend(model.encoder, model.sam, engine, precision, EngineConfig(threads=threads))  # type: ignore[arg-type]
        if precision == "bf16":
            model.sam.precision = torch.bfloat16
        model.segment(picture, bank)  # exports, checks
        cost, found = measure(lambda: model.segment(picture, bank), CPU)
    again = found_again([found], [expected])
    note = f"torch fp32 {plain.cpu:.1f} CPU s; of its {len(expected)} instances found again {again:.3f}"
    return {"cpu_s": cost.cpu, "wall_s": cost.wall, "note": note}


def ap_row(what: str, engine: str, precision: str, threads: int, args: argparse.Namespace) -> Row:
    """AP and CPU seconds a picture, with the embedded models."""
    with tempfile.TemporaryDirectory() as folder:
        if what == "ap-demo":
            data = write_demo_dataset(folder)
            shown, truth, images = data.references, CocoFile.read(data.targets), data.root
        else:
            root = args.data / "fruits-nuts"
            shown, truth = (
                root / "annotations" / "train.json",
                CocoFile.read(root / "annotations" / "test.json"),
            )
            images = root / "images"
        finder = Segmenter(
            "lite2_photographs", "sam2_nano", backend=engine, precision=precision, device="cpu"
        )
        finder.add_coco(shown, images, shots=5)
        numbers = {category["name"]: category["id"] for category in truth.categories}
        ids = [numbers[name] for name in finder.classes]
        rows, started = [], time.process_time()
        for image in truth.images.values():
            rows += finder.predict(images / image.file_name).to_coco(image.id, ids)
        spent = (time.process_time() - started) / len(truth.images)
    scored = evaluate_coco(truth, rows)
    note = f"segm AP {100 * scored['segm/AP']:.1f}, AP50 {100 * scored['segm/AP50']:.1f}"
    return {"cpu_s": spent, "note": note}


def _network(what: str) -> tuple[Any, Any]:
    network: Network
    if what.startswith("sam2"):
        name = "sam2_nano" if what == "sam2_nano" else f"{what.replace('sam2', 'sam2.1_hiera')}"
        network = build_sam2(name, None if what == "sam2_nano" else RANDOM).requires_grad_(False)
    else:
        network = build_encoder(EncoderConfig(what, allow_random_weights=True), None)
    if what not in ("sam2_nano", "dinov3_nano", "lite2_photographs"):
        spread_weights(network)
    return network, sam2_facts(network) if what.startswith("sam2") else encoder_facts(network)


def _compile(network: Any) -> None:
    sam = network if hasattr(network, "image_encoder") else build_sam2("sam2_nano", None)
    encoder = build_encoder(EncoderConfig("dinov3_nano"), None) if sam is network else network
    compile_encoders(encoder, sam)


def _quantised(path: Path, side: int, attention: bool) -> Path:
    """Calibrated on four generated scenes; the picture that is measured is not one of them."""
    made = path.with_name(path.name.replace("fp32", "int8"))
    if not made.exists():
        scenes = [Case(height=512, width=512, seed=seed).picture() for seed in range(1, 5)]
        made.write_bytes(path.read_bytes())
        quantise(made, [to_square(scene, side)[None].contiguous() for scene in scenes], attention=attention)
    return made


ROWS = {"decoder": decoder_row, "whole": whole_row, "ap-demo": ap_row, "ap-fruits": ap_row}


def line(row: Row) -> str:
    """In Markdown."""
    cells = [row.get(column, "") for column in COLUMNS]
    return f"| {' | '.join(f'{cell:.3g}' if isinstance(cell, float) else str(cell) for cell in cells)} |"


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--engines", nargs="+", default=[":".join(pair) for pair in ENGINES])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--graphs", type=Path, default=Path("graphs"), help="where graphs are kept")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, help="also write all rows there, as JSON")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    args = parse_args()
    if args.one:
        (what,), (engine,), (threads,) = args.networks, args.engines, args.threads
        engine, _, precision = engine.partition(":")
        torch.set_num_threads(threads)
        print(json.dumps(ROWS.get(what, network_row)(what, engine, precision, threads, args)))
        return
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    rows = []
    for what in args.networks:
        for engine in args.engines:
            for threads in args.threads:
                words = ["--networks", what, "--engines", engine, "--threads", str(threads), "--one"]
                words += [
                    "--repeats",
                    str(args.repeats),
                    "--graphs",
                    str(args.graphs),
                    "--data",
                    str(args.data),
                ]
                command = [sys.executable, "-m", "benchmarks.engines", *words]
                done = subprocess.run(command, capture_output=True, text=True)
                told = done.stdout.strip().splitlines()[-1:] if done.returncode == 0 else []
                why = (done.stderr.strip().splitlines() or ["no word"])[-1][:200].replace("|", "/")
                row = json.loads(told[0]) if told else {"note": why}
                name, _, precision = engine.partition(":")
                rows.append({"what": what, "engine": name, "precision": precision, "threads": threads, **row})
                print(line(rows[-1]), flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
