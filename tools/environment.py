"""Make or repair the project's own environment in ``.venv``; a second call finds it ready in a moment.

Needs only a Python 3.10 or newer with venv. Uses ``uv`` when it is installed, pip otherwise. Set
``TORCH_INDEX_URL`` to take torch from another index (for example a CPU-only one).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".venv"
PYTHON = FOLDER / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = FOLDER / "ready"


def fingerprint() -> str:
    """What the environment depends on: a change of it means installing again."""
    parts = [(ROOT / name).read_bytes() for name in ("setup.py", "pyproject.toml", "tools/environment.py")]
    parts.append(sys.version.encode())
    parts.append(str(ROOT).encode())  # scripts in an environment know their folder
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def is_ready() -> bool:
    """True when a complete environment of this state is there and its Python runs."""
    if not (STAMP.is_file() and PYTHON.is_file() and STAMP.read_text() == fingerprint()):
        return False
    return subprocess.run([PYTHON, "-c", "import sys"], check=False).returncode == 0


def install(*arguments: str, **environment: str) -> None:
    """Install into the environment."""
    uv = shutil.which("uv")
    command = (
        [uv, "pip", "install", "--python", str(PYTHON)] if uv else [str(PYTHON), "-m", "pip", "install", "-q"]
    )
    subprocess.run([*command, *arguments], check=True, cwd=ROOT, env={**os.environ, **environment})


def step(text: str, *arguments: str, **environment: str) -> None:
    """Install and say how long it took."""
    started = time.monotonic()
    print(f"environment: {text} …", flush=True)
    install(*arguments, **environment)
    print(f"environment: {text}: {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    """Make the environment unless it is ready."""
    if sys.version_info < (3, 10):  # noqa: UP036  (this file runs before anything has checked)
        sys.exit(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}")
    if is_ready():
        return
    STAMP.unlink(missing_ok=True)
    if not PYTHON.is_file() or subprocess.run([PYTHON, "-m", "pip", "--version"], check=False).returncode:
        shutil.rmtree(FOLDER, ignore_errors=True)
        venv.create(FOLDER, with_pip=True)
    index = os.environ.get("TORCH_INDEX_URL")
    step("torch", "torch>=2.4", "torchvision>=0.19", *(["--index-url", index] if index else []))
    step("build tools", "setuptools>=68", "wheel")
    # Without isolation sam2 finds the torch that is there; without its CUDA extension it needs no compiler.
    step("sam2", "--no-build-isolation", "sam2>=1.1", SAM2_BUILD_CUDA="0")
    step("the project", "--no-build-isolation", "-e", ".[dev]")
    STAMP.write_text(fingerprint())


if __name__ == "__main__":
    main()
