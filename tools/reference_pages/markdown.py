"""Small pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

NOTICE = "<!-- Made by python -m tools.reference_pages; changes by hand are lost. -->"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns without any content are left out."""
    rows = [list(row) for row in rows]
    kept = [index for index in range(len(header)) if any(row[index] for row in rows)]
    lines = [[header[index] for index in kept], ["---"] * len(kept)]
    lines += [[cell(row[index]) for index in kept] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Text that keeps to its cell; what looks like a tag, outside of code, is none."""
    words = " ".join(text.split()).replace("|", "\\|")
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", words)


def code(text: str) -> str:
    """Text in code letters; nothing for nothing."""
    return f"`{text}`" if text else ""


def from_rst(text: str) -> str:
    """Docstring markup as Markdown: roles and double backticks become code."""
    text = re.sub(r":(?:meth|class|func|mod|attr|data):`~?([^`]+)`", r"`\1`", text)
    return text.replace("``", "`")


def anchor(heading: str) -> str:
    """The link target that a heading gets."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
