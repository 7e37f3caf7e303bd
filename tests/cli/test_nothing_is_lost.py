"""Files of others stay, names do no harm, and what a kill or a full disk leaves is gone on with."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.cli import main
from no_time_to_train.own_files import LEDGER
from no_time_to_train.runs.result_writer import ResultWriter
from no_time_to_train.runs.results_folder import FORMATS
from tests.conftest import ROOT
from tests.folder_layout import FAST, Layout, write_layout

MODELS = ["--encoder", "dinov3_nano", "--sam2", "sam2_nano"]
OPTIONS = [
    f"--option={name}={value}" for name, value in (FAST | {"points_per_side": 3}).items() if name != "device"
]
EVERY = ",".join(FORMATS)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_layout(tmp_path_factory.mktemp("safe"), targets=2, classes=2, shots=1)


@pytest.fixture
def predict(layout: Layout) -> Callable[..., int]:
    def call(*words: object) -> int:
        given = ["--references", layout.references, "--images", layout.pictures, "--min-score", "0", *words]
        return main(["predict", *MODELS, "--device", "cpu", *OPTIONS, *(str(word) for word in given)])

    return call


@pytest.fixture(scope="module")
def whole(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests work on copies of it."""
    out = tmp_path_factory.mktemp("whole") / "out"
    given = [
        "--references",
        layout.references,
        "--images",
        layout.pictures,
        "--out",
        out,
        "--format",
        "coco,png,csv",
    ]
    words = [*given, "--min-score", "0"]
    assert main(["predict", *MODELS, "--device", "cpu", *OPTIONS, *(str(word) for word in words)]) == 0
    return out


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".ntt"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@contextmanager
def full_disk(kilobytes: int) -> Iterator[None]:
    """No file may grow beyond a size, which fails as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "name", ["annotations.json", "counts.csv", "run.json", "memory.safetensors", "report.html"]
)
def test_a_file_of_somebody_else_is_a_refusal_before_the_search(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_text("mine")
    assert predict("--out", tmp_path) == 2
    assert f"{name} was not written by a run" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {name, ".ntt.lock"}
    assert (tmp_path / name).read_text() == "mine"


def test_only_own_files_are_replaced_and_removed(
    predict: Callable[..., int], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    mask = next((out / "masks").rglob("*.png"))
    (mask.parent / "mine.png").write_bytes(b"mine")
    (out / "yolo").mkdir()
    (out / "yolo" / "mine.txt").write_text("mine")
    before = content(out)
    corrected = out / "annotations.json"
    corrected.write_text(corrected.read_text() + "\n")
    assert predict("--out", out, "--overwrite", "--format", "csv") == 2
    assert "annotations.json was not written by a run, or was changed since" in capsys.readouterr().err
    assert content(out).keys() == before.keys()
    corrected.write_bytes(before["annotations.json"])
    assert predict("--out", out, "--overwrite", "--format", "csv") == 0
    kept = content(out)
    assert kept["yolo/mine.txt"] == b"mine"
    assert kept[mask.parent.joinpath("mine.png").relative_to(out).as_posix()] == b"mine"
    assert not mask.exists()
    assert "annotations.json" not in kept


def test_a_folder_without_its_list_is_all_somebody_elses(
    predict: Callable[..., int], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out, ignore=shutil.ignore_patterns(LEDGER))
    before = content(out)
    assert predict("--out", out, "--overwrite") == 2
    assert content(out) == before


def test_a_link_leads_nothing_out_of_the_folder(predict: Callable[..., int], tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "overlays").symlink_to(elsewhere)
    assert predict("--out", out, "--format", "overlay") == 2
    assert not list(elsewhere.iterdir())


def test_names_that_are_no_utf8_lose_nothing(
    predict: Callable[..., int], layout: Layout, tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    first, second = sorted(layout.pictures.iterdir())
    try:
        shutil.copy(first, os.fsencode(pictures) + b"/\xff\xfe.png")
    except OSError:
        pytest.skip("this disk has only names that are UTF-8")
    shutil.copy(second, pictures / ("ö" * 110 + ".png"))  # 224 of the 255 bytes that a name may have
    for going_on in ([], ["--resume"]):
        assert predict("--images", pictures, "--out", tmp_path / "o", "--format", EVERY, *going_on) == 0
    data = json.loads((tmp_path / "o" / "annotations.json").read_text())
    assert {image["file_name"] for image in data["images"]} == {"%FF%FE.png", "ö" * 110 + ".png"}
    masks = list((tmp_path / "o" / "masks").rglob("*.png"))
    assert len(masks) == len(data["annotations"]) > 0
    assert (tmp_path / "o" / "overlays" / "%FF%FE.jpg").is_file()


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["a/b", "a:b"], {"a_b", "a_b (2)"}),
        (["..", ""], {"unnamed", "unnamed (2)"}),
        (["n\0l", "con"], {"n_l", "con_"}),
        (["x" * 300, "x" * 299 + "y"], None),
        (["\udcff", "\ud800"], {"%FF", "_"}),
    ],
)
def test_every_class_has_its_folder_whatever_its_name(
    layout: Layout, tmp_path: Path, names: list[str], folders: set[str] | None
) -> None:
    data = json.loads((layout.references.parent / "scenes" / "references.json").read_text())
    for category, name in zip(data["categories"], names, strict=True):
        category["name"] = name
    (tmp_path / "r.json").write_text(json.dumps(data))
    words = ["--references", tmp_path / "r.json", "--reference-images", layout.references.parent / "scenes"]
    words += ["--images", layout.pictures, "--out", tmp_path / "o", "--format", EVERY, "--min-score", "0"]
    assert main(["predict", *MODELS, "--device", "cpu", *OPTIONS, *(str(word) for word in words)]) == 0
    made = {path.name for path in (tmp_path / "o" / "masks").iterdir()}
    assert len(made) == 2
    assert folders is None or made == folders
    annotations = json.loads((tmp_path / "o" / "annotations.json").read_text())["annotations"]
    assert len(list((tmp_path / "o" / "masks").rglob("*.png"))) == len(annotations)


def test_a_locale_of_ascii_and_a_terminal_that_cannot_show_a_name(layout: Layout, tmp_path: Path) -> None:
    refs, pictures = tmp_path / "refs" / "Äpfel", tmp_path / "pictures"
    refs.mkdir(parents=True)
    pictures.mkdir()
    image, mask = layout.shot(layout.class_names[0])
    shutil.copy(image, refs / "größe.png")
    shutil.copy(mask, refs / "größe_mask.png")
    shutil.copy(sorted(layout.pictures.iterdir())[0], pictures / "süß.png")
    command = [
        sys.executable,
        "-m",
        "no_time_to_train.cli",
        "predict",
        "--references",
        "refs",
        "--images",
        "pictures",
    ]
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONPATH": str(ROOT)}
    words = ["--out", "o", "--format", EVERY, "--min-score", "0", *MODELS, "--device", "cpu", *OPTIONS]
    done = subprocess.run([*command, *words], cwd=tmp_path, env=os.environ | ascii_only, capture_output=True)
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    assert (tmp_path / "o" / "overlays" / "süß.jpg").is_file()
    assert list((tmp_path / "o" / "masks" / "Äpfel").iterdir())
    data = json.loads((tmp_path / "o" / "annotations.json").read_text())
    assert data["categories"][0]["name"] == "Äpfel"
    assert data["images"][0]["file_name"] == "süß.png"


def test_what_a_format_needs_is_made_when_it_is_asked_for(
    predict: Callable[..., int], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    assert predict("--out", out, "--resume", "--format", "overlay,labelme") == 0
    assert len(list((out / "overlays").iterdir())) == 2
    assert len(list((out / "labelme").glob("*.json"))) == 2
    assert (
        content(out).items()
        >= {name: data for name, data in content(whole).items() if name != "run.json"}.items()
    )


def test_what_is_recorded_has_its_overlay(
    predict: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill right after a record would leave an image without one."""
    there, write = [], ResultWriter.write

    def look(writer: ResultWriter, record: dict[str, Any]) -> None:
        there.append((tmp_path / "overlays" / record["file_name"]).with_suffix(".jpg").is_file())
        write(writer, record)

    monkeypatch.setattr(ResultWriter, "write", look)
    assert predict("--out", tmp_path, "--format", "overlay") == 0
    assert there == [True, True]


