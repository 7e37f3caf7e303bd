"""What ``ntt predict`` leaves behind beside the results: the report, ``run.json``, and a word at the end."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.words import counted, listed

if TYPE_CHECKING:
    from no_time_to_train.api import Segmenter
    from no_time_to_train.runs.found_images import FoundImages


def write_html(
    arguments: argparse.Namespace,
    finder: Segmenter,
    found: FoundImages,
    timings: dict[str, float],
    folder: Path,
    notes: list[str],
) -> None:
    """``report.html``, with the references as the encoder saw them, which are kept for later reports."""
    from no_time_to_train.cli.reference_pictures import report_references
    from no_time_to_train.runs import run_folder
    from no_time_to_train.runs.kept_references import keep_references

    references = report_references(finder)
    keep_references(folder, references)
    run_folder.write_html(
        folder,
        found,
        timings,
        _public(arguments),
        references=references,
        notes=notes,
        min_score=arguments.min_score,
        pixel_size=arguments.pixel_size,
    )


def notes(finder: Segmenter, found: FoundImages, said: list[str], min_score: float) -> list[str]:
    """What the reader of the results must know first.

    Args:
        said: warnings of the run.
    """
    from no_time_to_train.runs.run_notes import notes_of

    own = notes_of((finder.config.encoder_cfg.name, finder.config.sam2_cfg_file), said)
    if found.unread:
        own.append(f"Could not be read and were skipped: {listed(found.unread, 10)}")
    cut = found.cut_from(min_score)
    if cut:
        own.append(_cut_note(finder, cut))
    return own


def _cut_note(finder: Segmenter, names: list[str]) -> str:
    from no_time_to_train.config import Sam2InferConfig

    most = (finder.config.sam2_infer_cfgs or Sam2InferConfig()).num_out_instance
    return (
        f"{counted(len(names), 'image')} had more instances than are kept ({most}), so counts are too low: "
        f"{listed(names, 5)}; --option num_out_instance={10 * most} keeps more"
    )


def describe(
    arguments: argparse.Namespace,
    finder: Segmenter,
    settings: dict[str, Any],
    timings: dict[str, float],
    unread: list[str],
    notes: list[str],
    folder: Path,
) -> None:
    """``run.json``: what is needed to repeat the run and to trust it."""
    from no_time_to_train.runs.run_folder import describe_run

    facts = {"settings": settings, "unreadable": unread, "class_names": list(finder.classes), "notes": notes}
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
    total = counted(sum(counts.values()), "instance")
    lines = [f"{counted(len(found), 'image')}, {total} with a score from {arguments.min_score:g} on ({each})"]
    if found.unread:
        lines.append(f"{len(found.unread)} could not be read: {listed(found.unread, 5)}")
    cut = found.cut_from(arguments.min_score)
    if cut:
        lines.append(_cut_note(finder, cut))
    return "\n".join([*lines, f"results: {arguments.out}"])
