"""Imports run one way: a room imports only from rooms below it. Imports inside functions do not count."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import ROOT

ORDER = [
    "dinov3",
    "errors",
    "type_words",
    "results",
    "config",
    "weights",
    "models",
    "dataset",
    "report",
    "pl_wrapper",
    "api",
    "accuracy",
    "bench",
    "cli",
]
"""From the ground up; design of the house."""


def room(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] == "dinov3":
        return "dinov3"
    if parts[0] == "no_time_to_train" and len(parts) > 1:
        return parts[1]
    return None


def imported(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def test_no_room_imports_one_above_it() -> None:
    wrong = []
    for path in [*(ROOT / "no_time_to_train").rglob("*.py"), *(ROOT / "dinov3").rglob("*.py")]:
        own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for name in imported(path):
            other = room(name)
            if own in ORDER and other in ORDER and ORDER.index(other) > ORDER.index(own):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_only_two_files_and_the_tests_import_sam2() -> None:
    users = [
        path.name
        for path in (ROOT / "no_time_to_train").rglob("*.py")
        if any(
            isinstance(node, ast.ImportFrom | ast.Import)
            and "sam2"
            in {
                name.split(".")[0]
                for name in [getattr(node, "module", None) or "", *(a.name for a in node.names)]
            }
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert sorted(users) == ["sam2_modules.py"]
