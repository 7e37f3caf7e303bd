"""Imports run one way, those inside functions counted: a room imports only from rooms before it, no circles.

Only the lazy names of the package itself are exempt: ``no_time_to_train/__init__.py`` is no module here.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = "no_time_to_train"

ROOMS = [
    {"results", "errors", "version", "words"},
    {"own_files"},
    {"preprocess", "files"},
    {"config"},
    {"masks"},
    {"weights"},
    {"models"},
    {"dataset"},
    {"scenes"},
    {"evaluation"},
    {"pipeline"},
    {"report"},
    {"runs"},
    {"web"},
    {"api", "pl_wrapper", "cli", "app", "batch", "serve"},
    {"bench"},
]
"""From the ground up. Rooms of one line are one floor; the first imports nothing of ours."""

FACES = {"api", "pl_wrapper", "cli", "app", "batch", "serve", "web"}
PIPELINE_ONLY = {"segment_batch", "encode_reference"}
"""Methods of a model that see one picture after the other; faces ask the pipeline instead."""

MODELS = [
    {"encoders", "sam"},
    {"memory"},
    {"matching"},
    {"proposals"},
    {"segmenter", "extensions", "engines", "adapters"},
    {
        "parts",
        "cache",
        "dinov3_utils",
        "Sam2Matcher",
        "Sam2MatchingBaseline",
        "Sam2MatchingBaseline_noAMG",
    },
    {"factory", "models"},
]
"""The same inside of ``models``."""

COMMANDS = {
    "coco_inst_to_segm",
    "coco_to_pkl",
    "evaluate",
    "few_shot_sampling",
    "lvis_fix_minival_segm",
    "pascal_voc_to_coco",
    "sam_bbox_to_segm_batch",
}
"""Commands of the original, which keep their paths under ``dataset``: faces."""

KNOWN: dict[str, set[str]] = {}
"""Breaches that are left, by rule; to be emptied."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> dict[str, ast.Module]:
    paths = [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "dinov3").rglob("*.py")]
    found = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    del found[PACKAGE]
    return found


@cache
def imports_of(module: str) -> frozenset[str]:
    """Modules of ours that one imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & set(modules()) or {node.module}
    return frozenset(found & set(modules()))


def floor(rooms: list[set[str]], name: str) -> int:
    for number, names in enumerate(rooms):
        if name in names:
            return number
    raise LookupError(f"{name} is no room of the plan; give it a floor in ROOMS or MODELS")


def inner_room(module: str) -> str:
    """``no_time_to_train.models.cache.keys`` is in ``cache``."""
    return (*module.split("."), "models")[2]


def room(module: str) -> str:
    """``no_time_to_train.models.cache.keys`` is in ``models``."""
    parts = module.split(".")
    return "cli" if parts[1] == "dataset" and parts[-1] in COMMANDS else parts[1]


def ours() -> list[str]:
    return [module for module in modules() if module.startswith(f"{PACKAGE}.")]


@cache
def arrows() -> frozenset[tuple[str, str]]:
    """Every import of one module of the package by another."""
    return frozenset(
        (one, other) for one in ours() for other in imports_of(one) if other.startswith(f"{PACKAGE}.")
    )


def said(wrong: Callable[[str, str], bool]) -> set[str]:
    return {f"{one} -> {other}".replace(f"{PACKAGE}.", "") for one, other in arrows() if wrong(one, other)}


def upwards(one: str, other: str) -> bool:
    return floor(ROOMS, room(other)) > floor(ROOMS, room(one)) and (room(one), room(other)) != (
        "cli",
        "bench",
    )


def upwards_in_models(one: str, other: str) -> bool:
    if not room(one) == room(other) == "models":
        return False
    return floor(MODELS, inner_room(other)) > floor(MODELS, inner_room(one))


def into_extensions(one: str, other: str) -> bool:
    extensions = f"{PACKAGE}.models.extensions"
    return other.startswith(extensions) and not one.startswith((extensions, f"{PACKAGE}.models.parts"))


def loops_in_faces() -> set[str]:
    return {
        f"{module} calls {node.func.attr}".replace(f"{PACKAGE}.", "")
        for module in ours()
        if room(module) in FACES
        for node in ast.walk(modules()[module])
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in PIPELINE_ONLY
    }


def reached(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for other in imports_of(waiting.pop()) - seen:
            seen.add(other)
            waiting.append(other)
    return seen


def circles() -> set[frozenset[str]]:
    """Sets of modules that import each other, whatever lies between; dinov3 and what it imports included."""
    beyond = {module: reached(module) for module in modules()}
    return {
        frozenset({module, *(other for other in beyond[module] if module in beyond[other])})
        for module in modules()
        if module in beyond[module]
    }


BREACHES: dict[str, Callable[[], set[str]]] = {
    "ground": lambda: said(lambda one, other: room(one) in ROOMS[0]),
    "rooms": lambda: said(upwards),
    "models and dataset": lambda: said(lambda one, other: {room(one), room(other)} == {"models", "dataset"}),
    "inside models": lambda: said(upwards_in_models),
    "extensions": lambda: said(into_extensions),
    "faces": loops_in_faces,
    "bench": lambda: said(lambda one, other: room(other) == "bench" and room(one) not in ("bench", "cli")),
    "circles": lambda: {" <-> ".join(sorted(circle)).replace(f"{PACKAGE}.", "") for circle in circles()},
}


@pytest.mark.parametrize("rule", BREACHES)
def test_the_arrows(rule: str) -> None:
    """What is known and no longer there must be taken off the list."""
    assert sorted(BREACHES[rule]() ^ KNOWN.get(rule, set())) == []


def test_dinov3_knows_nothing_of_the_package() -> None:
    assert not [
        (module, other)
        for module in modules()
        if module.startswith("dinov3")
        for other in imports_of(module)
        if other.startswith(PACKAGE)
    ]


def test_one_file_and_the_tests_import_sam2() -> None:
    users = {
        module
        for module in ours()
        for node in ast.walk(modules()[module])
        if (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sam2")
        or (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "sam2" for alias in node.names))
    }
    assert users == {f"{PACKAGE}.models.sam.modules"}
