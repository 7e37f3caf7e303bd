"""``ntt download``: fetch published weights, once, into the folder that all projects of a user share."""

from __future__ import annotations

import argparse
from typing import Any


def run(arguments: argparse.Namespace) -> int:
    """Fetch weights by name, resumed when cut and checked; --list shows what there is."""
    if arguments.list or not arguments.names:
        print(_table())
        return 0
    from no_time_to_train.weights.locate import find_weights
    from no_time_to_train.weights.on_this_machine import local_weights

    for name, entry in [(name, _entry(name)) for name in arguments.names]:  # all names first
        there = local_weights(entry)
        print(f"{name}: {there or find_weights('auto', entry, name)}{' (was there)' if there else ''}")
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    example = "Example: ntt download dinov2_large sam2.1_hiera_large"
    command = commands.add_parser("download", help=run.__doc__, description=f"{run.__doc__} {example}")
    command.add_argument("names", nargs="*", help="encoder presets, SAM 2 names, or names of --list")
    command.add_argument("--list", action="store_true", help="show all names, sizes, licences, what is there")
    command.set_defaults(run=run)


def _entry(name: str) -> str:
    """Catalogue entry of a preset, a SAM 2 name or an entry."""
    from no_time_to_train.errors import ConfigError, did_you_mean
    from no_time_to_train.models.encoders.encoder_registry import ALIASES, ENCODERS
    from no_time_to_train.weights.catalogue import CATALOGUE
    from no_time_to_train.weights.sam2_models import sam2_entry

    if name in CATALOGUE:
        return name
    spec = ENCODERS.get(ALIASES.get(name, name))
    if spec is not None and spec.weights is not None:
        return spec.weights
    if name.startswith("sam2"):
        return sam2_entry(name)
    known = [*(each.name for each in ENCODERS.values() if each.weights), *CATALOGUE]
    raise ConfigError(f"no weights are known by the name {name!r}{did_you_mean(name, known)}; see --list")


def _table() -> str:
    from no_time_to_train.models.encoders.encoder_registry import ENCODERS
    from no_time_to_train.weights.catalogue import CATALOGUE
    from no_time_to_train.weights.on_this_machine import local_weights, weights_folders

    preset = {spec.weights: name for name, spec in ENCODERS.items() if spec.weights}
    lines = [("name", "file", "about", "licence", "here")]
    for name, entry in CATALOGUE.items():
        size = f"{4 * entry.parameters / 1e9:.1f} GB" if entry.parameters else ""
        there = "shipped" if entry.embedded else str(local_weights(name) or "")
        lines.append((preset.get(name, name), entry.file, size, entry.licence, there))
    folders = ", ".join(str(folder) for folder in weights_folders())
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return "\n".join([*(row.rstrip() for row in rows), f"folders: {folders}"])
