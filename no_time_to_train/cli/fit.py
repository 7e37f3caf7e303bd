"""``ntt fit``: an adapter of the references, kept where left-out images gain."""

from __future__ import annotations

import argparse
from typing import Any

from no_time_to_train.cli.segmenter_arguments import (
    add_model_arguments,
    add_reference_arguments,
    build_segmenter,
)

EXAMPLE = "Example: ntt fit --references refs/ --out adapter.safetensors"
CHOICES = ("part", "trainable", "rank", "learning_rate", "rounds", "steps", "folds")
"""Keys of ``fit_cfgs`` that are options here."""


def run(arguments: argparse.Namespace) -> int:
    """Learn a small change of SAM 2's mask decoder or of the encoder; write it if left-out images gain."""
    from no_time_to_train.config import FitConfig
    from no_time_to_train.errors import ConfigError
    from no_time_to_train.models.adapters.adapter_file import require_own
    from no_time_to_train.pl_wrapper.fit_module import plain_trainer, run_fit

    if arguments.references is None:
        raise ConfigError("say what to learn of: --references FOLDER")
    if arguments.learn or arguments.calibrate or arguments.memory:
        raise ConfigError("--learn, --calibrate and --memory are for ntt predict; leave them out")
    require_own(arguments.out)
    finder = build_segmenter(arguments)
    given = {name: getattr(arguments, name) for name in CHOICES}
    chosen = {name: value for name, value in given.items() if value is not None}
    how = FitConfig(**chosen, seed=arguments.seed)
    learned_of = finder.model, finder.references, how, finder.crop_options, finder.config.sam2_cfg_file
    run_fit(plain_trainer(finder.device), *learned_of, arguments.out, resume=arguments.resume)
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("fit", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument("--out", required=True, metavar="FILE", help="the adapter; for --adapter then")
    command.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    group = command.add_argument_group("training")
    parts = ("decoder", "encoder", "both")
    group.add_argument(
        "--part", choices=parts, help="SAM 2's mask decoder, the encoder's last blocks (decoder)"
    )
    group.add_argument("--trainable", choices=("adapter", "all"), help="low-rank changes, or all (adapter)")
    group.add_argument("--rank", type=int, help="of the changes (4)")
    group.add_argument("--learning-rate", type=float, help="at its highest (0.001; all: 0.0001)")
    group.add_argument("--rounds", type=int, help="after each the left-out images are searched (3)")
    group.add_argument("--steps", type=int, help="of a round (20)")
    group.add_argument("--folds", type=int, help="parts that images are left out in (3)")
    add_reference_arguments(command)
    add_model_arguments(command)
    command.set_defaults(run=run)
