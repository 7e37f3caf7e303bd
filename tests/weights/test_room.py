"""The weights room stands below the models: it may not import them, nor anything above."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import no_time_to_train.weights

FILES = sorted(Path(str(no_time_to_train.weights.__file__)).parent.glob("*.py"))
ALLOWED = tuple(f"no_time_to_train.{name}" for name in ("weights", "errors", "files", "own_files"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_run_down(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("no_time_to_train"):
            assert str(node.module).startswith(ALLOWED), f"{path.name} imports {node.module}"
