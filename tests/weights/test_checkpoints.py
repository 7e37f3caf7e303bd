"""Files of every kind that users hold by mistake: each gives one sentence that says what to do."""

from __future__ import annotations

import collections
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from no_time_to_train.errors import CheckpointError
from no_time_to_train.weights.checkpoints import read_checkpoint

TENSORS = {"a": torch.arange(6.0), "b": torch.ones(2, 3)}


def same(got: dict[str, torch.Tensor]) -> bool:
    return got.keys() == TENSORS.keys() and all(torch.equal(got[k], v) for k, v in TENSORS.items())


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.ckpt", "w.safetensors"])
def test_both_kinds_under_any_name(name: str, tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / name)
    assert same(read_checkpoint(tmp_path / name))
    save_file(TENSORS, tmp_path / name)
    assert same(read_checkpoint(tmp_path / name))


def test_files_in_the_format_before_torch_1_6(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / "old.pth"))


def test_safetensors_whose_header_length_begins_as_a_pickle_does(tmp_path: Path) -> None:
    path, starts = tmp_path / "w", set()
    for length in range(0, 260, 8):  # headers are padded to eight bytes: every multiple of 8 below 256 comes
        save_file(TENSORS, path, metadata={"note": "x" * length})
        starts.add(path.read_bytes()[0])
        assert same(read_checkpoint(path))
    assert 0x80 in starts


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_sharded_files_by_index_and_by_folder(kind: str, tmp_path: Path) -> None:
    stem = "model" if kind == "safetensors" else "pytorch_model"
    shards = {key: f"{stem}-0000{i + 1}-of-00002.{kind}" for i, key in enumerate(TENSORS)}
    for key, name in shards.items():
        write = save_file if kind == "safetensors" else torch.save
        write({key: TENSORS[key]}, tmp_path / name)
    index = tmp_path / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    assert same(read_checkpoint(index))
    assert same(read_checkpoint(tmp_path))
    (tmp_path / shards["b"]).unlink()
    with pytest.raises(CheckpointError, match=rf"needs 2 files beside it, of which 1 are missing \({stem}"):
        read_checkpoint(index)


def test_an_index_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(TENSORS, tmp_path / "w.safetensors")
    index = folder / "model.safetensors.index.json"
    for name in ("../w.safetensors", "..", "", index.name, ".hidden.bin", "a\\w.bin", "w.bin\n"):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(CheckpointError, match="which is no weights file beside it; refused"):
            read_checkpoint(index)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "not JSON",
        '{"weight_map": []}',
        '{"weight_map": {"a": [1]}}',
        '{"weight_map": {"a": 1, "b": "c"}}',
    ],
)
def test_what_is_no_index(text: str, tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(text)
    with pytest.raises(CheckpointError, match="should be an index with a weight_map; download it again"):
        read_checkpoint(index)


BAD = {
    "empty": (b"", r"is empty; download it again"),
    "html": (
        b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
        r"is a web page \(HTML\), not weights: .* download the file itself again",
    ),
    "xml": (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
        r"is an XML error answer that says 'AccessDenied', not weights: .*signed links expire",
    ),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1217520896\n",
        r"is a Git LFS pointer \(\d+ bytes\), not the weights; run 'git lfs pull'",
    ),
    "json": (b'{"error": "Invalid username or password."}', r"is damaged, cut short or no checkpoint"),
    "noise": (bytes(range(256)) * 40, r"is damaged, cut short or no checkpoint at all \(10240 bytes"),
}


@pytest.mark.parametrize(("content", "sentence"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("name", ["dinov3.pth", "model.safetensors"])
def test_what_is_no_checkpoint(content: bytes, sentence: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "legacy.pth"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_truncated_file(name: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / name
    big = {"a": torch.randn(100, 100)}
    if name == "w.safetensors":
        save_file(big, path)
    else:
        torch.save(big, path, _use_new_zipfile_serialization=name == "w.pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointError, match=r"is damaged, cut short .* compare its size"):
        read_checkpoint(path)


class Payload:
    """Would write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (Path.write_text, (str(self.path), "ran"))


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_not_run(zipped: bool, tmp_path: Path) -> None:
    path, proof = tmp_path / "w.pth", tmp_path / "proof"
    torch.save({"a": Payload(proof)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"holds pickled Python objects .* save its state dict"):
        read_checkpoint(path)
    assert not proof.exists()


def test_a_whole_pickled_module(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"holds pickled Python objects \(torch\.nn\.modules\.linear"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_a_plain_pickle(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(collections.Counter("ab")))
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "w.pkl")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_torchscript_program(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "w.pt"))
    with pytest.raises(CheckpointError, match=r"is a TorchScript program, which runs code when loaded; give"):
        read_checkpoint(tmp_path / "w.pt")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no weights file .*gone\.pth .* check the path"):
        read_checkpoint(tmp_path / "gone.pth")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a folder; give the weights file .* holds nothing\)"):
        read_checkpoint(tmp_path)
    torch.save(TENSORS, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"is a folder; .* \(the folder holds w\.pth\)"):
        read_checkpoint(tmp_path)


def test_a_distributed_checkpoint(tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(b"\x80\x04")
    (tmp_path / "__0_0.distcp").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"is a distributed \(DCP\) checkpoint, .* convert it once"):
        read_checkpoint(tmp_path)
