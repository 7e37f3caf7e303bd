"""Write ``requirements.lock``: the exact versions that ``tools/environment.py`` installs, for every platform.

Needs ``uv`` (``pip install uv``) and an environment with torch, which ``sam2`` wants to see before it says
what it needs::

    .venv/bin/python tools/lock.py "torch<=2.14.1" "torchvision<=0.29.1"

What is given limits the versions further, for example to those that the tests have run with. One file serves
Python 3.10 and newer on Linux, macOS and Windows: a line that does not fit a platform carries a marker.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
LEFT_TO_TORCH = ("nvidia-", "cuda-", "triton==")
"""Torch pins these itself, others in each of its builds (CPU, CUDA 12, CUDA 13)."""


def main() -> None:
    """Resolve all extras and write the file; nothing is installed."""
    uv = shutil.which("uv")
    if uv is None:
        sys.exit("tools/lock.py needs uv: pip install uv")
    limits = sys.argv[1:]
    pins = [line for line in resolve(uv, limits) if not line.startswith(LEFT_TO_TORCH)]
    command = " ".join(["python tools/lock.py", *(f'"{limit}"' for limit in limits)])
    header = f"# Exact versions for a repeatable environment; written by: {command}"
    LOCK.write_text("\n".join([header, *pins]) + "\n", encoding="utf-8")
    print(f"{len(pins)} versions in {LOCK.name}")


def resolve(uv: str, limits: list[str]) -> list[str]:
    """The newest versions within the bounds of ``setup.py`` and ``limits``, one a line."""
    command = [uv, "pip", "compile", "setup.py", "--all-extras", "--universal", "--python-version", "3.10"]
    command += ["--no-annotate", "--no-header", "--no-emit-index-url", "--quiet", "--constraints", "-"]
    command += ["--no-build-isolation-package", "sam2", "--python", sys.executable]
    done = subprocess.run(
        command, cwd=ROOT, input="\n".join(limits), stdout=subprocess.PIPE, text=True, check=True
    )
    return [line for line in done.stdout.splitlines() if line and not line.startswith("#")]


if __name__ == "__main__":
    main()
