"""``ntt demo``: photographs, then the whole chain on generated scenes."""

from __future__ import annotations

import argparse
import sys
import time
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.cli.segmenter_arguments import add_verbose

if TYPE_CHECKING:
    from no_time_to_train.scenes import DemoDataset


def run(arguments: argparse.Namespace) -> int:
    """Search photographs, then generated scenes of classes never trained on; write images and figures."""
    from no_time_to_train.cli.demo_photographs import describe, load_real_pictures, search_real_pictures
    from no_time_to_train.pl_wrapper.entry import main as run_lightning
    from no_time_to_train.runs.folder_lock import held
    from no_time_to_train.runs.once_a_day import for_screen
    from no_time_to_train.runs.run_notes import NANO_LIMITS
    from no_time_to_train.scenes import write_demo_dataset
    from no_time_to_train.words import Advice

    folder = Path(arguments.out)
    started = time.monotonic()
    with held(folder, "--out"):
        if arguments.photographs is None and find_spec("skimage") is None:
            print("no photographs: they come with scikit-image (pip install scikit-image)")
        elif arguments.photographs is not False:
            print(describe(search_real_pictures(folder, load_real_pictures())), flush=True)
        print(
            f"generated scenes with {arguments.shots} references per class -> {folder / 'data'}", flush=True
        )
        data = write_demo_dataset(
            folder / "data", seed=arguments.seed, num_targets=arguments.images, shots=arguments.shots
        )
    with as_file(files("no_time_to_train") / "pl_configs" / "demo.yaml") as config:
        common = ["--config", str(config), "--output_dir", str(folder), *_data_overrides(data)]
        common += ["--model.model_cfg.memory_bank_cfg.length", str(arguments.shots)]
        if arguments.staged:
            code = _run_staged(run_lightning, common, folder)
        else:
            code = run_lightning(["test", *common])
    if code == 0:
        print(f"report: {folder / 'report.html'}")
        print(f"images with masks: {folder / 'overlays'}; detections: {folder / 'predictions.json'}")
        print(f"{time.monotonic() - started:.0f} s in all")
        more = "Large models find more: ntt download --list"
        said = Advice(f"The small built-in models {NANO_LIMITS}. {more}", more)
        print(for_screen(said, sys.stdout, verbose=arguments.verbose))
    return code


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("demo", help=run.__doc__, description=f"{run.__doc__} Example: ntt demo")
    command.add_argument("--out", default="runs/demo", help="folder for data and results (%(default)s)")
    command.add_argument("--images", type=int, default=40, help="number of target scenes (%(default)s)")
    command.add_argument("--shots", type=int, default=5, help="references per class (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="seed of the scenes (%(default)s)")
    command.add_argument("--staged", action="store_true", help="three commands with files between them")
    command.add_argument(
        "--photographs",
        "--real",
        action=argparse.BooleanOptionalAction,
        help="search the photographs of scikit-image first (where it is installed)",
    )
    add_verbose(command)
    command.set_defaults(run=run)


def _data_overrides(data: DemoDataset) -> list[str]:
    words: list[str] = []
    for block, json_file in (("fill_memory", data.references), ("test", data.targets)):
        words += [f"--model.dataset_cfgs.{block}.root", str(data.root)]
        words += [f"--model.dataset_cfgs.{block}.json_file", str(json_file)]
    return words


def _run_staged(run_lightning: Any, common: list[str], folder: Path) -> int:
    """The three stages as three commands with files between them; the same numbers come out."""
    filled, ready = str(folder / "memory.ckpt"), str(folder / "memory_postprocessed.ckpt")
    for mode, paths in (
        ("fill_memory", ["--out_path", filled]),
        ("postprocess_memory", ["--ckpt_path", filled, "--out_path", ready]),
        ("test", ["--ckpt_path", ready]),
    ):
        started = time.monotonic()
        code = run_lightning(["test", *common, "--model.test_mode", mode, *paths])
        if code:
            return code
        print(f"{mode}: {time.monotonic() - started:.1f} s -> {paths[-1] if mode != 'test' else folder}")
    return 0
