"""Every option that docs/features.md names is there, on the face that the table names it for."""

from __future__ import annotations

import argparse
import inspect
import re
from dataclasses import fields, is_dataclass
from typing import get_type_hints

import pytest
from lightning.pytorch import Trainer

import no_time_to_train
from no_time_to_train import Instances, Segmenter, batch
from no_time_to_train.cli import make_parser
from no_time_to_train.config.files import BLOCKS
from no_time_to_train.config.type_words import dataclass_in
from no_time_to_train.dataset import export
from no_time_to_train.pl_wrapper.run_options import RunOptions
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", PAGE, re.M)
][2:]
LIGHTNING = {"config", "ckpt_path", "model.test_mode"}


def named(column: int, pattern: str) -> list[str]:
    """What the code spans of a column name."""
    spans = [span for row in ROWS for span in re.findall(r"`([^`]+)`", row[column])]
    return sorted({word for span in spans for word in re.findall(pattern, span)})


def command_options() -> dict[str, set[str]]:
    (commands,) = (
        action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return {name: set(parser._option_string_actions) for name, parser in commands.choices.items()}


def keys_of(kind: type, before: str = "") -> set[str]:
    """Every key of a block, with the keys of the blocks in it."""
    found: set[str] = set()
    hints = get_type_hints(kind)
    for item in fields(kind):  # type: ignore[arg-type]
        name, inner = f"{before}{item.name}", dataclass_in(hints[item.name])
        found |= {name} | (keys_of(inner, f"{name}.") if inner is not None and is_dataclass(inner) else set())
    return found


def ends_with_key(word: str, keys: set[str]) -> bool:
    return any(key == word or key.endswith(f".{word}") for key in keys)


def test_the_table_is_whole() -> None:
    assert len(ROWS) > 30
    assert all(len(row) == 4 and all(row) for row in ROWS)
    notes = set(re.findall(r"^(\d+)\. ", PAGE, re.M))
    assert set(re.findall(r"- \((\d+)\)", PAGE)) == notes


@pytest.mark.parametrize("option", named(2, r"--[a-z][\w-]*"))
def test_options_of_ntt(option: str) -> None:
    assert [name for name, options in command_options().items() if option in options]


@pytest.mark.parametrize("command", named(2, r"^ntt (\w+)"))
def test_commands_of_ntt(command: str) -> None:
    assert command in command_options()


@pytest.mark.parametrize("word", named(1, r"^[\w.]+$"))
def test_keys_of_yaml(word: str) -> None:
    keys = set(BLOCKS)
    for name, kind in BLOCKS.items():
        keys |= keys_of(kind, f"{name}.")
    assert ends_with_key(word, keys)


@pytest.mark.parametrize("option", named(1, r"--[a-z][\w.]*"))
def test_options_of_run_lightening(option: str) -> None:
    name = option.removeprefix("--")
    own = {item.name for item in fields(RunOptions)}
    trainer = {f"trainer.{key}" for key in inspect.signature(Trainer).parameters}
    assert name in own | LIGHTNING | trainer


@pytest.mark.parametrize("word", named(3, r"^\w+=?|(?<=[(, ])\w+=|batch\.\w+"))
def test_names_of_python(word: str) -> None:
    methods = [value for _, value in inspect.getmembers(Segmenter, inspect.isfunction)]
    methods += [value for _, value in inspect.getmembers(Instances, inspect.isfunction)]
    if word.startswith("batch."):
        assert hasattr(batch, word.removeprefix("batch."))
    elif word.endswith("="):
        taken = {name for method in methods for name in inspect.signature(method).parameters}
        options = {
            key.rpartition(".")[2] for key in keys_of(BLOCKS["model_cfg"]) | keys_of(BLOCKS["dataset_cfgs"])
        }
        assert word.removesuffix("=") in taken | options
    else:
        assert any(hasattr(where, word) for where in (Segmenter, Instances, export, no_time_to_train))
