"""``python -m tools.soak``: many small runs that are killed, stopped, or run out of disk, and gone on with.

Runs of ``ntt predict``, ``run_lightening.py`` and ``ntt demo`` end at random moments by SIGKILL, SIGTERM,
SIGINT or a full disk, are gone on with until they end by themselves, and are compared with a run that
nothing happened to. Counted is what was lost: a finished picture that was searched again, a result that
differs, a file of somebody else that changed, a half file, a traceback.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import yaml

from no_time_to_train.scenes import DemoDataset, write_demo_dataset

FAST = {"points_per_side": 4, "iou_thr": 0.0, "img_size": 96}
VARYING = {"run.json", "log.txt", "report.html", "settings.json"}
"""Hold times, or what the command line was; everything else is the same to the byte."""

ENDS = ("kill", "kill", "kill", "terminate", "interrupt", "full disk")
SIGNALS = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "interrupt": signal.SIGINT}


@dataclass(frozen=True)
class Kind:
    """A command that is soaked.

    Attributes:
        words: of a first run into a folder.
        going_on: of one that goes on with it.
    """

    words: Callable[[Path], Sequence[str]]
    going_on: Sequence[str]


def kinds_of(data: DemoDataset) -> dict[str, Kind]:
    """The three commands on one small data set."""
    config = data.root / "soak.yaml"
    blocks = {
        "model_cfg": {
            "sam2_cfg_file": "sam2_nano",
            "encoder_cfg": {"name": "dinov3_nano", "img_size": FAST["img_size"]},
            "memory_bank_cfg": {"length": 1},
            "sam2_infer_cfgs": {"points_per_side": FAST["points_per_side"], "iou_thr": FAST["iou_thr"]},
        },
        "dataset_cfgs": {
            "fill_memory": {"root": str(data.root), "json_file": str(data.references)},
            "test": {"root": str(data.root), "json_file": str(data.targets)},
        },
        "data_load_cfgs": {"workers": 0},
    }
    trainer = {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}
    config.write_text(yaml.safe_dump({"trainer": trainer, "model": {"init_args": blocks}}))
    options = [f"--option={name}={value}" for name, value in FAST.items()]
    models = ["--encoder", "dinov3_nano", "--sam2", "sam2_nano", "--device", "cpu", *options]
    sources = ["--references", str(data.references), "--reference-images", str(data.root)]
    formats = ["--format", "coco,png,csv,yolo,labelme,overlay,html", "--min-score", "0"]
    return {
        "predict": Kind(
            lambda out: [
                "predict",
                *sources,
                "--images",
                str(data.images),
                "--out",
                str(out),
                *models,
                *formats,
            ],
            ["--resume"],
        ),
        "run_lightening": Kind(
            lambda out: [
                "lightning",
                "--config",
                str(config),
                "--output_dir",
                str(out),
                "--format",
                "png,overlay",
            ],
            ["--resume"],
        ),
        "demo": Kind(
            lambda out: ["demo", "--out", str(out), "--images", "1", "--shots", "1", "--no-photographs"], []
        ),
    }


def _run(words: Sequence[str], log: Path, kilobytes: int | None) -> None:
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    warnings.simplefilter("ignore")
    if kilobytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, resource.RLIM_INFINITY))
    if words[0] == "lightning":
        from no_time_to_train.pl_wrapper.entry import main
    else:
        from no_time_to_train.cli import main
    code = main([*words] if words[0] != "lightning" else [*words[1:]])
    sys.stdout.flush()
    os._exit(code)


def start(
    words: Sequence[str], log: Path, kilobytes: int | None = None
) -> multiprocessing.process.BaseProcess:
    """Begin a command in a process of its own, in which the libraries are loaded already."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(words, log, kilobytes))
    process.start()
    return process


