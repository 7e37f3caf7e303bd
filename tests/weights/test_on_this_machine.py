"""Where weights lie: one folder per user, another by name, and ``./checkpoints`` as before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from no_time_to_train.cli import main
from no_time_to_train.errors import CheckpointError
from no_time_to_train.weights.locate import find_weights
from no_time_to_train.weights.on_this_machine import checkpoint_folder, local_weights, weights_folders
from tests.weights.file_server import WEIGHTS, serving

OURS = "no-time-to-train/checkpoints"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without weights, in an empty folder of work."""
    for name in ("NTT_CHECKPOINTS", "XDG_CACHE_HOME", "LOCALAPPDATA", "NTT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.mark.skipif(os.name == "nt", reason="the home folder of Windows is not in HOME")
@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, f"home/.cache/{OURS}"),
        ("linux", {"XDG_CACHE_HOME": "{tmp}/cache"}, f"cache/{OURS}"),
        (
            "linux",
            {"XDG_CACHE_HOME": "cache"},
            f"home/.cache/{OURS}",
        ),  # relative: does not count
        ("darwin", {"XDG_CACHE_HOME": "{tmp}/cache"}, f"home/Library/Caches/{OURS}"),
        ("win32", {"LOCALAPPDATA": "{tmp}/local"}, f"local/{OURS}"),
        ("win32", {}, f"home/AppData/Local/{OURS}"),
        ("linux", {"NTT_CHECKPOINTS": "~/w", "XDG_CACHE_HOME": "{tmp}/cache"}, "home/w"),
        ("linux", {"NTT_CHECKPOINTS": "w"}, "work/w"),
    ],
)
def test_the_folder_of_a_platform(
    platform: str,
    variables: dict[str, str],
    expected: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    assert checkpoint_folder() == tmp_path / expected


def test_a_user_without_a_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwd = pytest.importorskip("pwd")

    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(CheckpointError, match="there is no home folder to keep weights in; set NTT_CHECKPOI"):
        checkpoint_folder()


def test_a_download_is_found_again_from_every_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "dinov2_vits14_reg4_pretrain.pth"
    with serving() as server:
        monkeypatch.setenv("NTT_WEIGHTS_MIRROR", server.url)
        server.files[f"/dinov2/dinov2_vits14/{name}"] = WEIGHTS
        path = find_weights("auto", "dinov2_vits14_reg", "dinov2_small_reg")
    assert path == home / ".cache" / OURS / "dinov2" / name
    monkeypatch.chdir("/")
    assert find_weights("auto", "dinov2_vits14_reg", "dinov2_small_reg") == path


def test_the_folder_beside_the_work_is_still_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Path("checkpoints/sam2/sam2_hiera_large.pt").absolute()
    old.parent.mkdir(parents=True)
    old.write_bytes(WEIGHTS)
    assert weights_folders() == [checkpoint_folder(), old.parents[1]]
    assert local_weights("sam2_hiera_large") == old
    own = home / ".cache" / OURS / "sam2" / old.name
    own.parent.mkdir(parents=True)
    own.write_bytes(WEIGHTS)
    assert local_weights("sam2_hiera_large") == own
    monkeypatch.setenv("NTT_CHECKPOINTS", "elsewhere")
    assert local_weights("sam2_hiera_large") is None


def test_hub_files_and_links_beside_the_work_are_still_read(home: Path) -> None:
    for name in ("hf-hub/me--w/model.safetensors", "links/w.pth"):
        path = Path("checkpoints", name).absolute()
        path.parent.mkdir(parents=True)
        path.write_bytes(WEIGHTS)
    assert (
        find_weights("hf-hub:me/w", None, "mine")
        == Path("checkpoints/hf-hub/me--w/model.safetensors").absolute()
    )
    assert find_weights("https://example.invalid/w.pth", None, "mine") == path


def test_the_list_shows_where_everything_is(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = home / ".cache" / OURS / "sam2" / "sam2_hiera_tiny.pt"
    here.parent.mkdir(parents=True)
    here.write_bytes(WEIGHTS)
    assert main(["download", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("sam2_hiera_tiny")] == [str(here)]
    assert lines[-1] == f"folders: {home / '.cache' / OURS}, {Path('checkpoints').absolute()}"


def test_the_list_waits_for_neither_torch_nor_the_hub() -> None:
    """PyTorch alone takes seconds to import."""
    code = "import sys; sys.modules.update(torch=None, huggingface_hub=None)\n"
    code += "from no_time_to_train.cli import main; sys.exit(main(['download', '--list']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "dinov2_large" in done.stdout


def test_without_a_network_both_addresses_and_places_are_said(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as gone:
        url = gone.url
    monkeypatch.setenv("NTT_WEIGHTS_MIRROR", url)
    monkeypatch.setenv("HF_ENDPOINT", url)
    with pytest.raises(CheckpointError) as caught:
        find_weights("auto", "dinov2_vitl14", "dinov2_large")
    folder = home / ".cache" / OURS
    for said in (
        f"{url}/facebook/dinov2-large/resolve/main/model.safetensors could not be fetched (",
        f"save it as {folder}/hf-hub/facebook--dinov2-large/model.safetensors",
        f"fetch {url}/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
        f"save it as {folder}/dinov2/dinov2_vitl14_pretrain.pth",
    ):
        assert said in str(caught.value)
