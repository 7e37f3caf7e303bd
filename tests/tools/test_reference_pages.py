"""The reference pages: up to date, and made from what the sources say."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

import pytest

from no_time_to_train.config import ModelConfig, Sam2InferConfig
from no_time_to_train.models.encoders.encoder_registry import ENCODERS
from no_time_to_train.weights.catalogue import CATALOGUE
from tools.reference_pages.__main__ import ROOT, pages
from tools.reference_pages.docstrings import read_docstring
from tools.reference_pages.fields import facts_of
from tools.reference_pages.inserts import bank_bytes, parameters
from tools.reference_pages.markdown import cell, table


def test_every_generated_page_is_as_its_sources_say() -> None:
    stale = [
        str(path.relative_to(ROOT))
        for path, text in pages()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, f"{stale} differ; run: python -m tools.reference_pages"


@dataclass(frozen=True)
class Inner:
    """A block."""

    depth: int = 1


@dataclass(frozen=True)
class Sample:
    """Four ways to say what a field means.

    Attributes:
        first, second: told in the docstring,
            over two lines.
    """

    zeroth: str
    first: int = 1
    second: Literal["a", "b"] = "a"
    third: tuple[int, ...] | None = None  # told beside
    # told above,
    # in two lines
    fourth: tuple[float, float] = (0.5, 1.0)
    fifth: (
        str  # told within
    ) = ""
    sixth: bool = False
    """Told below."""
    block: Inner | None = None
    made: Inner = field(default_factory=Inner)


def test_a_field_is_described_wherever_its_words_stand() -> None:
    found = {one.name: one for one in facts_of(Sample)}
    assert list(found) == [item.name for item in fields(Sample)]
    assert found["first"].meaning == found["second"].meaning == "told in the docstring, over two lines."
    assert [found[name].meaning for name in ("third", "fourth", "fifth", "sixth")] == [
        "told beside",
        "told above, in two lines",
        "told within",
        "Told below.",
    ]
    assert (found["zeroth"].kind, found["zeroth"].default) == ("str", "")
    assert found["second"].kind == "one of a, b"
    assert (found["third"].kind, found["third"].default) == ("list of int or null", "null")
    assert (found["fourth"].kind, found["fourth"].default) == ("list of 2 float", "[0.5, 1.0]")
    assert (found["fifth"].default, found["sixth"].default) == ('""', "false")
    assert found["block"].block is Inner
    assert (found["made"].kind, found["made"].default) == ("a block of keys", "")


def test_ranges_are_those_that_the_checks_ask_for() -> None:
    found = {one.name: one.range for one in facts_of(Sam2InferConfig)}
    assert found["nms_thr"] == "in [0, 1]"
    assert found["points_per_side"] == "at least 1"  # checked in a loop
    assert found["with_negative_refs"] == ""


def test_every_key_of_every_block_is_on_the_page() -> None:
    page = (ROOT / "docs/reference/yaml.md").read_text(encoding="utf-8")

    def look(kind: type) -> None:
        for one in facts_of(kind):
            assert f"| `{one.name}` |" in page, one.name
            if one.block is not None:
                look(one.block)

    look(ModelConfig)


def test_entries_of_a_docstring() -> None:
    def function() -> None:
        """Do it.

        Args:
            a, b: numbers; with ``c: d`` in the text,
                and a second line.
            **more: the rest.

        Raises:
            ValueError: never.
        """

    read = read_docstring(function)
    assert read.text == "Do it."
    assert read.entries("Args") == {
        "a": "numbers; with ``c: d`` in the text, and a second line.",
        "b": "numbers; with ``c: d`` in the text, and a second line.",
        "**more": "the rest.",
    }
    assert read.entries("Raises") == {"ValueError": "never."}


def test_tables_drop_empty_columns_and_keep_to_their_cells() -> None:
    assert table(("a", "b"), [("x", ""), ("y|z", "")]) == "| a |\n| --- |\n| x |\n| y\\|z |"
    assert cell("a <b> `<c>`") == "a &lt;b> `<c>`"


@pytest.mark.parametrize("name", [name for name, spec in ENCODERS.items() if spec.weights])
def test_counted_parameters_are_the_published_ones(name: str) -> None:
    published = CATALOGUE[str(ENCODERS[name].weights)].parameters
    assert published in (None, parameters(name))


def test_bank_size_follows_from_width_and_shots() -> None:
    assert bank_bytes(1024, 20, 10) == 20 * 10 * (4 * 1024 + 4 + 1)
