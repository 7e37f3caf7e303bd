"""Make or repair the project's own environment in ``.venv``; a second call finds it ready in a moment.

Needs only a Python 3.10 or newer with venv. Uses ``uv`` when it is installed, pip otherwise. The versions are
those of ``requirements.lock``; ``--fresh`` (or ``NTT_FRESH=1``) takes the newest that ``setup.py`` allows.
Torch comes as a CPU build on macOS, Windows and ARM, and on Linux without a GPU. Where pip was told an index
of its own, that one decides; ``TORCH_INDEX_URL`` names one for torch alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
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
LOCK = ROOT / "requirements.lock"
CHECK = ROOT / "tools" / "installed_files.py"
CPU_BUILDS = "https://download.pytorch.org/whl/cpu"  # PyTorch's own; the CUDA libraries are 4 GB
INPUTS = ("setup.py", "pyproject.toml", "requirements.lock", "tools/environment.py")


def main() -> None:
    """Make the environment unless it is ready."""
    if sys.version_info < (3, 10):  # noqa: UP036  (this file runs before anything has checked)
        sys.exit(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="the newest versions instead of the locked ones")
    fresh = parser.parse_args().fresh or os.environ.get("NTT_FRESH", "0") not in ("", "0")
    wanted = state(fresh)
    if is_ready(wanted):
        return
    STAMP.unlink(missing_ok=True)
    remove_unless_usable()
    if not FOLDER.exists():
        venv.create(FOLDER, with_pip=True)
    try:
        install_all(fresh)
    except subprocess.CalledProcessError:
        sys.exit("environment: not finished, the reason stands above; the next call goes on from here")
    left = damaged()
    if left:
        sys.exit(f"environment: {', '.join(left)} could not be installed whole; is the disk full?")
    STAMP.write_text(json.dumps(wanted))


def state(fresh: bool) -> dict[str, str]:
    """What the environment depends on: a change of it means installing again."""
    content = b"\0".join((ROOT / name).read_bytes() for name in INPUTS)
    return {
        "inputs": hashlib.sha256(content).hexdigest(),
        "python": platform.python_version(),
        "folder": str(ROOT),  # scripts in an environment know their folder
        "versions": "newest" if fresh else "locked",
    }


def is_ready(wanted: dict[str, str]) -> bool:
    """True when an environment of this state is there, its Python runs and no installed file is missing."""
    try:
        made = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return False
    return made == wanted and runs() and not damaged()


def runs() -> bool:
    """True when the environment's Python starts, is the version that runs this file, and has pip."""
    code = "import pip, platform; print(platform.python_version())"
    try:
        done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return done.stdout.strip() == platform.python_version()


def damaged(forget: bool = False) -> list[str]:
    """Names of distributions that are half there; ``forget`` makes the next installation put them right."""
    command = [PYTHON, CHECK, *(["--forget"] if forget else [])]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def remove_unless_usable() -> None:
    """Keep an environment that can be mended in place, with what is whole in it; remove any other."""
    if not os.path.lexists(FOLDER):
        return
    if FOLDER.is_symlink():
        reason = "is a link"
    elif not runs():
        reason = "has no working Python of this version"
    elif not knows_its_folder():
        reason = "was made elsewhere"
    else:
        names = damaged(forget=True)
        if names:
            print(f"environment: mending {', '.join(names)}", flush=True)
        if runs():  # pip itself may have been among them
            return
        reason = "has no pip"
    print(f"environment: {FOLDER.name} {reason}; it is made anew", flush=True)
    if FOLDER.is_dir() and not FOLDER.is_symlink():
        shutil.rmtree(FOLDER)
    else:
        FOLDER.unlink()


def knows_its_folder() -> bool:
    """False in a folder that was moved or copied: its scripts start the Python of the old place."""
    script = PYTHON.parent / ("activate.bat" if os.name == "nt" else "activate")
    return script.is_file() and str(FOLDER) in script.read_text(errors="replace")


def install_all(fresh: bool) -> None:
    """Install what is missing, locked where the lock fits this machine."""
    if not fresh:
        try:
            return install_project("-c", str(LOCK))
        except subprocess.CalledProcessError:
            machine = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
            print(
                f"environment: requirements.lock does not fit {machine}; taking the newest versions instead"
            )
    install_project()


def install_project(*limits: str) -> None:
    """Torch, then sam2 without its compiled extension, then this project with its ``dev`` extra."""
    install_torch("torch>=2.5.1", "torchvision>=0.20.1", *limits)
    step("build tools", "setuptools>=70.1", *limits)
    # Without isolation sam2 finds the torch that is there; without its CUDA extension it needs no compiler.
    step("sam2", "--no-build-isolation", "sam2>=1.1", *limits, SAM2_BUILD_CUDA="0")
    step("the project", "--no-build-isolation", "-e", ".[dev]", *limits)


def install_torch(*wanted: str) -> None:
    """From the index that the user names; else the build for the GPU that is there, or for none."""
    index = os.environ.get("TORCH_INDEX_URL")
    if index:
        return step("torch", *wanted, "--index-url", index)
    if shutil.which("uv") and "UV_TORCH_BACKEND" not in os.environ and platform.system() == "Linux":
        try:
            return step("torch for this machine's GPU, or for its CPU", *wanted, "--torch-backend", "auto")
        except subprocess.CalledProcessError:
            print("environment: not to be had there; taking the default build of torch", flush=True)
    elif wants_cpu_build():
        try:
            return step("torch for the CPU", *wanted, "--index-url", CPU_BUILDS, "--retries", "1")
        except subprocess.CalledProcessError:
            print("environment: not to be had there; taking the default build of torch", flush=True)
    step("torch", *wanted)


def wants_cpu_build() -> bool:
    """Whether pip would bring gigabytes of CUDA libraries to a machine without a GPU.

    A user who has told pip where to look is not sent elsewhere.
    """
    if platform.system() != "Linux" or shutil.which("uv") or shutil.which("nvidia-smi"):
        return False
    told = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    return not any(word in told for word in ("index-url", "no-index", "find-links"))


def step(text: str, *arguments: str, **environment: str) -> None:
    """Install and say how long it took."""
    started = time.monotonic()
    print(f"environment: {text} …", flush=True)
    install(*arguments, **environment)
    print(f"environment: {text}: {time.monotonic() - started:.0f} s", flush=True)


def install(*arguments: str, **environment: str) -> None:
    """Install into the environment."""
    uv = shutil.which("uv")
    command = (
        [uv, "pip", "install", "--python", str(PYTHON)] if uv else [str(PYTHON), "-m", "pip", "install", "-q"]
    )
    subprocess.run([*command, *arguments], check=True, cwd=ROOT, env={**os.environ, **environment})


if __name__ == "__main__":
    main()
