"""The pictures that a command is to search."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from no_time_to_train.dataset.samples import Target


def find_targets(images: Sequence[str] | None, out: Path, listed: str | None = None) -> list[Target]:
    """The pictures to search; those in the folder of results are none of them.

    Args:
        listed: file that lists them, in place of ``images``; ``-`` for standard input.

    Raises:
        DatasetError: there are none, or two differ in their suffix only, so that their results would be
            written to one file.
    """
    from no_time_to_train.dataset.readers.detect import list_targets, listed_targets
    from no_time_to_train.errors import DatasetError

    if images is None:
        lines = sys.stdin.read() if listed == "-" else Path(str(listed)).read_text(encoding="utf-8")
        images = [line for line in lines.splitlines() if line.strip()]
        if not images:
            raise DatasetError(f"--list {listed}: it names no image")
        targets = listed_targets(images)
    else:
        targets, inside = list_targets(images), out.resolve()
        targets = [one for one in targets if not Path(str(one.image)).resolve().is_relative_to(inside)]
    if not targets:
        raise DatasetError(f"{', '.join(images)}: no image beside those in {out}")
    taken: dict[Path, str] = {}
    for target in targets:
        other = taken.setdefault(Path(target.file_name).with_suffix(""), target.file_name)
        if other != target.file_name:
            raise DatasetError(
                f"results of {other} and {target.file_name} would be written to one file; rename one of them"
            )
    # The name stands for the image, so that new images do not shift ids when a run is gone on with.
    return [replace(target, image_id=target.file_name) for target in targets]


def base_folder(target: Target) -> Path:
    """The folder that the names of the images are relative to."""
    return Path(str(target.image)).absolute().parents[len(Path(target.file_name).parts) - 1]