def test_a_picture_that_was_replaced_is_searched_again(
    predict: Callable[..., int], layout: Layout, tmp_path: Path
) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    shutil.copytree(layout.pictures, pictures)
    words = ["--images", pictures, "--out", out, "--format", "coco,png,overlay"]
    assert predict(*words) == 0
    first, second = sorted(pictures.iterdir())
    Image.fromarray(np.full((90, 120, 3), 127, np.uint8)).save(first)
    kept = out / "overlays" / f"{second.stem}.jpg"
    drawn = kept.stat().st_mtime_ns
    assert predict(*words, "--resume") == 0
    data = json.loads((out / "annotations.json").read_text())
    assert (data["images"][0]["width"], data["images"][0]["height"]) == (120, 90)
    assert len(list((out / "masks").rglob("*.png"))) == len(
        data["annotations"]
    )  # no mask of the old one stays
    assert Image.open(out / "overlays" / f"{first.stem}.jpg").size == (120, 90)
    assert kept.stat().st_mtime_ns == drawn


@pytest.mark.parametrize("kilobytes", [1, 2])
def test_a_full_disk_is_a_sentence_and_leaves_no_half_file(
    predict: Callable[..., int],
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kilobytes: int,
) -> None:
    out = tmp_path / "out"
    with full_disk(kilobytes):
        assert predict("--out", out, "--format", "coco,png,csv,overlay") == 2
    said = capsys.readouterr().err
    assert "make room, and go on with --resume" in said
    assert str(out) in said
    assert "Traceback" not in said
    for path in out.rglob("*.jpg"):
        Image.open(path).load()
    going_on = ["--resume"] if (out / "parts" / "settings.json").exists() else []
    assert predict("--out", out, "--format", "coco,png,csv,overlay", *going_on) == 0
    results = content(whole)
    assert {name: content(out)[name] for name in results if name != "run.json" and "parts" not in name} == {
        name: data for name, data in results.items() if name != "run.json" and "parts" not in name
    }
    assert not list(out.rglob(".*.part"))


def test_a_signal_is_said_and_the_run_gone_on_with(
    predict: Callable[..., int], layout: Layout, quick_python: str, tmp_path: Path
) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    for number in range(60):
        shutil.copy(sorted(layout.pictures.iterdir())[number % 2], pictures / f"{number:02d}.png")
    command = [
        quick_python,
        "-m",
        "no_time_to_train.cli",
        "predict",
        "--references",
        str(layout.references),
    ]
    command += [
        "--images",
        str(pictures),
        "--out",
        str(out),
        "--min-score",
        "0",
        *MODELS,
        "--device",
        "cpu",
        *OPTIONS,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    part = out / "parts" / "part-0000.jsonl"
    while process.poll() is None and not (part.exists() and b"\n" in part.read_bytes()):
        time.sleep(0.005)  # between polls: the process needs the cores
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped: SIGTERM; --resume goes on from what is finished" in said
    for line in part.read_text().splitlines():  # what is recorded is finished
        assert (out / "overlays" / json.loads(line)["file_name"]).with_suffix(".jpg").is_file()
