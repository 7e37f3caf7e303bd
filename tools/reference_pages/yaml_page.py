"""``docs/reference/yaml.md``: every key of a configuration file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

from no_time_to_train.config import LEGACY_KEYS, TestMode
from no_time_to_train.config.files import BLOCKS
from no_time_to_train.pl_wrapper.run_options import NEEDS, RunOptions
from tools.reference_pages.docstrings import read_docstring
from tools.reference_pages.fields import FieldFacts, facts_of
from tools.reference_pages.markdown import NOTICE, anchor, code, from_rst, table

HEADER = ("key", "type", "default", "range", "meaning")

INTRODUCTION = """\
# Reference: the YAML file

{notice}

A configuration file holds `model:` with the blocks below under `init_args:`, Lightning's `trainer:`, and the
[options of a run](#options-of-a-run). Every key can be left out. On the command line a key is its path:
`--model.model_cfg.encoder_cfg.name dinov3_large` (the longer `--model.init_args.model_cfg…` works as well).
An unknown key is refused with the nearest known one; `--print_config` prints everything as it was understood.
`null` means that nothing is given. Where two `--config` files have the same key, the later one counts.

A configuration is code as far as it names classes (`class_path: package.module.Class`, for callbacks,
loggers, strategies): they are imported, and importing runs them. Only classes of this package, of Lightning
and of torch are imported without `--allow-imports`; add it for files that you trust. Files of over 300 kB, or
of 100,000 values once their aliases are written out, are refused."""


def yaml_page() -> str:
    """The whole page."""
    parts = [INTRODUCTION.format(notice=NOTICE), _modes()]
    seen: dict[type, str] = {}
    for name, kind in BLOCKS.items():
        parts += _sections(name, kind, seen)
    parts += ["## Options of a run", from_rst(read_docstring(RunOptions).text), fields_table(RunOptions)]
    return "\n\n".join(parts) + "\n"


def fields_table(kind: type, where: str = "") -> str:
    """The table of one block; a nested block links to its own section."""
    return table(HEADER, (_row(facts, where) for facts in facts_of(kind)))


def block_kind(path: str) -> type:
    """The dataclass of a block, e.g. ``model_cfg.encoder_cfg``."""
    first, *rest = path.split(".")
    kind = BLOCKS[first]
    for name in rest:
        kind = next(facts.block for facts in facts_of(kind) if facts.name == name)
    return kind


def _modes() -> str:
    rows = [
        (code(mode), code(" ".join(f"--{name}" for name in NEEDS.get(mode, ()))))
        for mode in get_args(TestMode)
    ]
    return "\n\n".join(
        [
            "## test_mode",
            "`model.init_args.test_mode` (`--model.test_mode`) names the stage; `none`, the default, and "
            "`run` do all of them in one go.",
            table(("mode", "needs"), rows),
        ]
    )


def _sections(path: str, kind: type, seen: dict[type, str]) -> Iterator[str]:
    """Heading, text and table of a block, then those of the blocks in it."""
    yield f"## {path}"
    if kind in seen:
        yield f"The same keys as [{seen[kind]}]({anchor(seen[kind])})."
        return
    seen[kind] = path
    yield from_rst(read_docstring(kind).text)
    yield fields_table(kind, path)
    if kind in LEGACY_KEYS:
        ignored = ", ".join(code(key) for key in sorted(LEGACY_KEYS[kind]))
        yield f"Read and ignored, with a warning: {ignored}."
    for facts in facts_of(kind):
        if facts.block is not None:
            yield from _sections(f"{path}.{facts.name}", facts.block, seen)


def _row(facts: FieldFacts, where: str) -> tuple[str, ...]:
    kind = facts.kind
    if facts.block is not None and where:
        kind = kind.replace("a block of keys", f"[block]({anchor(f'{where}.{facts.name}')})")
    meaning = re.sub(r"\bNone\b", "null", from_rst(facts.meaning))
    return (code(facts.name), kind, code(facts.default), facts.range, meaning)
