"""The ``ntt`` command: demo, check. Each is a thin layer over what Python can call as well."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from no_time_to_train.errors import NoTimeToTrainError

if TYPE_CHECKING:
    from no_time_to_train.dataset.scenes import DemoDataset


def demo(arguments: argparse.Namespace) -> int:
    """Generate scenes of classes that were never trained on, find the objects, print AP, write pictures."""
    from no_time_to_train.dataset.scenes import write_demo_dataset
    from no_time_to_train.pl_wrapper.lightning_cli import main as run

    folder = Path(arguments.out)
    started = time.monotonic()
    print(f"generated scenes with {arguments.shots} references per class -> {folder / 'data'}", flush=True)
    data = write_demo_dataset(
        folder / "data", seed=arguments.seed, num_targets=arguments.images, shots=arguments.shots
    )
    with as_file(files("no_time_to_train") / "pl_configs" / "demo.yaml") as config:
        common = ["--config", str(config), "--output_dir", str(folder), *_data_overrides(data)]
        common += ["--model.model_cfg.memory_bank_cfg.length", str(arguments.shots)]
        code = _run_staged(run, common, folder) if arguments.staged else run(["test", *common])
    if code == 0:
        print(f"pictures with masks: {folder / 'overlays'}; detections: {folder / 'predictions.json'}")
        print(f"{time.monotonic() - started:.0f} s in all")
        print(
            "The nano weights were trained on generated scenes: for trying out and for tests. "
            "Take the large weights for photographs (README.md)."
        )
    return code


def check(arguments: argparse.Namespace) -> int:
    """List everything that is wrong with a configuration and its data, without loading a model."""
    from no_time_to_train.config import DatasetConfigs, ModelConfig, parse_block
    from no_time_to_train.pl_wrapper.config_files import read_config
    from no_time_to_train.pl_wrapper.preflight import find_problems

    config = read_config(["--config", arguments.config, *arguments.overrides])
    blocks = config["model"]["init_args"]
    problems = find_problems(
        parse_block(ModelConfig, blocks.get("model_cfg"), "model_cfg"),
        parse_block(DatasetConfigs, blocks.get("dataset_cfgs"), "dataset_cfgs"),
        config.get("output_dir", "runs"),
    )
    for problem in problems:
        print(f"{'error' if problem.fatal else 'warning'}: {problem.text}")
    fatal = sum(problem.fatal for problem in problems)
    print(f"{fatal} errors, {len(problems) - fatal} warnings")
    return 1 if fatal else 0


def _data_overrides(data: DemoDataset) -> list[str]:
    words: list[str] = []
    for block, json_file in (("fill_memory", data.references), ("test", data.targets)):
        words += [f"--model.dataset_cfgs.{block}.root", str(data.images)]
        words += [f"--model.dataset_cfgs.{block}.json_file", str(json_file)]
    return words


def _run_staged(run, common: list[str], folder: Path) -> int:  # type: ignore[no-untyped-def]
    """The three stages as three commands with files between them; the same numbers come out."""
    filled, ready = str(folder / "memory.ckpt"), str(folder / "memory_postprocessed.ckpt")
    for mode, paths in (
        ("fill_memory", ["--out_path", filled]),
        ("postprocess_memory", ["--ckpt_path", filled, "--out_path", ready]),
        ("test", ["--ckpt_path", ready]),
    ):
        code = run(["test", *common, "--model.test_mode", mode, *paths])
        if code:
            return code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ntt", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("demo", help=demo.__doc__, description=f"{demo.__doc__} Example: ntt demo")
    command.add_argument("--out", default="runs/demo", help="folder for data and results (%(default)s)")
    command.add_argument("--images", type=int, default=40, help="number of target scenes (%(default)s)")
    command.add_argument("--shots", type=int, default=5, help="references per class (%(default)s)")
    command.add_argument("--seed", type=int, default=0, help="seed of the scenes (%(default)s)")
    command.add_argument("--staged", action="store_true", help="three commands with files between them")
    command.set_defaults(run=demo)
    command = commands.add_parser("check", help=check.__doc__, description=check.__doc__)
    command.add_argument("--config", required=True, help="YAML file, as for run_lightening.py")
    command.set_defaults(run=check)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run one ``ntt`` command; errors that the user can mend come as one sentence and exit code 2."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(words)
    if rest and arguments.run is not check:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.overrides = rest
    try:
        return arguments.run(arguments)
    except NoTimeToTrainError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
