"""What ``ntt predict`` leaves behind beside the results: the report, ``run.json``, and a word at the end."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from no_time_to_train.api import Segmenter
    from no_time_to_train.runs.found_images import FoundImages


def write_html(
    arguments: argparse.Namespace,
    finder: Segmenter,
    found: FoundImages,
    timings: dict[str, float],
    folder: Path,
) -> None:
    """``report.html``, with the references as the encoder saw them."""
    from no_time_to_train.cli.reference_pictures import report_references
    from no_time_to_train.runs import run_folder

    run_folder.write_html(
        folder,
        found,
        timings,
        public(arguments),
        references=report_references(finder),
        notes=notes((finder.config.encoder_cfg.name, finder.config.sam2_cfg_file), found.unread),
        min_score=arguments.min_score,
    )


def notes(networks: Sequence[str], unread: list[str]) -> list[str]:
    """What a reader of the report has to know: the limits of small models, and what could not be read."""
    from no_time_to_train.api.settings import NANO_LIMITS, is_embedded

    said = []
    nano = [name for name in networks if is_embedded(name)]
    if nano:
        said.append(
            f"{' and '.join(nano)}: {NANO_LIMITS}. "
            "Large weights: ntt download dinov2_large sam2.1_hiera_large"
        )
    if unread:
        said.append(f"Could not be read and were skipped: {', '.join(unread[:10])}{_more(unread, 10)}")
    return said


def describe(
    arguments: argparse.Namespace,
    finder: Segmenter,
    settings: dict[str, Any],
    timings: dict[str, float],
    unread: list[str],
    folder: Path,
) -> None:
    """``run.json``: what is needed to repeat the run and to trust it."""
    from no_time_to_train.runs.run_folder import describe_run

    facts = {
        "settings": settings,
        "unreadable": unread,
        "class_names": list(finder.classes),
        "category_ids": list(finder.memory.category_ids),
    }
    describe_run(folder, public(arguments), timings, device=str(finder.device), **facts)


def public(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as ``run.json`` has it."""
    return {key: value for key, value in vars(arguments).items() if key not in ("run", "overrides")}


def summary(found: FoundImages, min_score: float, out: str | Path) -> str:
    """What was found, in a few lines."""
    counts = dict.fromkeys(found.class_names, 0)
    for item in found:
        for label in item.labels[item.scores >= min_score].tolist():
            counts[found.class_names[label]] += 1
    each = ", ".join(f"{name} {count}" for name, count in counts.items())
    lines = [f"{len(found)} images, {sum(counts.values())} instances of at least {min_score:g} ({each})"]
    if found.unread:
        names = ", ".join(found.unread[:5])
        lines.append(f"{len(found.unread)} could not be read: {names}{_more(found.unread, 5)}")
    return "\n".join([*lines, f"results: {out}"])


def _more(names: list[str], shown: int) -> str:
    return f" and {len(names) - shown} more" if len(names) > shown else ""
