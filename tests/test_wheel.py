"""The wheel that ``pip wheel .`` makes holds all that a user needs, and runs away from the source."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from no_time_to_train import __version__
from tests.conftest import ROOT

OWN = ("no_time_to_train", "dinov3")
UNWANTED = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "htmlcov")


def left_out(folder: str, names: list[str]) -> set[str]:
    """What is no part of the source; ``runs`` at the root holds results."""
    return set(UNWANTED(folder, names)) | ({"runs"} if Path(folder) == ROOT else set())


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installer puts into ``site-packages``; built from a copy, since building leaves files."""
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(ROOT, folder / "source", ignore=left_out)
    assert (source / "tests").is_dir()  # so that leaving it out of the wheel means something
    words = ["wheel", str(source), "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == f"no_time_to_train-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    shutil.rmtree(source)
    return folder / "site"


def run(unpacked: Path, cwd: Path, *words: str) -> str:
    """A process that finds our packages in the unpacked wheel."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_holds_our_two_packages_and_no_other(unpacked: Path) -> None:
    folders = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert folders == set(OWN)
    assert [path for path in unpacked.rglob("test*") if path.suffix == ".py"] == []


def test_every_file_of_the_packages_is_in_it(unpacked: Path) -> None:
    """YAML files, the report's page, nano weights, and every module."""
    wanted = {
        path.relative_to(ROOT)
        for package in OWN
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    suffixes = {path.suffix for path in wanted}
    assert {".yaml", ".safetensors", ".html", ".css", ".js", ".py"} <= suffixes
    assert sorted(path for path in wanted if not (unpacked / path).is_file()) == []


def test_both_packages_are_imported_from_it(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "import dinov3 as d, no_time_to_train as n; print(d.__file__, n.__file__, n.__version__, sep='\\n')"
    )
    first, second, version = run(unpacked, tmp_path, "-c", code).splitlines()
    assert (Path(first), Path(second)) == tuple(unpacked / name / "__init__.py" for name in reversed(OWN))
    assert version == __version__


def test_the_demo_runs_from_it_in_another_folder(unpacked: Path, tmp_path: Path) -> None:
    run(
        unpacked,
        tmp_path,
        "-m",
        "no_time_to_train.cli",
        "demo",
        "--images",
        "2",
        "--no-photographs",
        "--out",
        "here",
    )
    assert "segm/AP" in json.loads((tmp_path / "here" / "metrics.json").read_text())
    assert (tmp_path / "here" / "report.html").is_file()
    assert str(unpacked) not in str(list(tmp_path.iterdir()))


def test_the_command_and_the_licence_are_declared(unpacked: Path) -> None:
    (info,) = unpacked.glob("*.dist-info")
    assert "ntt = no_time_to_train.cli:main" in (info / "entry_points.txt").read_text()
    metadata = (info / "METADATA").read_text(encoding="utf-8")
    assert f"Version: {__version__}" in metadata
    for extra in ("matcher", "eval", "report", "notebooks", "dev"):
        assert f"Provides-Extra: {extra}" in metadata
