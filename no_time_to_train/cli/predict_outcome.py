"""What ``ntt predict`` leaves behind beside the results: the report, ``run.json``, and a word at the end."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.words import counted, listed

if TYPE_CHECKING:
    from no_time_to_train.api import Segmenter
    from no_time_to_train.runs.found_images import FoundImages


def write_html(
    arguments: argparse.Namespace,
    found: FoundImages,
    timings: dict[str, float],
    folder: Path,
    notes: list[str],
) -> None:
    """``report.html``, with the references that are kept in the folder."""
    from no_time_to_train.runs import run_folder
    from no_time_to_train.runs.kept_references import kept_references

    run_folder.write_html(
        folder,
        found,
        timings,
        public(arguments),
        references=kept_references(folder),
        notes=notes,
        min_score=arguments.min_score,
        pixel_size=arguments.pixel_size,
    )


def notes(
    networks: Sequence[str], unread: list[str], said: Sequence[str] = (), cut: Sequence[str] = ()
) -> list[str]:
    """What the reader of the results must know first.

    Args:
        networks: names of the encoder and of SAM 2.
        said: warnings of the run.
        cut: names of images where instances may be missing, see ``FoundImages.cut_from``.
    """
    from no_time_to_train.runs.run_notes import notes_of

    own = notes_of(networks, said)
    if unread:
        own.append(f"Could not be read and were skipped: {listed(unread, 10)}")
    return [*own, *([_cut_note(cut)] if cut else [])]


def _cut_note(names: Sequence[str]) -> str:
    return (
        f"{counted(len(names), 'image')} had more instances than are kept, so counts are too low: "
        f"{listed(list(names), 5)}; --option num_out_instance=1000 keeps more"
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

    facts = {
        "settings": settings,
        "unreadable": unread,
        "class_names": list(finder.classes),
        "category_ids": list(finder.memory.category_ids),
        "notes": notes,
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
    total = counted(sum(counts.values()), "instance")
    lines = [f"{counted(len(found), 'image')}, {total} with a score from {min_score:g} on ({each})"]
    if found.unread:
        lines.append(f"{len(found.unread)} could not be read: {listed(found.unread, 5)}")
    cut = found.cut_from(min_score)
    if cut:
        lines.append(_cut_note(cut))
    return "\n".join([*lines, f"results: {out}"])
