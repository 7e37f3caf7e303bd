"""``tools/environment.py`` as a process, in a small project of its own with tiny wheels: without network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools import environment

BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "tiny_project-0.1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        info = "tiny_project-0.1.dist-info"
        wheel.writestr("tiny_project.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: tiny-project\\nVersion: 0.1\\n"
                       "Provides-Extra: dev\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
WHEELS = {"torch": "2.14.1", "torchvision": "0.29.1", "sam2": "1.1.0", "setuptools": "84.2.1"}

pytestmark = pytest.mark.slow


def write_wheel(folder: Path, name: str, version: str) -> None:
    info, module = f"{name}-{version}.dist-info", f"version = {version!r}\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", module)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{name}/__init__.py,,{len(module)}\n")


class Project:
    """A copy of the tools in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tools").mkdir(parents=True)
        (folder / "wheels").mkdir()
        for name in ("environment.py", "installed_files.py"):
            shutil.copy(ROOT / "tools" / name, folder / "tools" / name)
        for name, version in WHEELS.items():
            write_wheel(folder / "wheels", name, version)
        (folder / "backend.py").write_text(BACKEND)
        (folder / "pyproject.toml").write_text(PROJECT)
        (folder / "setup.py").write_text("")
        pins = "".join(f"{name}=={version}\n" for name, version in WHEELS.items())
        (folder / "requirements.lock").write_text(pins)

    @property
    def packages(self) -> Path:
        return next((self.folder / ".venv").glob("lib/python3*/site-packages"))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin; pip alone, from the wheels alone."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "NTT_"))
        }
        offline = {
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": (self.folder / "wheels").as_uri(),
            "PATH": os.defpath,
        }
        return subprocess.Popen(
            [sys.executable, self.folder / "tools" / "environment.py", *words],
            env={**kept, **offline, "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def make(self, *words: str) -> str:
        """Run to the end and return what was printed."""
        process = self.start(*words)
        printed, _ = process.communicate()
        assert process.returncode == 0, printed
        return printed

    def version_of(self, name: str) -> str:
        """What the environment itself imports."""
        code = f"import {name}; print({name}.version)"
        python = self.folder / ".venv" / "bin" / "python"
        return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With a finished environment; a space in its path."""
    made = Project(tmp_path_factory.mktemp("my project") / "one")
    printed = made.make()
    assert "environment: torch" in printed
    assert made.version_of("torch") == "2.14.1"
    return made


def test_a_second_call_finds_it_ready(project: Project) -> None:
    assert project.make() == ""


def test_a_deleted_package_and_a_truncated_file_come_back(project: Project) -> None:
    shutil.rmtree(project.packages / "sam2")
    (project.packages / "torch" / "__init__.py").write_text("")
    printed = project.make()
    assert "mending" in printed
    assert "sam2" in printed.splitlines()[0]
    assert "torch" in printed.splitlines()[0]
    assert (project.version_of("sam2"), project.version_of("torch")) == ("1.1.0", "2.14.1")


def test_a_kill_in_the_middle_is_gone_on_with(project: Project) -> None:
    shutil.rmtree(project.packages / "torchvision")
    process = project.start()
    assert process.stdout is not None
    for line in process.stdout:
        if "environment: torch" in line:
            process.kill()
            break
    process.communicate()
    assert not (project.folder / ".venv" / "ready").exists()
    project.make()
    assert project.version_of("torchvision") == "0.29.1"
    assert project.make() == ""


def test_newest_instead_of_locked(project: Project) -> None:
    write_wheel(project.folder / "wheels", "sam2", "1.2.0")
    shutil.rmtree(project.packages / "sam2")
    project.make("--fresh")
    assert project.version_of("sam2") == "1.2.0"


def test_a_lock_that_does_not_fit_is_said_and_left_aside(project: Project) -> None:
    lock = project.folder / "requirements.lock"
    before = lock.read_text()
    lock.write_text("torch==99\n")
    try:
        assert "requirements.lock does not fit Python" in project.make()
        assert project.make() == ""
    finally:
        lock.write_text(before)


def test_a_moved_folder_is_made_anew(project: Project, tmp_path: Path) -> None:
    shutil.move(project.folder, tmp_path / "moved")
    project.folder = tmp_path / "moved"
    assert "was made elsewhere" in project.make()
    stamp = json.loads((project.folder / ".venv" / "ready").read_text())
    assert stamp["folder"] == str(project.folder)
    start = (project.folder / ".venv" / "bin" / "pip").read_text(encoding="utf-8").splitlines()[:2]
    assert str(project.folder) in "".join(start)
    assert project.version_of("torch") == "2.14.1"


def test_a_python_that_is_gone_takes_its_environment_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".venv"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(tmp_path / "no such python")
    monkeypatch.setattr(environment, "FOLDER", folder)
    monkeypatch.setattr(environment, "PYTHON", folder / "bin" / "python")
    environment.remove_unless_usable()
    assert not folder.exists()


def test_another_folders_environment_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``.venv`` that is a link is taken away; what it points at stays."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / ".venv"
    link.symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(environment, "FOLDER", link)
    environment.remove_unless_usable()
    assert not link.is_symlink()
    assert (tmp_path / "elsewhere").is_dir()
