"""``ntt check``: what is wrong with a configuration and its data, before anything long begins."""

from __future__ import annotations

import argparse
from typing import Any

from no_time_to_train.words import counted

WRONG = 2
"""Exit code for all that the user can mend, as of every command."""


def run(arguments: argparse.Namespace) -> int:
    """List everything that is wrong with a configuration and its data, without loading a model."""
    from no_time_to_train.config import DatasetConfigs, ModelConfig, parse_block
    from no_time_to_train.config.files import read_with_problems
    from no_time_to_train.runs.preflight import Problem, find_problems

    blocks, wrong = read_with_problems(["--config", arguments.config, *arguments.overrides])
    model = None if wrong["model_cfg"] else parse_block(ModelConfig, blocks.get("model_cfg"), "model_cfg")
    data = parse_block(DatasetConfigs, blocks.get("dataset_cfgs"), "dataset_cfgs")
    problems = [Problem(text) for texts in wrong.values() for text in texts]
    problems += find_problems(model, data, _output_dir(arguments.config))
    for problem in problems:
        print(f"{'error' if problem.fatal else 'warning'}: {problem.text}")
    fatal = sum(problem.fatal for problem in problems)
    print(f"{counted(fatal, 'error')}, {counted(len(problems) - fatal, 'warning')}")
    return WRONG if fatal else 0


def _output_dir(config: str) -> str:
    """Where a run with this file would write."""
    from no_time_to_train.config.yaml_files import read_yaml

    return str(read_yaml(config).get("output_dir", "runs"))


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    example = "Example: ntt check --config my.yaml --model.model_cfg.encoder_cfg.name dinov3_large"
    command = commands.add_parser("check", help=run.__doc__, description=f"{run.__doc__} {example}")
    command.add_argument("--config", required=True, help="YAML file, as for run_lightening.py")
    command.set_defaults(run=run)
