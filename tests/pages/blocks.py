"""A Markdown page taken apart: fenced blocks, and the comment before each that says how it is tested.

``<!-- not run: REASON -->``           its commands are only parsed
``<!-- run with: OLD -> NEW; … -->``    run with small stand-ins, such as nano weights for large ones
``<!-- file: NAME -->``                 the text is the content of a file that later blocks use

Two of them stand in one comment with `` | `` between.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(
    r"(?:<!-- (?P<note>[^\n]*?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.M
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        not_run: why; empty where it is run.
        file: name of the file that it is; empty where it is none.
        stand_ins: texts to replace before it is run.
    """

    language: str
    text: str
    line: int
    not_run: str = ""
    file: str = ""
    stand_ins: dict[str, str] = field(default_factory=dict)

    @property
    def as_run(self) -> str:
        """The text with the stand-ins in it."""
        text = self.text
        for old, new in self.stand_ins.items():
            assert old in text, f"line {self.line}: nothing to replace: {old!r}"
            text = text.replace(old, new)
        return text

    def commands(self, *, as_run: bool = False) -> list[str]:
        """Command lines of a shell block, continued ones joined, comments and empty ones left out."""
        text = (self.as_run if as_run else self.text).replace("\\\n", " ")
        return [line.strip() for line in text.splitlines() if shlex.split(line, comments=True)]


def read_blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            found["language"], found["text"], text.count("\n", 0, found.start()) + 1, **_note(found["note"])
        )
        for found in FENCE.finditer(text)
    ]


def _note(note: str | None) -> dict[str, object]:
    found: dict[str, object] = {}
    for part in (note or "").split(" | "):
        what, _, rest = part.partition(": ")
        if what == "not run":
            assert rest, "say why a block is not run"
            found["not_run"] = rest
        elif what == "file":
            found["file"] = rest
        elif what == "run with":
            pairs = (pair.split(" -> ") for pair in rest.split("; "))
            found["stand_ins"] = {old.strip(): new.strip() for old, new in pairs}
    return found