def finished(out: Path) -> list[str]:
    """Names of the pictures that are recorded as finished, in the order in which they were."""
    names = []
    for path in sorted(out.glob("parts/part-*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            try:
                names.append(str(json.loads(line)["file_name"]))
            except ValueError:
                continue  # torn
    return names


def content(out: Path) -> dict[str, bytes]:
    """Every file whose bytes are the same after each run."""
    kept = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and path.name not in VARYING and not name.startswith((".ntt", "parts/")):
            kept[name] = path.read_bytes()
    return kept


def one_round(kind: Kind, whole: dict[str, bytes], took: float, random: Random, counts: Counter[str]) -> None:
    """One run that is ended at random moments until it ends by itself."""
    with tempfile.TemporaryDirectory() as place:
        out, log = Path(place) / "out", Path(place) / "log"
        out.mkdir()
        (out / "mine.txt").write_text("mine")
        (out / "masks").mkdir()
        (out / "masks" / "mine.png").write_bytes(b"mine")
        words = [*kind.words(out)]
        for attempt in range(random.randint(1, 3)):
            end = random.choice(ENDS)
            given = [*words, *(kind.going_on if attempt else [])]
            process = start(given, log, random.choice((1, 3, 6, 12, 40)) if end == "full disk" else None)
            process.join(60 if end == "full disk" else random.uniform(0.02, took))
            if process.is_alive() and end in SIGNALS and process.pid:
                os.kill(process.pid, SIGNALS[end])
            process.join(60)
            counts[end] += process.exitcode != 0
            counts["tracebacks"] += b"Traceback" in log.read_bytes()
            for path in [*out.rglob("*.json"), *out.rglob("*.jpg")]:
                counts["half files"] += not _is_whole(path)
            before = finished(out)
            if process.exitcode == 0:
                break
        if process.exitcode != 0:
            process = start([*words, *kind.going_on], log)
            process.join()
        counts["tracebacks"] += b"Traceback" in log.read_bytes()
        counts["runs that did not end well"] += process.exitcode != 0
        after = finished(out)
        if kind.going_on:
            counts["finished pictures searched again"] += after[: len(before)] != before
            counts["finished pictures searched again"] += len(after) - len(set(after))
        found = content(out)
        counts["files of others changed"] += found.pop("mine.txt", b"") != b"mine"
        counts["files of others changed"] += found.pop("masks/mine.png", b"") != b"mine"
        counts["results that differ"] += found != whole
        counts["rounds"] += 1


def _is_whole(path: Path) -> bool:
    if path.suffix == ".jpg":
        return path.read_bytes().endswith(b"\xff\xd9")
    try:
        json.loads(path.read_text("utf-8"))
    except ValueError:
        return False
    return True


LOST = (
    "tracebacks",
    "half files",
    "runs that did not end well",
    "finished pictures searched again",
    "files of others changed",
    "results that differ",
)


def main(words: list[str] | None = None) -> int:
    """Run, print counts, and return 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="at most (%(default)s)")
    parser.add_argument("--ends", type=int, default=200, help="kills, signals and full disks (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(words)
    import no_time_to_train.api
    import no_time_to_train.pl_wrapper.lightning_cli  # noqa: F401  # so that no run waits for it

    until, random = time.monotonic() + 60 * arguments.minutes, Random(arguments.seed)
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as place:
        data = write_demo_dataset(Path(place) / "data", num_targets=4, num_classes=2, shots=1, size=96)
        kinds, wholes = kinds_of(data), {}
        for name, kind in kinds.items():
            out, started = Path(place) / name, time.monotonic()
            process = start(kind.words(out), Path(place) / "log")
            process.join()
            if process.exitcode:
                print((Path(place) / "log").read_text())
                return 1
            wholes[name] = (content(out), time.monotonic() - started)
            shutil.rmtree(out)
            counts[name] = Counter()
        while time.monotonic() < until and _ended(counts) < arguments.ends:
            name = random.choice([*kinds])
            one_round(kinds[name], *wholes[name], random, counts[name])
    for name, found in counts.items():
        ends = ", ".join(f"{found[end]} {end}" for end in dict.fromkeys(ENDS))
        print(
            f"{name}: {found['rounds']} runs, ended early {sum(found[e] for e in set(ENDS))} times ({ends})"
        )
        for what in LOST:
            print(f"    {found[what]:4} {what}")
    lost = sum(found[what] for found in counts.values() for what in LOST)
    print(f"{_ended(counts)} ends, {lost} losses")
    return int(lost > 0)


def _ended(counts: dict[str, Counter[str]]) -> int:
    return sum(found[end] for found in counts.values() for end in set(ENDS))


if __name__ == "__main__":
    sys.exit(main())
