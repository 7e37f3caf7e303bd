"""``ntt app`` as a process: killed at any moment it loses no answered operation, and it stops when told."""

from __future__ import annotations

import json
import signal
import threading
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest

from no_time_to_train.app.project import open_project
from no_time_to_train.errors import ConfigError
from tests.app.serving import Process, ring, squares

pytestmark = pytest.mark.slow


def annotations(image: int) -> dict[str, Any]:
    """A COCO file with one square of one picture."""
    size = {"width": 96, "height": 96}
    one = {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [ring(*squares(image)[0])]}
    return {
        "images": [{"id": 7, "file_name": f"{image}.png", **size}],
        "categories": [{"id": 1, "name": "tile"}],
        "annotations": [one],
    }


def test_kill_9_loses_nothing_that_was_answered(pictures: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    answered: list[int] = []
    with Process(pictures, tmp_path / "project") as running:
        outline = [ring(*squares(0)[0])]
        part = {"op": "add", "image": 0, "class": "a", "outline": outline, "role": "reference"}
        answered.append(running.client.do(part)["revision"])  # so that it searches while it is killed
        enough = threading.Event()

        def work() -> None:
            """Goes on until the answers end."""
            try:
                while True:
                    name = f"class {len(answered)}"
                    answered.append(running.client.do({"op": "class", "name": name})["revision"])
                    if len(answered) == 25:
                        enough.set()
            except (OSError, HTTPException):
                pass

        thread = threading.Thread(target=work)
        thread.start()
        assert enough.wait(60)
        with (
            pytest.raises(ConfigError, match="another run is writing to"),
            open_project(pictures, tmp_path / "project"),
        ):
            pass
        running.process.kill()
        thread.join(30)
    lines = (tmp_path / "project" / "log.jsonl").read_bytes().splitlines()
    assert {json.loads(line)["id"] for line in lines[: len(answered) + 1]} >= set(answered)
    coco = tmp_path / "annotations.json"
    coco.write_text(json.dumps(annotations(1)))
    with Process(pictures, tmp_path / "project", "--review", str(coco)) as running:
        assert "1 candidates to review" in "".join(running.lines)
        assert running.client.get("/api/images/1")["candidates"][0]["box"] == [*squares(1)[0]]
        state = running.client.get("/api/state")
        assert state["revision"] >= answered[-1]
        names = {one["name"] for one in state["classes"]}
        assert names >= {"a", *(f"class {number}" for number in range(1, len(answered)))}
        assert running.client.get("/api/images/0")["objects"][0]["role"] == "reference"
        with running.client.events() as events:  # an open stream does not keep the server
            next(events)
            running.process.send_signal(signal.SIGINT)
            assert running.rest().endswith("stopped; everything is in the project\n")
        assert running.process.returncode == 0
    assert {path: path.read_bytes() for path in pictures.iterdir()} == before, "no picture is touched"
