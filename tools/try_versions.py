"""Run the fast tests with the oldest versions that ``setup.py`` allows, or with the newest there are.

In an environment of its own, in a folder that is given; needs a Python that has wheels of those versions::

    python3.10 tools/try_versions.py oldest /tmp/oldest
    python3.12 tools/try_versions.py newest /tmp/newest

Words after the folder go to pytest; without any it is ``-m "not slow"``. ``uv`` is used when it is installed.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Make the environment in the folder unless it is there, install, run pytest, and exit as it does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("versions", choices=["oldest", "newest"])
    parser.add_argument("folder", type=Path)
    arguments, words = parser.parse_known_args()
    folder = arguments.folder.resolve()
    if not folder.exists():
        venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = [line.replace(">=", "==") if arguments.versions == "oldest" else line for line in requirements()]
    install(python, *(line for line in wanted if line.startswith(("torch", "numpy"))), "setuptools>=70.1")
    install(python, "--no-build-isolation", "--upgrade", *wanted)
    tests = [python, "-m", "pytest", "-q", *(words or ["-m", "not slow"])]
    # The project itself is not installed, so that the folder says nothing of the code: processes find it so.
    sys.exit(
        subprocess.run(tests, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode
    )


def requirements() -> list[str]:
    """What ``setup.py`` requires, with the extras that the tests use."""
    values: dict[str, ast.expr] = {}
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = node.value
    extras = ast.literal_eval(values["EXTRAS"])
    return [*ast.literal_eval(values["REQUIRES"]), *extras["report"], *extras["dev"]]


def install(python: Path, *wanted: str) -> None:
    """With ``uv`` or pip; sam2 without its compiled extension."""
    uv = shutil.which("uv")
    command = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    subprocess.run([*command, "-q", *wanted], check=True, env={**os.environ, "SAM2_BUILD_CUDA": "0"})


if __name__ == "__main__":
    main()
