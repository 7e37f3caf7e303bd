"""``python -m tools.mutants``: put each fault into a copy of the code, run its tests, and say who sees it.

Libraries are imported once; each fault runs in a fork of that process, one after the other.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tools.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = (
    "torch",
    "torchvision",
    "lightning.pytorch",
    "sam2",
    "timm",
    "pycocotools.mask",
    "scipy.ndimage",
    "hypothesis",
    "pytest",
    "PIL.Image",
)
LONGEST = 600.0
"""Seconds that the tests of one fault may take; a fault that makes them hang is seen."""


def room_of(fault: Fault) -> str:
    """The folder, or "ground" for the files that every room uses."""
    return fault.file.partition("/")[0] if "/" in fault.file else "ground"


def copied(folder: Path) -> None:
    """What the tests need, without what git ignores."""
    for name in (
        "no_time_to_train",
        "tests",
        "tools",
        "benchmarks",
        "docs",
        "notebooks",
        "scripts",
        "pyproject.toml",
        "setup.py",
        "README.md",
        "CONTRIBUTING.md",
        "run_lightening.py",
        "dinov3",
    ):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)


def _tests(folder: Path, words: list[str]) -> None:
    os.chdir(folder)
    sys.path[:] = [str(folder), *(place for place in sys.path if Path(place or ".").resolve() != ROOT)]
    os.environ |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ.setdefault("NTT_SHARED", str(ROOT.parent / "shared"))
    for name in [
        name
        for name in sys.modules
        if name.partition(".")[0] in ("no_time_to_train", "dinov3", "tests", "tools")
    ]:
        del sys.modules[name]
    import pytest

    with open(os.devnull, "w") as quiet:  # noqa: PTH123
        os.dup2(quiet.fileno(), 1)
        os.dup2(quiet.fileno(), 2)
        code = pytest.main([*words, "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"])
    os._exit(int(code))


def outcome(folder: Path, words: list[str]) -> str:
    """ "passed", "failed" (one test did, or they hang) or "error" (they do not run)."""
    process = multiprocessing.get_context("fork").Process(target=_tests, args=(folder, words))
    gc.freeze()  # so that the child's collector does not copy all that was there before
    process.start()
    gc.unfreeze()
    process.join(LONGEST)
    if process.exitcode is None:
        process.kill()
        return "failed"
    return {0: "passed", 1: "failed", 2: "failed"}.get(
        process.exitcode, "failed" if process.exitcode < 0 else "error"
    )


def is_seen(fault: Fault, folder: Path) -> str:
    """ "seen", "NOT SEEN", or why it cannot be told."""
    path = fault.path(folder)
    whole = path.read_text("utf-8")
    if fault.right not in whole:
        return "not there any more"
    path.write_text(whole.replace(fault.right, fault.wrong, 1), "utf-8")
    try:
        done = outcome(folder, [f"tests/{name}" for name in fault.tests.split()])
    finally:
        path.write_text(whole, "utf-8")
    return {"passed": "NOT SEEN", "failed": "seen"}.get(done, "its tests do not run")


def main(words: list[str] | None = None) -> int:
    """Run, print a table, and return 1 where fewer than 95 % are seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", nargs="*", help="these only")
    parser.add_argument("--sample", type=int, help="so many, drawn with --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="only say whether each still has its place")
    arguments = parser.parse_args(words)
    chosen = [fault for fault in FAULTS if not arguments.rooms or room_of(fault) in arguments.rooms]
    if arguments.sample is not None:
        chosen = random.Random(arguments.seed).sample(chosen, min(arguments.sample, len(chosen)))
    if arguments.list:
        gone = [fault for fault in chosen if fault.right not in fault.path(ROOT).read_text("utf-8")]
        for fault in gone:
            print(f"{fault.file}: not there any more: {fault.right!r}")
        return int(bool(gone))
    with contextlib.redirect_stderr(io.StringIO()):
        for name in LIBRARIES:
            importlib.import_module(name)
    seen, asked = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        copied(folder)
        for fault in chosen:
            started = time.monotonic()
            told = is_seen(fault, folder)
            asked[room_of(fault)] += 1
            seen[room_of(fault)] += told == "seen"
            print(
                f"{told:20} {time.monotonic() - started:5.0f} s  {fault.file}: {fault.wrong.strip()[:70]!r}",
                flush=True,
            )
    print(f"\n{'room':14} seen  of")
    for room, count in asked.items():
        print(f"{room:14} {seen[room]:4} {count:3}")
    print(
        f"{'all':14} {seen.total():4} {asked.total():3}  ({100 * seen.total() / max(asked.total(), 1):.0f} %)"
    )
    return int(seen.total() < 0.95 * asked.total())


if __name__ == "__main__":
    sys.exit(main())
