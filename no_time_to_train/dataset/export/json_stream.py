"""A json file with long lists in it, written piece by piece and complete or not there at all."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from no_time_to_train.files import whole_file


class JsonListWriter:
    """Writes ``head``, then list items one at a time, then ``tail``; the file appears on ``close``.

    See ``whole_file``: a killed run leaves no half a json.
    """

    def __init__(self, path: str | Path, head: str = "[") -> None:
        self._open = ExitStack()
        self._file = self._open.enter_context(whole_file(path))
        self._file.write(head)
        self._first = True

    def append(self, item: Any) -> None:
        """Write one item."""
        self._file.write(("" if self._first else ",\n") + json.dumps(item))
        self._first = False

    def close(self, tail: str = "]") -> None:
        """Finish the file."""
        self._file.write(tail)
        self._open.close()
