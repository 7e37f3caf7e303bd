"""The ``ntt`` command: what it writes, that it equals the Python face, and what can go wrong."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from pycocotools.coco import COCO

from no_time_to_train import Segmenter
from no_time_to_train.cli import COMMANDS, main, make_parser
from no_time_to_train.dataset.readers.detect import list_targets
from no_time_to_train.own_files import LEDGER
from no_time_to_train.pipeline.learning import learned_text
from no_time_to_train.runs.folder_lock import LOCK
from no_time_to_train.runs.result_writer import Record, ResultWriter
from no_time_to_train.runs.results_folder import FORMATS
from no_time_to_train.version import __version__
from tests.conftest import ROOT
from tests.folder_layout import FAST, Layout, write_layout

MODELS = ["--encoder", "dinov3_nano", "--sam2", "sam2_nano", "--device", "cpu"]
OPTIONS = [f"--option={name}={value}" for name, value in FAST.items() if name != "device"]


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_layout(tmp_path_factory.mktemp("cli") / "näh & fern")


@pytest.fixture
def predict(layout: Layout, kept: Path) -> Callable[..., int]:
    """Run ``ntt predict`` on the layout; words given later win."""

    def call(*words: object) -> int:
        given = ["--references", layout.references, "--images", layout.pictures, "--cache", kept, *words]
        return main(["predict", *MODELS, *OPTIONS, *(str(word) for word in given)])

    return call


@pytest.fixture(scope="session")
def finished(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with every format; tests must leave it as it is."""
    out = tmp_path_factory.mktemp("finished") / "out folder"
    given = ["--references", str(layout.references), "--images", str(layout.pictures), "--out", str(out)]
    formats = ",".join(word for word in FORMATS if word != "parquet")  # needs a package of its own
    words = ["--format", formats, "--min-score", "0.2", "--pixel-size", "0.5mm"]
    assert main(["predict", *MODELS, *OPTIONS, *given, *words]) == 0
    return out


