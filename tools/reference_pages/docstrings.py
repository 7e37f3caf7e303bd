"""Docstrings taken apart: the text, and the sections with their entries."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example", "Yields")
ENTRY = re.compile(r"^(\*{0,2}\w[\w, .]*): (.*)$", re.DOTALL)


@dataclass
class Docstring:
    """One docstring.

    Attributes:
        text: everything before the first section, as paragraphs.
        sections: section name to its text, indentation removed.
    """

    text: str = ""
    sections: dict[str, str] = field(default_factory=dict)

    def entries(self, *names: str) -> dict[str, str]:
        """``name: text`` entries of sections; one that names several things counts for each."""
        found: dict[str, str] = {}
        for name in names:
            for chunk in re.split(r"\n(?=\S)", self.sections.get(name, "")):
                entry = ENTRY.match(chunk)
                if entry:
                    text = " ".join(entry[2].split())
                    found.update({each.strip(): text for each in entry[1].split(",")})
        return found


def read_docstring(thing: object) -> Docstring:
    """The docstring of a class, function or module; empty where there is none."""
    parts = Docstring()
    section = ""
    lines: dict[str, list[str]] = {"": []}
    for line in (inspect.getdoc(thing) or "").splitlines():
        if line.endswith(":") and line[:-1] in SECTIONS:
            section = line[:-1]
            lines[section] = []
        elif section and line and not line.startswith(" "):
            section = ""  # text after a section
            lines[""] += ["", line]
        else:
            lines[section].append(line)
    parts.text = "\n".join(lines.pop("")).strip()
    parts.sections = {name: inspect.cleandoc("\n" + "\n".join(body)) for name, body in lines.items()}
    return parts
