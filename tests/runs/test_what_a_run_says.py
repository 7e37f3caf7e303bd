"""Progress in a file, warnings that are kept, and numbers in words."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch

from no_time_to_train.pl_wrapper.data_pass import DataPass, Each
from no_time_to_train.results import Instances
from no_time_to_train.runs.logs import plain_messages, without_tips
from no_time_to_train.runs.progress import EVERY, ProgressLines, progress
from no_time_to_train.runs.run_notes import MOST_NOTES, kept_warnings, notes_of
from no_time_to_train.words import counted, listed


def test_a_file_gets_a_line_every_so_often(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = ProgressLines(100, clock=lambda: now[0])
    for _ in range(100):
        now[0] += EVERY / 4
        lines.step()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 24  # every fourth image, and nothing when all are done
    assert said[0] == "4 of 100 images, 7.5 s each, 12 min left"
    assert said[-1].startswith("96 of 100 images, 7.5 s each, 30 s left")


def test_short_runs_say_nothing_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(iter("abc"), 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_warnings_are_kept_and_shown_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def show(*parts: Any, **more: Any) -> None:
        shown.append(warnings.formatwarning(*parts))

    monkeypatch.setattr(warnings, "showwarning", show)
    with plain_messages(), kept_warnings() as said:
        logging.getLogger("no_time_to_train.somewhere").warning("from the %s", "log")
        logging.getLogger("elsewhere").warning("of another package")
        warnings.showwarning(UserWarning("from Python"), UserWarning, "file.py", 3)
        warnings.showwarning(DeprecationWarning("of a library"), DeprecationWarning, "file.py", 3)
    assert said == ["from the log", "from Python"]
    assert shown == ["warning: from Python\n", "warning: of a library\n"]
    logging.getLogger("no_time_to_train.somewhere").warning("after it")
    assert len(said) == 2


def test_what_libraries_say_in_every_run_is_left_out(recwarn: pytest.WarningsRecorder) -> None:
    def warn(text: str, category: type[Warning], module: str) -> None:
        warnings.warn_explicit(text, category, "file.py", 3, module=module)

    with without_tips():
        warn("a name in Lightning is deprecated", FutureWarning, "lightning.pytorch.utilities._pytree")
        warn("no image was read", UserWarning, "lightning.pytorch.trainer")
        warn("a name of ours is deprecated", FutureWarning, "no_time_to_train.words")
        DataPass().begin(Each(range(3), str), lambda batch: None, workers=1000)
    warn("outside of a run", FutureWarning, "lightning.pytorch.utilities._pytree")
    said = [str(one.message) for one in recwarn]
    assert said == ["no image was read", "a name of ours is deprecated", "outside of a run"]


def test_notes_name_the_small_models_and_are_not_endless() -> None:
    (note,) = notes_of(["dinov2_large", "sam2_nano"])
    assert note.startswith("sam2_nano: ")
    assert notes_of(["dinov2_large"], ["one", "two", "one"]) == ["one", "two"]
    many = notes_of(["dinov2_large"], [str(number) for number in range(MOST_NOTES + 5)])
    assert len(many) == MOST_NOTES + 1
    assert many[-1] == "and 5 more warnings, see run.json"


def test_counts_are_words() -> None:
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
    assert counted(2, "category", "categories") == "2 categories"
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"
    assert listed(["a"], 2) == "a"


def test_results_introduce_themselves_in_one_short_line() -> None:
    masks = torch.zeros(3, 20, 30, dtype=torch.bool)
    masks[:, 2:5, 3:9] = True
    found = Instances.from_masks(masks, torch.ones(3), torch.tensor([1, 0, 1]), ("date", "fig"))
    assert repr(found) == "Instances(30x20: date 1, fig 2)"
    assert repr(replace(found, name="one.jpg")[:0]) == "Instances(one.jpg, 30x20: nothing found)"