def read(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_format_is_written_without_ground_truth(finished: Path, layout: Layout) -> None:
    names = sorted(path.name for path in layout.pictures.iterdir())
    coco = COCO(str(finished / "annotations.json"))
    assert [image["file_name"] for image in coco.dataset["images"]] == names
    assert len(coco.loadRes(str(finished / "predictions.json")).anns) > len(coco.anns) > 0
    assert sorted(path.stem for path in (finished / "overlays").iterdir()) == [Path(n).stem for n in names]
    masks = list((finished / "masks").rglob("*.png"))
    assert len(masks) == len(coco.anns)
    assert np.unique(np.asarray(Image.open(masks[0]))).tolist() == [0, 255]
    with (finished / "counts.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["total"]) for row in rows) == len(coco.anns)
    assert {path.name for path in finished.iterdir()} >= {
        "yolo",
        "labelme",
        "index",
        "report.html",
        "run.json",
    }
    assert set(layout.class_names) <= set(read(finished / "run.json")["class_names"])
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "nano" in page


def test_every_instance_has_its_size_and_its_crop(finished: Path) -> None:
    coco = read(finished / "annotations.json")
    with (finished / "instances.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(coco["annotations"]) > 0
    for row in rows:
        assert float(row["area_mm2"]) == pytest.approx(int(row["area_px"]) / 4, rel=1e-3)
        assert float(row["length_mm"]) == pytest.approx(float(row["length_px"]) / 2, rel=1e-2, abs=0.06)
        assert float(row["length_px"]) >= float(row["width_px"]) > 0
    crops = sorted((finished / "crops").rglob("*.png"))
    alphas = sorted(int((np.asarray(Image.open(path))[..., 3] > 0).sum()) for path in crops)
    assert alphas == sorted(int(row["area_px"]) for row in rows)


def test_the_limit_of_instances_is_said_at_the_end(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--out", tmp_path, "--option=num_out_instance=2", "--min-score", "0", "--format", "coco"]
    assert predict(*words) == 0
    printed = capsys.readouterr().out
    assert "3 images had more instances than are kept, so counts are too low" in printed
    assert "--option num_out_instance=1000" in printed
    assert any("counts are too low" in note for note in read(tmp_path / "run.json")["notes"])


def test_a_stopped_run_names_resume_and_goes_on(
    finished: Path,
    predict: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = ResultWriter.write

    def write_and_stop(self: ResultWriter, record: Record) -> None:
        write(self, record)
        os.kill(os.getpid(), signal.SIGTERM)

    words = ["--out", tmp_path, "--format", "coco", "--min-score", "0.2"]
    with monkeypatch.context() as patched:
        patched.setattr(ResultWriter, "write", write_and_stop)
        assert predict(*words) == 128 + signal.SIGTERM
    said = capsys.readouterr().err
    assert "stopped: SIGTERM; --resume goes on from what is finished" in said
    assert not (tmp_path / "predictions.json").exists()
    assert predict(*words, "--resume") == 0
    assert read(tmp_path / "predictions.json") == read(finished / "predictions.json")


def test_the_bare_command_and_misspelt_words_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "ntt demo" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert __version__ in capsys.readouterr().out
    for words, said in (
        (["predcit", "--images", "x"], "there is no command 'predcit'; did you mean 'predict'?"),
        (["predict", "--images", "x", "--min-scor", "1", "--refrences", "y"], "did you mean '--references'?"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
        assert said in capsys.readouterr().err


def test_a_preset_says_what_it_sets(
    predict: Callable[..., int], layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = sorted(layout.pictures.iterdir())[0]
    words = ["--out", tmp_path, "--images", picture, "--format", "coco", "--preset", "best"]
    assert predict(*words) == 0
    line, counts, _ = capsys.readouterr().out.splitlines()
    assert line.startswith("preset best sets ")
    assert "rank_by product (iou)" in line
    assert "merging.rank_stability on (off)" in line
    assert counts.startswith("1 image, ")


def test_it_finds_what_the_python_face_finds(finished: Path, layout: Layout) -> None:
    finder = Segmenter("dinov3_nano", "sam2_nano", **FAST).add_folder(layout.references)
    found = finder.predict(layout.pictures)
    rows = [row for number, item in enumerate(found, 1) for row in item.to_coco(number)]
    assert rows == read(finished / "predictions.json")


def test_presence_is_written_and_equals_the_python_face(
    layout: Layout, predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--out",
        tmp_path,
        "--calibrate",
        "--empty",
        layout.pictures,
        "--only-present",
        "--format",
        "coco,csv",
    ]
    assert predict(*words) == 0
    assert "without)" in capsys.readouterr().out
    finder = Segmenter("dinov3_nano", "sam2_nano", **FAST).add_folder(layout.references)
    finder.calibrate(layout.pictures)
    found = list(finder.predict(layout.pictures, only_present=True))
    rows = [row for number, item in enumerate(found, 1) for row in item.to_coco(number)]
    assert rows == read(tmp_path / "predictions.json")
    images = read(tmp_path / "annotations.json")["images"]
    with (tmp_path / "presence.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    for item, image, line in zip(found, images, table, strict=True):
        assert list(image["presence"].values()) == item.presence.tolist()
        assert [line[name] for name in layout.class_names] == [f"{score:.4f}" for score in item.presence]
        assert line["present"] == "; ".join(item.present())
    assert predict("--out", tmp_path / "o", "--empty", layout.pictures) == 2
    assert "give both" in capsys.readouterr().err


def test_a_saved_memory_finds_the_same(finished: Path, predict: Callable[..., int], tmp_path: Path) -> None:
    memory = tmp_path / "memory of one.safetensors"
    shutil.copy(finished / "memory.safetensors", memory)
    pictures = read(finished / "run.json")["config"]["images"]
    words = ["--memory", str(memory), "--images", *pictures, "--out", str(tmp_path / "o"), "--format", "coco"]
    assert main(["predict", "--device", "cpu", *words]) == 0
    assert read(tmp_path / "o" / "predictions.json") == read(finished / "predictions.json")
    assert main(["predict", *MODELS, *words]) == 2  # an encoder does not go with a memory


def test_a_cache_changes_no_byte(finished: Path, predict: Callable[..., int], tmp_path: Path) -> None:
    cache = ["--cache", tmp_path / "cache", "--cache-size", "0.5"]
    for name in ("cold", "warm"):
        assert predict("--out", tmp_path / name, "--format", "coco", "--min-score", "0.2", *cache) == 0
        assert read(tmp_path / name / "predictions.json") == read(finished / "predictions.json")
    without = ["predict", "--references", str(tmp_path), "--images", str(tmp_path), "--cache-size", "1"]
    assert main([*without, "--out", str(tmp_path / "none")]) == 2


def test_a_killed_run_goes_on_where_it_was(
    finished: Path, predict: Callable[..., int], layout: Layout, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    shutil.copytree(finished, out)
    part = out / "parts" / "part-0000.jsonl"
    lines = part.read_text().splitlines(keepends=True)
    part.write_text(lines[0] + lines[1][: len(lines[1]) // 2])
    for name in ("predictions.json", "annotations.json", "counts.csv", "report.html"):
        (out / name).unlink()
    kept = (
        (out / "overlays" / sorted(path.name for path in (out / "overlays").iterdir())[0]).stat().st_mtime_ns
    )
    assert predict("--out", out, "--min-score", "0.2", "--resume") == 0
    assert read(out / "predictions.json") == read(finished / "predictions.json")
    assert read(out / "annotations.json") == read(finished / "annotations.json")
    first = sorted((out / "overlays").iterdir())[0]
    assert first.stat().st_mtime_ns == kept  # not drawn again


def test_a_second_run_says_what_is_there(
    finished: Path,
    predict: Callable[..., int],
    layout: Layout,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "again"
    shutil.copytree(finished, out)
    (out / "notes of mine.txt").write_text("keep")
    assert predict("--out", out) == 2
    assert "--resume" in capsys.readouterr().err
    assert predict("--out", out, "--resume", "--min-score", "0.2", "--option=points_per_side=5") == 2
    assert "other settings" in capsys.readouterr().err
    picture = sorted(layout.pictures.iterdir())[0]
    assert predict("--out", out, "--overwrite", "--images", picture, "--format", "coco") == 0
    assert len(read(out / "annotations.json")["images"]) == 1
    assert {path.name for path in out.iterdir()} - {LOCK, LEDGER} == {
        "annotations.json",
        "memory.safetensors",
        "notes of mine.txt",
        "parts",
        "predictions.json",
        "run.json",
    }


def test_two_runs_at_once_do_not_mix(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FileLock(str(tmp_path / LOCK)):
        assert predict("--out", tmp_path) == 2
    assert "another run is writing" in capsys.readouterr().err
    assert not (tmp_path / "parts").exists()


def test_unreadable_pictures_are_named_and_skipped(
    predict: Callable[..., int], layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    (folder / "sub folder").mkdir(parents=True)
    good = sorted(layout.pictures.iterdir())[0]
    shutil.copy(good, folder / "sub folder" / "größe 1.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    assert predict("--images", folder, "--out", tmp_path / "o") == 0
    printed = capsys.readouterr()
    assert "1 could not be read: broken.jpg" in printed.out
    assert read(tmp_path / "o" / "run.json")["unreadable"] == ["broken.jpg"]
    assert "broken.jpg" in (tmp_path / "o" / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "o" / "overlays" / "sub folder" / "größe 1.jpg").is_file()
    (folder / "sub folder" / "größe 1.png").unlink()
    assert predict("--images", folder, "--out", tmp_path / "none") == 2
    assert "none of the 1 images" in capsys.readouterr().err


def test_results_among_the_pictures_are_not_searched(
    predict: Callable[..., int], layout: Layout, tmp_path: Path
) -> None:
    shutil.copy(sorted(layout.pictures.iterdir())[0], tmp_path / "one.png")
    for going_on in ([], ["--resume"]):
        words = ["--images", tmp_path, "--out", tmp_path / "found", "--min-score", "0", *going_on]
        assert predict(*words) == 0
        images = read(tmp_path / "found" / "annotations.json")["images"]
        assert [image["file_name"] for image in images] == ["one.png"]


def test_two_pictures_of_one_name_are_refused_before_the_search(
    predict: Callable[..., int], layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "a.jpg"):
        shutil.copy(sorted(layout.pictures.iterdir())[0], folder / name)
    assert predict("--images", folder, "--out", tmp_path / "o") == 2
    assert "rename one" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--images", "{tmp}/nothing"], "no image in it"),
        (["--images", "{tmp}/missing"], "no such image"),
        (["--references", "{tmp}/nothing"], "no image with a mask in it"),
        (["--references", "{tmp}/missing"], "no such file or folder"),
        (["--format", "coco,pngs"], "did you mean 'png'"),
        (["--option", "points_per_side"], "NAME=VALUE"),
        (["--option", "points=3"], "unknown option"),
        (["--classes", "nothing of that name"], "nothing of that name"),
        (["--out", "{tmp}/a file"], "choose another --out"),
        (["--out", "{tmp}/a file/below"], "choose another --out"),
        (["--memory", "{tmp}/a file"], "does not go with"),
    ],
)
def test_what_can_be_mended_is_one_sentence(
    predict: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "a file").write_text("x")
    given = [word.format(tmp=tmp_path) for word in words]
    assert predict("--out", tmp_path / "o", *given) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert error.strip().splitlines()[-1].startswith("error: ")


def test_references_or_memory_must_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["inspect"]) == 2
    assert "--references FOLDER" in capsys.readouterr().err


def test_inspect_flags_the_reference_of_the_wrong_class(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = layout.class_names[:2]
    folder = tmp_path / "refs"
    for name in (first, second):
        shutil.copytree(layout.references / name, folder / name)
    image, mask = layout.shot(second)
    shutil.copy(image, folder / first / "zz wrong.png")
    shutil.copy(mask, folder / first / "zz wrong_mask.png")
    words = ["--references", str(folder), "--out", str(tmp_path / "o"), *MODELS, "--option=img_size=384"]
    assert main(["inspect", *words]) == 0
    with (tmp_path / "o" / "references.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert rows[2]["outlier"] == "1"
    assert [row["number"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert second in rows[2]["remark"]
    assert len(list((tmp_path / "o").rglob("*/*.jpg"))) == 5
    assert (tmp_path / "o" / "references.jpg").is_file()
    printed = capsys.readouterr().out
    assert "OUTLIER" in printed
    assert f"{second}: " in printed
    assert "\nnumber  own class" in printed
    advice = [line for line in printed.splitlines() if line.startswith(f"{first}: ")]
    assert f"{first}: look at number 3, or leave out, see above" in advice
    assert not re.search(r"number.* 3\b.* would do", "\n".join(advice))


def test_report_with_ground_truth_beside(
    finished: Path, layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o"
    shutil.copytree(finished, out)
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    plain = (out / "report.html").read_text(encoding="utf-8")
    for section in ("references", "timings", "config"):
        assert f'<section id="{section}"' in plain
    assert "dinov3_nano and sam2_nano" in plain
    assert "<h3>Sizes" in plain
    assert " mm</text>" in plain
    assert main(["report", str(out), "--truth", str(layout.truth), "--title", "With truth"]) == 0
    assert "segm AP" in capsys.readouterr().out
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "With truth" in page
    assert 'class="with-truth"' in page or "with-truth" in page
    assert len(page) > len(plain)
    assert main(["report", str(out), "--rename", "a=b"]) == 2
    assert "give --truth JSON with it" in capsys.readouterr().err
    assert main(["report", str(tmp_path)]) == 2
    assert "predictions.json" in capsys.readouterr().err


def test_download_lists_and_refuses_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "--list"]) == 0
    table = capsys.readouterr().out
    assert "dinov2_large" in table
    assert "sam2.1_hiera_large" in table
    assert main(["download", "dinov3_nano", "sam2_nano"]) == 0
    assert capsys.readouterr().out.count("was there") == 2
    assert main(["download", "dinov2_lrge"]) == 2
    assert "did you mean 'dinov2_large'" in capsys.readouterr().err


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for module in COMMANDS:
        name = module.__name__.rsplit(".", 1)[1]
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert f"Example: ntt {name}" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        make_parser().parse_args(["predict", "--imges", "x"])


@pytest.mark.slow
def test_the_accuracy_table_has_a_command_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--accuracy", "--help"])
    assert ended.value.code == 0
    assert "usage: ntt bench --accuracy" in capsys.readouterr().out
    assert main(["bench", "--accuracy", "--tasks", "no-such-task"]) == 2
    assert "no-such-task" in capsys.readouterr().err


def test_the_examples_of_the_help_texts_work(
    layout: Layout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NTT_CHECKPOINTS", str(tmp_path / "none"))
    shutil.copytree(layout.references, "refs")
    Path("pictures").mkdir()
    shutil.copy(sorted(layout.pictures.iterdir())[0], "pictures")
    shutil.copy(layout.truth, "annotations.json")
    shutil.copy(ROOT / "no_time_to_train" / "pl_configs" / "demo.yaml", "my.yaml")
    for name, code, said in (
        ("predict", 0, "results: found/"),
        ("report", 0, "segm AP"),
        ("inspect", 0, "references.csv and references.jpg: inspected"),
        ("check", 2, "errors,"),  # the data of the demo and dinov3_large are not there, which is what it says
    ):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        text = " ".join(capsys.readouterr().out.split())
        example = re.search(r"Example: ntt (.+?) (?:positional arguments|options):", text)[1]
        assert main(shlex.split(example)) == code
        assert said in capsys.readouterr().out


@pytest.mark.slow
def test_ten_thousand_pictures_are_listed_in_seconds(tmp_path: Path) -> None:
    for number in range(10_000):
        (tmp_path / f"{number}.jpg").touch()
    started = time.monotonic()
    assert len(list_targets(tmp_path)) == 10_000
    assert time.monotonic() - started < 60  # 1 s on an idle machine; quadratic would be minutes


@pytest.mark.slow
def test_a_real_process_in_another_folder(layout: Layout, tmp_path: Path, quick_python: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NTT_CHECKPOINTS": str(tmp_path)}
    environment.pop("PYTHONWARNINGS", None)
    shutil.copytree(layout.references, tmp_path / "Früchte und Nüsse")
    command = [quick_python, "-m", "no_time_to_train.cli", "predict", "--references", "Früchte und Nüsse"]
    command += ["--images", str(layout.pictures), "--out", "gefunden hier", *OPTIONS]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ntt download" in done.stderr
    assert "3 images" in done.stdout
    assert (tmp_path / "gefunden hier" / "predictions.json").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Früchte und Nüsse", "gefunden hier"]


def test_learn_gives_what_python_gives(
    predict: Callable[..., int], layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict("--learn", "--complete", "--out", tmp_path / "out", "--format", "coco") == 0
    finder = Segmenter("dinov3_nano", "sam2_nano", **FAST).add_folder(layout.references, complete=True)
    head = finder.learn()
    assert learned_text(head) in capsys.readouterr().out
    loaded = Segmenter.load(tmp_path / "out" / "memory.safetensors", device="cpu")
    assert loaded.memory.digest() == finder.memory.digest()
    assert predict("--complete", "--out", tmp_path / "other") == 2
    assert "--complete is for --learn" in capsys.readouterr().err
