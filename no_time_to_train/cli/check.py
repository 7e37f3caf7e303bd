"""``ntt check``: what is wrong with a configuration and its data, before anything long begins."""

from __future__ import annotations

import argparse
from typing import Any


def run(arguments: argparse.Namespace) -> int:
    """List everything that is wrong with a configuration and its data, without loading a model."""
    from no_time_to_train.config import DatasetConfigs, ModelConfig, parse_block
    from no_time_to_train.config.files import read_config
    from no_time_to_train.runs.preflight import find_problems

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


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    example = "Example: ntt check --config my.yaml --model.model_cfg.encoder_cfg.name dinov3_large"
    command = commands.add_parser("check", help=run.__doc__, description=f"{run.__doc__} {example}")
    command.add_argument("--config", required=True, help="YAML file, as for run_lightening.py")
    command.set_defaults(run=run)
