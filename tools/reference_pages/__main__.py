"""Write the reference pages, and the generated tables in the pages that are written by hand."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that has generated parts, and its text as it should be."""
    from tools.reference_pages.commands_page import commands_page
    from tools.reference_pages.inserts import fill_in
    from tools.reference_pages.python_page import python_page
    from tools.reference_pages.yaml_page import yaml_page

    folder = ROOT / "docs" / "reference"
    yield folder / "yaml.md", yaml_page()
    yield folder / "python.md", python_page()
    yield folder / "commands.md", commands_page()
    for page in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))):
        yield page, fill_in(page)


def main() -> int:
    """Write what has changed; with ``--check`` only say what has, as exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.reference_pages", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = [(path, text) for path, text in pages() if not path.is_file() or path.read_text("utf-8") != text]
    for path, text in stale:
        print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
