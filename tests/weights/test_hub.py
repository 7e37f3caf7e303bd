"""Repositories of a hub on loopback, honest and not: fetched once, checked, refused in one sentence."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from no_time_to_train.errors import CheckpointError, GatedWeightsError
from no_time_to_train.weights import hub
from no_time_to_train.weights.hub import download_from_hub
from tests.weights.file_server import WEIGHTS, FileServer, serving

BASE = "/me/w/resolve/main"
FILE = f"{BASE}/model.safetensors"
INDEX = f"{BASE}/model.safetensors.index.json"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("NTT_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        running.files[FILE] = WEIGHTS
        yield running


def times_fetched(server: FileServer) -> int:
    return [path for path, *_ in server.requests].count(FILE)


def kept(folder: Path) -> list[str]:
    """What is left of the repository, locks left out."""
    return sorted(item.name for item in (folder / "me--w").glob("*") if item.suffix != ".lock")


def test_only_the_file_itself_is_left(server: FileServer, tmp_path: Path) -> None:
    path = download_from_hub("me/w", tmp_path)
    assert path.read_bytes() == WEIGHTS
    assert sorted(item.name for item in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]
    assert download_from_hub("hf-hub:me/w", tmp_path) == path
    assert times_fetched(server) == 1


def test_processes_that_want_the_same_file_wait_for_one(server: FileServer, tmp_path: Path) -> None:
    threads = [threading.Thread(target=download_from_hub, args=("me/w", tmp_path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "me--w" / "model.safetensors").read_bytes() == WEIGHTS
    assert times_fetched(server) == 1


def test_the_stated_hash_is_checked(server: FileServer, tmp_path: Path) -> None:
    server.headers[FILE] = {"ETag": f'"{"0" * 64}"'}
    with pytest.raises(CheckpointError, match=f"should have a SHA-256 that starts with {'0' * 64}, got"):
        download_from_hub("me/w", tmp_path)
    assert kept(tmp_path) == []
    server.headers[FILE] = {"X-Linked-Etag": f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'}
    assert download_from_hub("me/w", tmp_path).read_bytes() == WEIGHTS


def test_what_a_killed_process_left_is_removed(server: FileServer, tmp_path: Path) -> None:
    left = tmp_path / "me--w" / ".coming-model.safetensors-1"
    other = tmp_path / "me--w" / ".coming-model.safetensors.index.json-1"
    left.mkdir(parents=True)
    other.mkdir()  # of another process, at work
    download_from_hub("me/w", tmp_path)
    assert kept(tmp_path) == [other.name, "model.safetensors"]


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"ETag": ""}, "could not be fetched"),
        ({"X-Repo-Commit": ""}, "could not be fetched"),
        ({"Content-Length": ""}, "could not be fetched"),
        ({"Content-Length": "abc"}, "could not be fetched"),
        ({"Content-Length": "-1"}, "could not be fetched"),
        ({"Content-Length": str(len(WEIGHTS) - 1)}, "could not be fetched|sent a damaged"),
        ({"Content-Length": str(len(WEIGHTS) + 1)}, "could not be fetched"),
        ({"Content-Length": "900000000000000"}, "needs 900000.0 GB"),
    ],
)
def test_a_hub_that_lies(headers: dict[str, str], told: str, server: FileServer, tmp_path: Path) -> None:
    server.headers[FILE] = headers
    with pytest.raises(CheckpointError, match=told):
        download_from_hub("me/w", tmp_path)
    assert kept(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"<html>Sign in</html>", b'{"error": 1}', WEIGHTS[:-1]])
def test_what_is_no_weights_is_never_kept(content: bytes, server: FileServer, tmp_path: Path) -> None:
    server.files[FILE] = content
    with pytest.raises(CheckpointError, match=r"model\.safetensors (is|sent) "):
        download_from_hub("me/w", tmp_path)
    assert kept(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [b"<html>", b"", b"\xff\xfe", b"[" * 100_000, b'{"weight_map": {"a": "../../x.bin"}}'],
    ids=["page", "empty", "no text", "deep", "outside"],
)
def test_an_index_that_is_none(content: bytes, server: FileServer, tmp_path: Path) -> None:
    del server.files[FILE]
    server.files[INDEX] = content
    with pytest.raises(CheckpointError, match=r"should be an index with a weight_map|is no weights file bes"):
        download_from_hub("me/w", tmp_path)
    assert kept(tmp_path) == []


def test_a_shard_that_is_missing(server: FileServer, tmp_path: Path) -> None:
    server.files[INDEX] = json.dumps({"weight_map": {"a": "model-1.safetensors"}}).encode()
    del server.files[FILE]
    with pytest.raises(CheckpointError, match=r"main/model-1\.safetensors does not exist \(404\); check"):
        download_from_hub("me/w", tmp_path)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal(status: int, server: FileServer, tmp_path: Path) -> None:
    server.status[FILE] = status
    with pytest.raises(GatedWeightsError, match=rf"model\.safetensors answers {status}: the name is wrong"):
        download_from_hub("me/w", tmp_path)


@pytest.mark.parametrize("status", [400, 418, 500, 503])
def test_another_refusal(status: int, server: FileServer, tmp_path: Path) -> None:
    server.status[FILE] = status
    with pytest.raises(
        CheckpointError, match=r"could not be fetched .* save it as /.*/me--w/model\.safetensors"
    ):
        download_from_hub("me/w", tmp_path)


@pytest.mark.parametrize(
    "endpoint", ["nonsense", "http://[", "ftp://x", "http://127.0.0.1:port", "http://a b"]
)
def test_a_bad_endpoint(
    endpoint: str, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(CheckpointError, match="could not be fetched"):
        download_from_hub("me/w", tmp_path)


@pytest.mark.parametrize("token", ["a\tb", "\xe4\xf6", "a\x7fb", "\N{SNOWMAN}"])
def test_a_bad_token(token: str, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent as it is or refused, never a traceback."""
    monkeypatch.setenv("HF_TOKEN", token)
    try:
        download_from_hub("me/w", tmp_path)
    except CheckpointError as error:
        assert "could not be fetched" in str(error)  # noqa: PT017
        assert kept(tmp_path) == []


def test_a_token_stays_with_its_host(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as other:
        other.files[FILE] = WEIGHTS
        address = other.url.replace("127.0.0.1", "localhost")
        server.redirects[FILE] = (address + FILE, hashlib.sha256(WEIGHTS).hexdigest())
        server.headers[FILE] = {"X-Linked-Size": str(len(WEIGHTS))}
        assert download_from_hub("me/w", tmp_path).read_bytes() == WEIGHTS
        assert {token for _, _, token in server.asked} == {"Bearer hf_secret"}
        assert {token for _, _, token in other.requests} == {None}


def test_a_drip_is_given_up(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "WINDOW", 0.3)
    server.drips[FILE] = 1
    with pytest.raises(CheckpointError, match=r"could not be fetched \(not there after 0 s\)"):
        download_from_hub("me/w", tmp_path)
    assert kept(tmp_path) == []


def test_nobody_listens(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.url)
    with pytest.raises(CheckpointError, match=r"could not be fetched \(.*\); check the network"):
        download_from_hub("me/w", tmp_path)
