"""What ``ntt predict`` leaves behind beside the results: the report, ``run.json``, and a word at the end."""

from __future__ import annotations

import argparse
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
        _public(arguments),
        references=report_references(finder),
        notes=_notes(finder, found.unread),
        min_score=arguments.min_score,
    )


def _notes(finder: Segmenter, unread: list[str]) -> list[str]:
    from no_time_to_train.api.settings import NANO_LIMITS, is_embedded

    notes = []
    used = (finder.config.encoder_cfg.name, finder.config.sam2_cfg_file)
    nano = [name for name in used if is_embedded(name)]
    if nano:
        notes.append(
            f"{' and '.join(nano)}: {NANO_LIMITS}. "
            "Large weights: ntt download dinov2_large sam2.1_hiera_large"
        )
    if unread:
        notes.append(f"Could not be read and were skipped: {', '.join(unread[:10])}{_more(unread, 10)}")
    return notes


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

    facts = {"settings": settings, "unreadable": unread, "class_names": list(finder.classes)}
    describe_run(folder, _public(arguments), timings, device=str(finder.device), **facts)


def _public(arguments: argparse.Namespace) -> dict[str, Any]:
    return {key: value for key, value in vars(arguments).items() if key not in ("run", "overrides")}


def summary(arguments: argparse.Namespace, finder: Segmenter, found: FoundImages) -> str:
    """What was found, in a few lines."""
    counts = dict.fromkeys(finder.classes, 0)
    for item in found:
        for label in item.labels[item.scores >= arguments.min_score].tolist():
            counts[finder.classes[label]] += 1
    each = ", ".join(f"{name} {count}" for name, count in counts.items())
    lines = [
        f"{len(found)} images, {sum(counts.values())} instances of at least {arguments.min_score:g} ({each})"
    ]
    if found.unread:
        names = ", ".join(found.unread[:5])
        lines.append(f"{len(found.unread)} could not be read: {names}{_more(found.unread, 5)}")
    return "\n".join([*lines, f"results: {arguments.out}"])


def _more(names: list[str], shown: int) -> str:
    return f" and {len(names) - shown} more" if len(names) > shown else ""
