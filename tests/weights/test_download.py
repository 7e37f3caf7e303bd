"""Downloads against a real server on loopback: whole, resumed, refused, wrong."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from no_time_to_train.errors import CheckpointError, GatedWeightsError
from no_time_to_train.weights.download import download
from no_time_to_train.weights.http_source import NotFoundError, Remote
from tests.weights.file_server import FileServer, serving

CONTENT = hashlib.sha256(b"seed").digest() * 100_000  # 3.2 MB, so several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("NTT_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        running.files["/w.pth"] = CONTENT
        yield running


def fetch(server: FileServer, target: Path, path: str = "/w.pth", sha256: str | None = None) -> Path:
    return download(Remote(server.url + path, sha256), target, attempts=4, pause=0)


def leftovers(target: Path) -> set[str]:
    return {item.name for item in target.parent.iterdir()} - {target.name}


def test_a_whole_file_once(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "w.pth"
    assert fetch(server, target, sha256=SHA256[:8]) == target
    assert target.read_bytes() == CONTENT
    assert not leftovers(target)
    fetch(server, target)
    assert len(server.requests) == 1


def test_a_cut_connection_is_continued(server: FileServer, tmp_path: Path) -> None:
    server.cut_after["/w.pth"] = [1_500_000, 700_000]
    fetch(server, tmp_path / "w.pth", sha256=SHA256)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert [wanted for _, wanted, _ in server.requests] == [None, "bytes=1500000-", "bytes=2200000-"]


def test_a_later_run_continues(server: FileServer, tmp_path: Path) -> None:
    server.cut_after["/w.pth"] = [1000, 1000, 1000, 1000]
    target = tmp_path / "w.pth"
    with pytest.raises(CheckpointError, match=r"could not be fetched \(connection cut after 4000 of 3200000"):
        fetch(server, target)
    assert not target.exists()
    assert target.with_name("w.pth.part").stat().st_size == 4000
    fetch(server, target, sha256=SHA256)
    assert server.requests[-1][1] == "bytes=4000-"
    assert target.read_bytes() == CONTENT
    assert not leftovers(target) - {"w.pth.lock"}


def test_a_file_that_changed_meanwhile_begins_anew(server: FileServer, tmp_path: Path) -> None:
    server.cut_after["/w.pth"] = [1000] * 4
    with pytest.raises(CheckpointError):
        fetch(server, tmp_path / "w.pth")
    server.files["/w.pth"] = b"new" * 2000
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == b"new" * 2000


def test_a_part_that_was_whole_already(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "w.pth.part").write_bytes(CONTENT)
    (tmp_path / "w.pth.part.etag").write_text('"' + hashlib.md5(CONTENT).hexdigest() + '"')
    fetch(server, tmp_path / "w.pth", sha256=SHA256)
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"should have a SHA-256 that starts with 08c60483, got"):
        fetch(server, tmp_path / "w.pth", sha256="08c60483")
    assert not leftovers(tmp_path / "w.pth") - {"w.pth.lock"}
    assert not (tmp_path / "w.pth").exists()


def test_the_hash_that_a_hub_states_is_checked(server: FileServer, tmp_path: Path) -> None:
    server.redirects["/hub/w.pth"] = ("/w.pth", "0" * 64)
    with pytest.raises(CheckpointError, match=f"starts with {'0' * 64}"):
        fetch(server, tmp_path / "w.pth", "/hub/w.pth")
    server.redirects["/hub/w.pth"] = ("/w.pth", SHA256)
    fetch(server, tmp_path / "w.pth", "/hub/w.pth")
    assert (tmp_path / "w.pth").read_bytes() == CONTENT


def test_a_token_stays_with_its_host(server: FileServer, tmp_path: Path) -> None:
    with serving() as other:
        other.files["/w.pth"] = CONTENT
        server.redirects["/gated/w.pth"] = (f"{other.url}/w.pth", SHA256)
        headers = {"Authorization": "Bearer secret"}
        download(Remote(f"{server.url}/gated/w.pth", headers=headers), tmp_path / "w.pth", pause=0)
        assert [token for _, _, token in server.requests] == ["Bearer secret"]
        assert [token for _, _, token in other.requests] == [None]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_hides_the_signature(status: int, server: FileServer, tmp_path: Path) -> None:
    server.status["/gated.pth"] = status
    with pytest.raises(GatedWeightsError, match=rf"/gated\.pth answers {status}: the link") as caught:
        fetch(server, tmp_path / "w.pth", "/gated.pth?Policy=p&Signature=secret")
    assert "secret" not in str(caught.value)


def test_a_missing_file(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"/gone\.pth does not exist \(404\); check the name"):
        fetch(server, tmp_path / "w.pth", "/gone.pth")


def test_a_busy_server_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.status["/w.pth"] = 503
    with pytest.raises(CheckpointError, match=r"could not be fetched \(server answers 503\); check"):
        fetch(server, tmp_path / "w.pth")
    assert len(server.requests) == 4


def test_nobody_listens(tmp_path: Path) -> None:
    with serving() as gone:
        url = gone.url
    with pytest.raises(CheckpointError, match=r"could not be fetched .*; check the network or set a mirror"):
        download(Remote(f"{url}/w.pth"), tmp_path / "w.pth", attempts=2, pause=0)


@pytest.mark.parametrize("variable", ["NTT_OFFLINE", "HF_HUB_OFFLINE"])
def test_the_offline_switch(
    variable: str, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(CheckpointError, match=r"downloads are switched off .* fetch http.*w\.pth elsewhere"):
        fetch(server, tmp_path / "w.pth")
    assert not server.requests


def test_two_at_once_fetch_one_file(server: FileServer, tmp_path: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(server, tmp_path / "w.pth")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "w.pth").read_bytes() == CONTENT
    assert len(server.requests) == 1
