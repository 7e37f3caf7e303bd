"""A json file with long lists in it, written piece by piece and complete or not there at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class JsonListWriter:
    """Writes ``head``, then list items one at a time, then ``tail``; the file appears on ``close``.

    Until then the text is in a hidden file beside it, so that a killed run leaves no half a json.
    """

    def __init__(self, path: str | Path, head: str = "[") -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self.path.with_name(f".{self.path.name}.part")
        self._file = self._partial.open("w", encoding="utf-8")
        self._file.write(head)
        self._first = True

    def append(self, item: Any) -> None:
        """Write one item."""
        self._file.write(("" if self._first else ",\n") + json.dumps(item))
        self._first = False

    def close(self, tail: str = "]") -> None:
        """Finish the file."""
        self._file.write(tail)
        self._file.close()
        self._partial.replace(self.path)
