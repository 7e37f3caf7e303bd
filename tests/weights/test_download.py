"""Downloads against a real server on loopback: whole, resumed, refused, wrong."""

from __future__ import annotations

import contextlib
import hashlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from no_time_to_train.errors import CheckpointError, GatedWeightsError
from no_time_to_train.weights import download as module
from no_time_to_train.weights.arrival import NotFoundError
from no_time_to_train.weights.download import download
from tests.weights.file_server import WEIGHTS, FileServer, serving

CONTENT = save({"weight": torch.arange(800_000.0)})  # 3.2 MB, so several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("NTT_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as running:
        running.files["/w.pth"] = CONTENT
        yield running


def fetch(server: FileServer, target: Path, path: str = "/w.pth", sha256: str | None = None) -> Path:
    return download(server.url + path, target, sha256, attempts=4, pause=0)


def leftovers(target: Path) -> set[str]:
    return {item.name for item in target.parent.iterdir()} - {target.name}


def test_a_whole_file_once(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "w.pth"
    assert fetch(server, target, sha256=SHA256[:8]) == target
    assert target.read_bytes() == CONTENT
    assert leftovers(target) <= {"w.pth.lock"}
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
    with pytest.raises(CheckpointError, match=rf"could not be fetched \(connection cut after 4000 of {SIZE}"):
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
    server.files["/w.pth"] = WEIGHTS
    fetch(server, tmp_path / "w.pth")
    assert (tmp_path / "w.pth").read_bytes() == WEIGHTS


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


@pytest.mark.parametrize(
    ("known", "stated", "wrong"),
    [
        (None, SHA256, None),
        (SHA256[:8], SHA256, None),
        (None, "0" * 64, "0" * 64),
        (SHA256[:8], "0" * 64, "0" * 64),  # the publisher's digits fit, but the server means another file
        ("08c60483", SHA256, "08c60483"),
        (None, "not a hash", None),
        (SHA256[:8].upper(), "", None),
    ],
)
def test_the_known_and_the_stated_hash_both_count(
    known: str | None, stated: str, wrong: str | None, server: FileServer, tmp_path: Path
) -> None:
    server.redirects["/hub/w.pth"] = ("/w.pth", stated)
    if wrong is None:
        assert fetch(server, tmp_path / "w.pth", "/hub/w.pth", known).read_bytes() == CONTENT
        return
    with pytest.raises(CheckpointError, match=f"starts with {wrong}, got {SHA256}"):
        fetch(server, tmp_path / "w.pth", "/hub/w.pth", known)
    assert leftovers(tmp_path / "w.pth") == {"w.pth.lock"}


@pytest.mark.parametrize("name", ["ETag", "X-Linked-Etag"])
def test_a_hash_in_the_last_answer_counts(name: str, server: FileServer, tmp_path: Path) -> None:
    server.headers["/w.pth"] = {name: f'"{"0" * 64}"'}
    with pytest.raises(CheckpointError, match=f"starts with {'0' * 64}"):
        fetch(server, tmp_path / "w.pth")


@pytest.mark.parametrize("tag", ['W/"1234"', "no quotes", '"a\tb"', '"\xe4"', ""])
def test_without_a_strong_tag_nothing_is_continued(tag: str, server: FileServer, tmp_path: Path) -> None:
    server.headers["/w.pth"] = {"ETag": tag}
    server.cut_after["/w.pth"] = [1000]
    assert fetch(server, tmp_path / "w.pth").read_bytes() == CONTENT
    assert [asked for _, asked, _ in server.requests] == [None, None]


def test_a_weak_tag_is_no_hash(server: FileServer, tmp_path: Path) -> None:
    server.headers["/w.pth"] = {"ETag": f'W/"{"0" * 64}"'}
    assert fetch(server, tmp_path / "w.pth").read_bytes() == CONTENT


@pytest.mark.parametrize("tag", [b"\xff\xfe\n", b'"a"\r\nX: y', b""])
def test_a_damaged_tag_on_disk_begins_anew(tag: bytes, server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "w.pth.part").write_bytes(CONTENT[:1000])
    (tmp_path / "w.pth.part.etag").write_bytes(tag)
    assert fetch(server, tmp_path / "w.pth").read_bytes() == CONTENT
    assert server.requests[0][1] is None


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
    """Said at once, although the pause between attempts is long."""
    with serving() as gone:
        url = gone.url
    with pytest.raises(
        CheckpointError, match=r"could not be fetched \(.*refused.*\); .* save it as .*/w\.pth$"
    ):
        download(f"{url}/w.pth", tmp_path / "w.pth", attempts=5, pause=1000)


def test_a_server_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/w.pth"
        with pytest.raises(CheckpointError, match=r"could not be fetched \(timed out\)"):
            download(url, tmp_path / "w.pth", attempts=5, pause=1000)


def test_a_drip_is_given_up(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 0.3)
    server.drips["/w.pth"] = 10
    with pytest.raises(CheckpointError, match=r"could not be fetched \(fewer than 20 kB a second came\)"):
        fetch(server, tmp_path / "w.pth")
    assert len(server.requests) == 4
    assert not (tmp_path / "w.pth").exists()


def test_headers_that_drip_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 0.3)
    stop = threading.Event()

    def drip(server: socket.socket) -> None:
        client, _ = server.accept()
        with client, contextlib.suppress(OSError):
            while not stop.wait(0.02):
                client.sendall(b"X")  # a line that never ends

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        started = time.monotonic()
        with pytest.raises(CheckpointError, match=r"could not be fetched \(not there after"):
            download(f"http://127.0.0.1:{server.getsockname()[1]}/w.pth", tmp_path / "w.pth", pause=1000)
        assert time.monotonic() - started < 10
        stop.set()
        thread.join()


