"""The guards of every server: foreign Host, wrong Origin, no token and what is too long are refused."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from no_time_to_train.app.routes import App
from no_time_to_train.errors import ConfigError
from no_time_to_train.web.guards import Access
from no_time_to_train.web.running import listen, origins_of
from tests.app.conftest import finder, pictures  # noqa: F401
from tests.app.serving import Client, served

LOOK = {"image": 0}


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    app: App
    project = tmp_path_factory.mktemp("guards") / "project"
    with served(request.getfixturevalue("pictures"), project, request.getfixturevalue("finder")) as (
        app,
        client,
    ):
        assert app.project.folder == project
        yield client


def test_the_token_of_the_address_becomes_a_cookie(client: Client) -> None:
    status, headers, _ = client.ask(f"/?token={client.token}", headers={"Cookie": ""})
    assert status == 303
    assert headers["location"] == "/"
    assert headers["set-cookie"] == f"{client.cookie}; Path=/; HttpOnly; SameSite=Strict"


@pytest.mark.parametrize(
    ("cookie", "path"),
    [
        ("", "/"),
        ("", "/api/state"),
        ("", "/images/0/thumb"),
        ("", "/page/main.js"),
        ("{name}=wrong", "/api/state"),
        ("{name}", "/api/state"),
        ("ntt={token}", "/api/state"),
        ("{name}=wrong", "/?token=wrong"),
        ("", "/?token="),
        ("", "/api/state?token={token}"),
    ],
)
def test_without_the_token_there_is_nothing(cookie: str, path: str, client: Client) -> None:
    cookie = cookie.replace("{name}", client.cookie.partition("=")[0]).replace("{token}", client.token)
    status, _, body = client.ask(path.replace("{token}", client.token), headers={"Cookie": cookie})
    assert status == 401
    assert b"token" in body


def test_cookies_of_other_programs_do_no_harm(client: Client) -> None:
    others = f'odd={{"a": 1}}; [x]=; {client.cookie}; last'
    assert client.ask("/api/state", headers={"Cookie": others})[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_another_host_is_refused_even_with_the_token(host: str, client: Client) -> None:
    port = client.origin.rpartition(":")[2]
    link = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
    link.putrequest("GET", "/api/state", skip_host=True)
    if host:
        link.putheader("Host", host.replace("{port}", port))
    link.putheader("Cookie", client.cookie)
    link.endheaders()
    assert link.getresponse().status in (400, 403)  # without any, uvicorn itself may refuse
    link.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "https://127.0.0.1"},
        {"X-NTT": ""},
        {"X-NTT": "2"},
    ],
)
def test_a_change_from_elsewhere_is_refused(headers: dict[str, str], client: Client) -> None:
    assert client.ask("/api/view", LOOK)[0] == 200
    assert client.ask("/api/view", LOOK, headers)[0] == 403
    assert client.ask("/api/view", LOOK, headers | {"Cookie": ""})[0] == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_change_nothing(method: str, client: Client) -> None:
    assert client.ask("/api/view", LOOK, {"Origin": ""}, method=method)[0] == 403
    assert client.ask("/api/view", LOOK, method=method)[0] == 405


def test_every_answer_has_the_headers(client: Client) -> None:
    for path in ("/api/state", "/images/0/thumb", "/nothing", f"/?token={client.token}", "/?token=x"):
        headers = client.ask(path)[1]
        assert headers["content-security-policy"].startswith(
            "default-src 'self'; img-src 'self' blob: data:;"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


def test_a_body_that_is_too_long_is_refused(client: Client) -> None:
    link = http.client.HTTPConnection("127.0.0.1", int(client.origin.rpartition(":")[2]), timeout=30)
    link.putrequest("POST", "/api/ops")
    said = {
        "Cookie": client.cookie,
        "Origin": client.origin,
        "X-NTT": "1",
        "Content-Length": 2**25 + 1,
    }
    for name, value in said.items():
        link.putheader(name, str(value))
    link.endheaders()
    assert link.getresponse().status == 413, "before any of it was read"
    link.close()


def test_a_long_body_without_a_length_is_refused(client: Client) -> None:
    port = int(client.origin.rpartition(":")[2])
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Cookie": client.cookie, "Origin": client.origin, "X-NTT": "1"}
    piece = b" " * 2**20
    try:
        link.request("POST", "/api/ops", (piece for _ in range(34)), headers, encode_chunked=True)
        assert link.getresponse().status == 413
    except (BrokenPipeError, ConnectionResetError):
        pass  # it hung up before everything was sent
    finally:
        link.close()


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py",
        "/page/%2e%2e/server.py",
        "/page//etc/passwd",
        "/images/..%2f..%2f/view",
        "/images/-1/view",
    ],
)
def test_files_are_asked_for_by_id_only(path: str, client: Client) -> None:
    status, _, body = client.ask(path)
    assert status in (400, 404)
    assert b"import" not in body
    assert b"root:" not in body


def test_a_link_out_of_the_folder_is_not_shown(tmp_path: Path, pictures: Path) -> None:  # noqa: F811
    from no_time_to_train.app.images import Images
    from no_time_to_train.errors import DatasetError

    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "link.png").symlink_to(pictures / "0.png")
    with pytest.raises(DatasetError, match="leads out of"):
        Images(folder, ["link.png"]).pixels(0)


def test_tokens_are_long_and_new_at_every_start() -> None:
    tokens = {Access(("http://127.0.0.1:1",)).token for _ in range(10)}
    assert len(tokens) == 10
    assert min(map(len, tokens)) >= 32
    assert "token" not in repr(Access(("http://127.0.0.1:1",))).lower().replace("token=", "")


def test_a_port_that_is_taken_is_said() -> None:
    with listen("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        assert origins_of(held, "127.0.0.1") == (f"http://127.0.0.1:{port}", f"http://localhost:{port}")
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} cannot be listened at"):
            listen("127.0.0.1", port)
