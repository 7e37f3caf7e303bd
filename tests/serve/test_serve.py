"""``ntt serve`` over a real socket: what it answers, whom it refuses, and that nothing taken is lost."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from no_time_to_train import Segmenter
from no_time_to_train.config import SearchConfig
from tests.conftest import ROOT
from tests.folder_layout import FAST, Layout, write_layout

uvicorn = pytest.importorskip("uvicorn", reason="needs the extra app: pip install 'no-time-to-train[app]'")

from no_time_to_train.serve.batches import Batches, BusyError  # noqa: E402
from no_time_to_train.serve.guard import Caller, ProgramGuard  # noqa: E402
from no_time_to_train.serve.routes import Served  # noqa: E402
from no_time_to_train.web.guards import Access  # noqa: E402
from no_time_to_train.web.running import LOOPBACK, listen, origins_of  # noqa: E402

CONFIG = (
    '<View><Image name="img" value="$photo"/><PolygonLabels name="poly" toName="img"><Label value="x"/>'
    "</PolygonLabels></View>"
)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_layout(tmp_path_factory.mktemp("serve") / "data")


@pytest.fixture(scope="module")
def finder(layout: Layout) -> Segmenter:
    return Segmenter("dinov3_nano", "sam2_nano", **FAST).add_folder(layout.references)


@pytest.fixture(scope="module")
def picture(layout: Layout) -> Path:
    return sorted(layout.pictures.iterdir())[0]


@pytest.fixture(scope="module")
def address(finder: Segmenter, layout: Layout) -> Iterator[str]:
    batches = Batches(finder, SearchConfig(), batch_size=2)
    served = Served(batches, 0.2, most_pixels=100_000, root=layout.pictures)
    with Running(served) as origin:
        yield origin
    batches.close()


class Running:
    """A server in a thread of this process."""

    def __init__(self, served: Served, token: str | None = None) -> None:
        self.listening = listen(LOOPBACK, 0)
        origins = origins_of(self.listening, LOOPBACK)
        guarded = ProgramGuard(served.app(), Caller(Access(origins, most_bytes=200_000), token))
        self.origin = origins[0]
        self.server = uvicorn.Server(uvicorn.Config(guarded, log_level="error", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]})

    def __enter__(self) -> str:
        self.thread.start()
        return self.origin

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()


def ask(address: str, data: bytes | dict[str, Any] | None = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON; a dictionary is sent as JSON."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(data, dict):
        data, sent = json.dumps(data).encode(), {"Content-Type": "application/json", **sent}
    elif data is not None:
        sent = {"Content-Type": "image/png", **sent}
    try:
        with urlopen(Request(address, data, sent), timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_a_served_prediction_is_that_of_predict(address: str, finder: Segmenter, picture: Path) -> None:
    found = finder.predict(picture, min_score=0.2)
    status, content = ask(f"{address}/predict", picture.read_bytes())
    assert status == 200
    assert content["annotations"] == found.to_coco() != []
    assert [item["name"] for item in content["categories"]] == list(finder.classes)
    _, outlines = ask(f"{address}/predict?format=polygons", picture.read_bytes())
    scores = [item["score"] for item in outlines["instances"]]
    assert scores == found.scores.tolist()
    assert all(item["polygons"] for item in outlines["instances"])
    assert ask(f"{address}/health")[1]["status"] == "UP"


def test_label_studio_gets_polygons(address: str, finder: Segmenter, picture: Path) -> None:
    assert ask(f"{address}/setup", {"project": "1", "schema": CONFIG})[0] == 200
    found = finder.predict(picture, min_score=0.2)
    inline = "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
    tasks = [
        {"id": number, "data": {"photo": photo}}
        for number, photo in enumerate([f"/data/local-files/?d={picture.name}", inline])
    ]
    status, content = ask(f"{address}/predict", {"tasks": tasks, "label_config": CONFIG})
    assert status == 200
    for result in content["results"]:
        regions = result["result"]
        assert [region["score"] for region in regions] == found.scores.tolist()
        assert {(region["from_name"], region["to_name"]) for region in regions} == {("poly", "img")}
        names = [region["value"]["polygonlabels"][0] for region in regions]
        assert names == [found.class_name(label) for label in found.labels.tolist()]
        assert all(0 <= x <= 100 for region in regions for point in region["value"]["points"] for x in point)


@pytest.mark.parametrize(
    ("data", "headers", "status", "said"),
    [
        (b"no picture", {}, 400, "image: not an image that Pillow knows"),
        (b"x" * 200_001, {}, 413, "200000 bytes"),
        (b"x", {"Origin": "http://evil.example"}, 403, "a page in a browser may not ask it"),
        (b"x", {"Host": "evil.example"}, 403, "only to the address"),
        ({"tasks": [{"data": {"photo": "http://169.254.169.254/"}}]}, {}, 400, "is no local file"),
        ({"tasks": [{"data": {"photo": "/data/local-files/?d=../../etc/passwd"}}]}, {}, 400, "below --root"),
        ({"label_config": "<View/>"}, {}, 400, "needs PolygonLabels"),
        ({"label_config": "<!DOCTYPE a [<!ENTITY b 'c'>]><View/>"}, {}, 400, "neither a DOCTYPE"),
    ],
)
def test_what_is_refused(address: str, data: Any, headers: dict[str, str], status: int, said: str) -> None:
    ask(f"{address}/setup", {"schema": CONFIG})
    given, content = ask(f"{address}/predict", data, **headers)
    assert (given, said in content["error"]) == (status, True), content


def test_pixels_are_counted_before_they_are_decoded(address: str, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (4000, 4000)).save(tmp_path / "large.png")
    status, content = ask(f"{address}/predict", (tmp_path / "large.png").read_bytes())
    assert status == 413
    assert "4000 x 4000 pixels" in content["error"]


def test_a_token_where_there_is_one(finder: Segmenter, picture: Path) -> None:
    batches = Batches(finder, SearchConfig())
    with Running(Served(batches), token="secret") as origin:
        assert ask(f"{origin}/predict", picture.read_bytes())[0] == 401
        assert ask(f"{origin}/predict", picture.read_bytes(), Authorization="Bearer wrong")[0] == 401
        assert ask(f"{origin}/predict", picture.read_bytes(), Authorization="Bearer secret")[0] == 200
        assert ask(f"{origin}/health")[0] == 200
    batches.close()


def test_a_full_queue_refuses_and_an_ending_one_works_off(finder: Segmenter, picture: Path) -> None:
    batches = Batches(finder, SearchConfig(), most_waiting=2)
    taken, refused = [], 0
    for _ in range(8):
        try:
            taken.append(batches.submit(picture, "one"))
        except BusyError:
            refused += 1
    assert refused > 0
    batches.close()
    assert all(len(future.result(timeout=0)) for future in taken)
    with pytest.raises(BusyError):
        batches.submit(picture, "late")


def test_a_search_that_fails_fails_alone(finder: Segmenter, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    batches = Batches(finder, SearchConfig(), batch_size=4)
    futures = [batches.submit(path, path.name) for path in (picture, tmp_path / "broken.png", picture)]
    assert len(futures[0].result(30)) == len(futures[2].result(30)) > 0
    assert "broken.png" in str(futures[1].exception(30))
    batches.close()


@pytest.mark.slow
def test_nothing_is_lost_when_the_process_is_told_to_stop(
    finder: Segmenter, picture: Path, quick_python: str, tmp_path: Path
) -> None:
    memory = finder.save(tmp_path / "memory.safetensors")
    command = [quick_python, "-m", "no_time_to_train.cli", "serve", "--memory", str(memory), "--port", "0"]
    process = subprocess.Popen([*command, "--device", "cpu"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        origin = re.search(r"http://\S+", process.stdout.readline())[0]
        data = picture.read_bytes()
        assert ask(f"{origin}/predict", data)[0] == 200  # so that it answers at all
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(ask, f"{origin}/predict", data) for _ in range(6)]
            # All are taken when but one, which is being searched, are done or wait.
            while ask(f"{origin}/health")[1]["waiting"] + sum(one.done() for one in asked) < 5:
                pass
            process.send_signal(signal.SIGTERM)
            assert [one.result()[0] for one in asked] == [200] * 6
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()