def test_a_slow_but_steady_line_is_not(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WINDOW", 0.1)
    server.drips["/w.pth"] = 1_000_000
    assert fetch(server, tmp_path / "w.pth").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", r"is a web page \(HTML\)"),
        (b"\n  <html>", r"is a web page \(HTML\)"),
        (b'{"error": "no such file"}', "sent no weights but 25 bytes that begin with"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (CONTENT[:-1], "sent a damaged safetensors file"),
        (b"PK\x03\x04 but no end", "sent no weights"),
    ],
)
def test_what_is_no_weights_is_never_kept(
    content: bytes, told: str, server: FileServer, tmp_path: Path
) -> None:
    server.files["/w.pth"] = content
    with pytest.raises(CheckpointError, match=rf"/w\.pth {told}"):
        fetch(server, tmp_path / "w.pth")
    assert leftovers(tmp_path / "w.pth") == {"w.pth.lock"}
    assert not (tmp_path / "w.pth").exists()


def test_the_forms_that_weights_have(server: FileServer, tmp_path: Path) -> None:
    for number, legacy in enumerate((False, True)):
        held = io.BytesIO()
        torch.save({"a": torch.ones(3)}, held, _use_new_zipfile_serialization=not legacy)
        server.files[f"/{number}.pth"] = held.getvalue()
        fetch(server, tmp_path / f"{number}.pth", f"/{number}.pth")


@pytest.mark.parametrize("length", ["", "abc", "-5", "1e9", "9" * 40])
def test_a_server_that_lies_about_the_length(length: str, server: FileServer, tmp_path: Path) -> None:
    server.headers["/w.pth"] = {"Content-Length": length}
    with pytest.raises(CheckpointError, match="answers 200 and states no length; fetch the file by other"):
        fetch(server, tmp_path / "w.pth")


@pytest.mark.parametrize("length", [SIZE - 1, SIZE + 1])
def test_a_length_that_is_not_the_files(length: int, server: FileServer, tmp_path: Path) -> None:
    server.headers["/w.pth"] = {"Content-Length": str(length)}
    with pytest.raises(CheckpointError, match=r"could not be fetched|sent a damaged"):
        fetch(server, tmp_path / "w.pth")
    assert not (tmp_path / "w.pth").exists()


def test_more_than_the_disk_holds(server: FileServer, tmp_path: Path) -> None:
    server.headers["/w.pth"] = {"Content-Length": "900000000000000"}
    with pytest.raises(CheckpointError, match=r"needs 900000\.0 GB in .*, where .* GB are free; make room"):
        fetch(server, tmp_path / "w.pth")


@pytest.mark.parametrize("extent", ["bytes 0-9/10", "nonsense", "bytes 5-2/abc", ""])
def test_a_wrong_part_is_not_put_behind_the_right_one(
    extent: str, server: FileServer, tmp_path: Path
) -> None:
    server.cut_after["/w.pth"] = [1000]
    server.headers["/w.pth"] = {"Content-Range": extent}
    assert fetch(server, tmp_path / "w.pth", sha256=SHA256).read_bytes() == CONTENT
    assert [asked for _, asked, _ in server.requests] == [None, "bytes=1000-", None]


def test_a_part_that_nobody_asked_for(server: FileServer, tmp_path: Path) -> None:
    server.status["/w.pth"] = 206
    with pytest.raises(CheckpointError, match="went on with another part than was asked for"):
        fetch(server, tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/r", r"answers 302 \(.*infinite loop"),
        ("file:///etc/hostname", r"answers 302 \(.*not allowed"),
        ("ftp://127.0.0.1/w.pth", "redirects to an address that is not https; refused"),
        ("http://[", r"address that cannot be opened \(Invalid IPv6 URL\)"),
        ("http://127.0.0.1:port/w.pth", r"address that cannot be opened \("),
        ("http://\xe4 b/", r"address that cannot be opened|could not be fetched"),
        ("//:80/", "redirects to an address that is not https; refused"),
    ],
)
def test_a_redirect_to_nowhere(address: str, told: str, server: FileServer, tmp_path: Path) -> None:
    server.redirects["/r"] = (address, "")
    with pytest.raises(CheckpointError, match=told):
        fetch(server, tmp_path / "w.pth", "/r")


@pytest.mark.parametrize(
    "url", ["", "weights.pth", "https://", "http://[", "file:///etc/passwd", "https://a b/c"]
)
def test_what_is_no_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="address that cannot be opened"):
        download(url, tmp_path / "w.pth", pause=0)


def test_name_and_password_are_never_shown(server: FileServer, tmp_path: Path) -> None:
    url = server.url.replace("//", "//me:secret@") + "/gone.pth"
    with pytest.raises(CheckpointError) as caught:
        download(url, tmp_path / "w.pth", pause=0)
    assert "secret" not in str(caught.value)


def test_a_folder_that_cannot_be_made(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"/file/w\.pth could not be written \(.*\); make room, or set"):
        fetch(server, tmp_path / "file" / "w.pth")


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
