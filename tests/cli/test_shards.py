"""``ntt predict --shard`` and ``ntt merge``: the union is what one process writes, byte for byte."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from no_time_to_train.cli import main
from no_time_to_train.own_files import LEDGER
from no_time_to_train.runs.folder_lock import LOCK
from no_time_to_train.runs.results_folder import FORMATS
from no_time_to_train.runs.shards import Shard
from tests.folder_layout import FAST, Layout, write_layout

OPTIONS = [f"--option={name}={value}" for name, value in FAST.items() if name != "device"]
MODELS = ["--encoder", "dinov3_nano", "--sam2", "sam2_nano", "--device", "cpu", *OPTIONS]
ALL = ",".join(word for word in FORMATS if word != "parquet")  # needs a package of its own
DIFFER = {"parts", "run.json", "report.html", LOCK, LEDGER}
"""Times and options stand in these."""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    made = write_layout(tmp_path_factory.mktemp("shards") / "data", targets=5)
    (made.pictures / "broken.jpg").write_bytes(b"no picture")
    return made


@pytest.fixture(scope="module")
def search(layout: Layout) -> Callable[..., int]:
    def call(out: Path, *words: object) -> int:
        given = ["--references", layout.references, "--min-score", "0.2", "--out", out, *words]
        if "--list" not in words and "--images" not in words:
            given += ["--images", layout.pictures]
        return main(["predict", *MODELS, *map(str, given)])

    return call


@pytest.fixture(scope="module")
def one_process(search: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("one") / "found"
    assert search(out, "--format", ALL) == 0
    return out


@pytest.fixture(scope="module")
def shards(search: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four shards of six pictures, so that they are not of one size; tests leave them as they are."""
    root = tmp_path_factory.mktemp("four")
    folders = [root / f"found-{number}" for number in range(1, 5)]
    for number, folder in enumerate(folders, 1):
        assert search(folder, "--shard", f"{number}/4") == 0
    return folders


def merge(folders: list[Path], out: Path, *words: str) -> int:
    return main(["merge", *map(str, folders), "--out", str(out), *words])


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in DIFFER
    }


def test_all_shards_together_are_one_process(
    layout: Layout, one_process: Path, shards: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert merge(shards[::-1], tmp_path / "o", "--format", ALL) == 0
    assert "1 could not be read: broken.jpg" in capsys.readouterr().out
    expected, found = written(one_process), written(tmp_path / "o")
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []
    references = [name for name in found if name.startswith("references/")]
    assert len(references) == 1 + 2 * sum(1 for _ in layout.references.rglob("*_mask.png"))
    section = re.compile('<section id="references".*?</section>', re.DOTALL)
    shown = [section.findall((o / "report.html").read_text()) for o in (one_process, tmp_path / "o")]
    assert shown[0] == shown[1] != []
    one, many = (json.loads((folder / "run.json").read_text()) for folder in (one_process, tmp_path / "o"))
    assert one["unreadable"] == many["unreadable"] == ["broken.jpg"]
    assert main(["report", str(tmp_path / "o")]) == 0
    assert merge(shards, tmp_path / "o") == 2
    assert "--overwrite" in capsys.readouterr().err


def test_a_shard_writes_no_format(shards: list[Path]) -> None:
    names = {path.name for path in shards[0].iterdir()} - {LOCK, LEDGER}
    assert names == {"parts", "references", "run.json", "memory.safetensors"}


def test_what_is_missing_is_named(
    shards: list[Path],
    search: Callable[..., int],
    layout: Layout,
    one_process: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    killed = tmp_path / "killed"
    shutil.copytree(shards[2], killed)
    (killed / "run.json").unlink()
    part = killed / "parts" / "part-0000.jsonl"
    part.write_bytes(part.read_bytes()[:-40])
    assert merge([shards[0], killed], tmp_path / "o") == 2
    said = capsys.readouterr().err
    assert "2/4, 4/4 missing" in said
    assert "3/4 not finished" in said
    assert not (tmp_path / "o").exists()
    shutil.copy(shards[2] / "run.json", killed)  # of an earlier, whole run
    assert merge([*shards[:2], killed, shards[3]], tmp_path / "o") == 2
    assert "shard 3/4" in capsys.readouterr().err
    assert search(killed, "--shard", "3/4", "--resume") == 0
    assert merge([*shards[:2], killed, shards[3]], tmp_path / "o", "--format", "coco") == 0
    rows = (tmp_path / "o" / "predictions.json").read_bytes()
    assert rows == (one_process / "predictions.json").read_bytes()


def test_what_does_not_belong_together_is_refused(
    shards: list[Path],
    one_process: Path,
    search: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shards[0], copy)
    for folders, out, said in (
        ([*shards, copy], tmp_path / "o", "both hold shard 1/4"),
        ([*shards, one_process], tmp_path / "o", "holds no shard"),
        (shards, shards[0], "is one of the shards"),
    ):
        assert merge(folders, out, "--overwrite") == 2
        assert said in capsys.readouterr().err
    known = copy / "parts" / "settings.json"
    settings = json.loads(known.read_text())
    known.write_text(json.dumps(settings | {"memory": "another"}))
    assert merge([copy, *shards[1:]], tmp_path / "o") == 2
    assert "they differ in memory" in capsys.readouterr().err
    assert search(tmp_path / "p", "--shard", "1/4", "--format", "coco") == 2
    assert "give them to ntt merge" in capsys.readouterr().err
    assert search(tmp_path / "p", "--shard", "0/4") == 2
    assert "numbered from 1 to 4" in capsys.readouterr().err.replace("64", "4")


def test_a_list_is_searched_in_its_order(
    layout: Layout,
    search: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pictures = sorted(path for path in layout.pictures.iterdir() if path.suffix == ".png")[:2][::-1]
    text = "".join(f"{path}\n" for path in [*pictures, layout.pictures / "missing.png"])
    (tmp_path / "files.txt").write_text(text)
    assert search(tmp_path / "file", "--list", tmp_path / "files.txt", "--format", "coco") == 0
    assert "missing.png" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert search(tmp_path / "stdin", "--list", "-", "--format", "coco") == 0
    read = json.loads((tmp_path / "file" / "annotations.json").read_text())
    assert [image["file_name"] for image in read["images"]] == [path.name for path in pictures]
    assert written(tmp_path / "file") == written(tmp_path / "stdin")
    (tmp_path / "empty.txt").touch()
    assert search(tmp_path / "none", "--list", tmp_path / "empty.txt") == 2
    assert "names no image" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 3, 64])
def test_shares_cover_every_item_once(count: int) -> None:
    shares = [Shard(number, count).of(range(20)) for number in range(1, count + 1)]
    assert sorted(item for share in shares for item in share) == list(range(20))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
