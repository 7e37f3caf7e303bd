"""The app's addresses with real models over a real socket: prompts, operations, search, events, export."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from no_time_to_train.api import Segmenter
from no_time_to_train.app.answers import candidate_of
from no_time_to_train.app.found import candidates_of
from no_time_to_train.app.imports import import_annotations
from no_time_to_train.app.routes import App
from no_time_to_train.app.state import ObjectOf
from no_time_to_train.masks.rle import encode_mask
from no_time_to_train.results import Instances
from tests.app.serving import Client, ring, served, squares

SQUARE = ring(*squares(0)[0])
Both = tuple[App, Client]


def draw(
    client: Client, image: int = 0, name: str = "square", role: str | None = None, which: int = 0
) -> Any:
    outline = [ring(*squares(image)[which])]
    part = {"op": "add", "image": image, "class": name, "outline": outline, "role": role}
    return client.do(part)["objects"][0]


def searched(both: Both) -> list[dict[str, Any]]:
    """A reference, a search, and its candidates."""
    app, client = both
    draw(client, role="reference")
    assert app.search.idle.wait(120)
    return client.get("/api/candidates?class=square")["items"]


def test_a_click_gives_the_mask_under_it(client: Client) -> None:
    x1, y1, x2, y2 = squares(1)[0]
    answer = client.post("/api/images/1/mask", {"points": [[(x1 + x2) / 2, (y1 + y2) / 2, 1]], "box": None})
    assert np.abs(np.array(answer["box"]) - squares(1)[0]).max() <= 4
    assert 0 <= answer["score"] <= 1
    same = client.post("/api/images/1/mask", {"points": [], "box": [x2, y2, x1, y1]})
    assert np.abs(np.array(same["box"]) - squares(1)[0]).max() <= 4
    kept = client.do({"op": "add", "image": 1, "class": "a", "mask": answer["mask"]})["objects"][0]
    assert kept["outline"] == answer["outline"], "the token stands for the exact mask"


@pytest.mark.parametrize(
    "prompt",
    [
        {},
        {"points": [[1, 2]]},
        {"points": [[1, 2, 3]]},
        {"points": "x"},
        {"points": [], "box": [1, 2, 3]},
        {"points": [[float("nan"), 2, 1]]},
        {"points": [[1, 2, 1]] * 65},
    ],
)
def test_what_is_no_prompt_is_refused(prompt: dict[str, Any], client: Client) -> None:
    assert "a prompt needs" in client.post("/api/images/0/mask", prompt, 400)["error"]


def test_an_object_is_drawn_changed_undone_and_done_again(client: Client) -> None:
    one = draw(client)
    assert one["box"] == [*squares(0)[0]]
    assert one["outline"] == [[10, 10, 36, 10, 36, 36, 10, 36]]
    client.do(
        {"op": "change", "id": one["id"], "revision": one["revision"], "class": "tile", "role": "reference"}
    )
    assert client.get("/api/state")["undo"] == "change 1 of tile"
    client.do({"op": "undo"})
    there = client.get("/api/images/0")["objects"][0]
    assert (there["class"], there["role"]) == ("square", None)
    client.do({"op": "undo"})
    assert client.get("/api/images/0")["objects"] == []
    assert client.do({"op": "undo"}, status=400)["error"] == "there is nothing to undo"
    client.do({"op": "redo"})
    client.do({"op": "redo"})
    assert client.get("/api/images/0")["objects"][0]["class"] == "tile"
    client.do({"op": "undo"})
    client.do({"op": "image", "id": 2, "status": "done"})
    assert client.get("/api/state")["redo"] is None, "a new operation ends what can be done again"


def test_brush_strokes_change_an_outline(client: Client) -> None:
    answer = client.post(
        "/api/images/0/brush", {"outline": [SQUARE], "strokes": [{"points": [[40, 20]], "radius": 8}]}
    )
    assert answer["box"] == [10, 10, 49, 36]


def test_a_change_to_what_another_tab_changed_is_told(client: Client) -> None:
    one = draw(client)
    part = {"op": "change", "id": one["id"], "revision": one["revision"]}
    changed = client.do({**part, "class": "tile"})["objects"][0]
    for stale in (
        {**part, "class": "brick"},
        {**part, "op": "remove"},
        {"op": "decide", "ids": [one["id"]], "state": "rejected"},
    ):
        refused = client.do(stale, status=409)
        assert "meanwhile" in refused["error"]
        assert refused["objects"] == [changed]
    client.do({"op": "remove", "id": one["id"], "revision": changed["revision"]})
    assert client.do({**part, "class": "brick"}, status=409)["objects"] == []


def test_operations_of_one_request_are_done_as_a_whole_or_not_at_all(client: Client) -> None:
    one = draw(client)
    before = client.get("/api/state")["revision"]
    good = {"op": "add", "image": 1, "class": "b", "outline": [SQUARE]}
    bad = {"op": "change", "id": one["id"], "revision": 0, "class": "c"}
    client.do(good, bad, status=409)
    client.do(good, {"op": "fly"}, status=400)
    assert client.get("/api/state")["revision"] == before
    client.do(good, {"op": "image", "id": 1, "status": "done"})
    client.do({"op": "undo"})
    row = client.get("/api/images")[1]
    assert (row["objects"], row["status"]) == (0, "todo")


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"op": "add", "image": 9, "class": "a", "outline": [SQUARE]}, "there is no image 9"),
        ({"op": "add", "image": True, "class": "a", "outline": [SQUARE]}, "number of an image"),
        ({"op": "add", "image": 0, "class": " ", "outline": [SQUARE]}, "a class needs a name"),
        ({"op": "add", "image": 0, "class": "a\n", "outline": [SQUARE]}, "a class needs a name"),
        ({"op": "add", "image": 0, "class": "a", "outline": []}, "an outline must"),
        ({"op": "add", "image": 0, "class": "a", "outline": [SQUARE], "role": "negative"}, "the role"),
        ({"op": "decide", "ids": [], "state": "confirmed"}, "needs ids"),
        ({"op": "decide", "ids": ["c1"], "state": "maybe"}, "confirmed or rejected"),
        ({"op": "class", "name": "a", "threshold": 2}, "from 0 to 1"),
        ({"op": "image", "id": 0, "status": "half"}, "todo or done"),
        ({"op": "undo", "x": 1}, "nothing to undo"),
    ],
)
def test_wrong_operations_are_told_in_a_sentence(part: dict[str, Any], said: str, client: Client) -> None:
    assert said in client.do(part, status=400)["error"]
    assert client.get("/api/state")["revision"] == 1, "the list of pictures is all that there is"


def test_a_reference_finds_its_like_in_all_pictures(app_and_client: Both) -> None:
    _app, client = app_and_client
    found = searched(app_and_client)
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)
    for image in (1, 2):
        boxes = np.array([one["box"] for one in found if one["image"] == image])
        for square in squares(image):
            assert np.abs(boxes - square).max(axis=1).min() <= 4, f"{square} of picture {image}"
    shown = client.get("/api/images/0")["candidates"]
    assert all(np.abs(np.array(one["box"]) - squares(0)[0]).max() > 4 for one in shown), (
        "it is an object already"
    )
    state = client.get("/api/state")
    assert state["search"] == {"running": False, "done": 3, "total": 3, "why": None}
    counted = state["classes"][0]
    assert (counted["references"], counted["candidates"]) == (1, len(found))
    assert counted["above"] == sum(one["score"] >= 0.5 for one in found)
    assert client.get("/api/counts?class=square")["scores"] == [one["score"] for one in found]


def test_candidates_are_decided_once_and_reference_and_negative_change_the_search(
    app_and_client: Both,
) -> None:
    app, client = app_and_client
    found = searched(app_and_client)
    best, worst = found[0], found[-1]
    made = client.do({"op": "decide", "ids": [best["id"]], "state": "confirmed"})["objects"][0]
    assert (made["state"], made["source"], made["outline"]) == ("confirmed", "found", best["outline"])
    assert client.do({"op": "decide", "ids": [best["id"]], "state": "rejected"}, status=409)["objects"] == [
        made
    ]
    memory = app.search.memory
    assert app.search.idle.is_set(), "a confirmed one is not searched for unless it is made a reference"
    client.do(
        {"op": "change", "id": made["id"], "revision": made["revision"], "role": "reference"},
        {"op": "decide", "ids": [worst["id"]], "state": "rejected", "role": "negative"},
    )
    assert app.search.idle.wait(120)
    assert app.search.memory is not memory
    assert app.search.memory is not None
    assert app.search.memory.negatives is not None
    assert [item.negative for item in app.search.memory.references] == [False, False, True]
    ids = {one["id"] for one in client.get("/api/candidates?class=square")["items"]}
    assert not ids & {best["id"], worst["id"]}
    kept = client.get("/api/candidates?class=square&what=rejected")
    assert kept["total"] == 1
    assert kept["items"][0]["role"] == "negative"
    assert (
        "earlier start"
        in client.do({"op": "decide", "ids": ["c0-zz"], "state": "confirmed"}, status=409)["error"]
    )


def test_two_masks_of_one_object_chosen_together_become_one(app_and_client: Both) -> None:
    app, client = app_and_client
    searched(app_and_client)
    best = app.project.found.of_class("square")[0]
    twin = replace(best, id=f"{best.id}-twin", score=best.score - 0.01)
    app.project.found.put(best.image, [best, twin])
    both = {"op": "decide", "ids": [best.id, twin.id], "state": "confirmed"}
    assert len(client.do(both)["objects"]) == 1
    assert not [one for one in client.get(f"/api/images/{best.image}")["candidates"] if one["id"] == twin.id]


def test_a_search_that_fails_says_so(app_and_client: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    app, client = app_and_client

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr("no_time_to_train.app.search.segment_targets", broken)
        draw(client, role="reference")
        assert app.search.idle.wait(60)
        progress = client.get("/api/state")["search"]
        assert not progress["running"]
        assert "out of memory" in progress["why"]
    client.post("/api/search", {})
    assert app.search.idle.wait(60)
    assert client.get("/api/state")["search"]["why"] is None


def test_thresholds_and_names_of_classes(app_and_client: Both) -> None:
    app, client = app_and_client
    found = searched(app_and_client)
    limit = found[1]["score"]
    client.do({"op": "class", "name": "square", "threshold": limit})
    assert client.get("/api/state")["classes"][0]["above"] == 2
    assert sum(row["candidates"] for row in client.get("/api/images")) == 2
    client.do({"op": "class", "name": "square", "rename": "tile"})
    assert app.search.idle.wait(120)
    row = client.get("/api/state")["classes"]
    assert [(one["name"], one["threshold"], one["references"]) for one in row] == [("tile", limit, 1)]
    assert client.get("/api/candidates?class=tile")["total"] == len(found)
    client.do({"op": "undo"})
    assert [one["name"] for one in client.get("/api/state")["classes"]] == ["square"]
    for name in ("disc", "ring"):
        client.do({"op": "class", "name": name})
    client.do({"op": "class", "name": "disc", "rename": "coin"})
    names = [one["name"] for one in client.get("/api/state")["classes"]]
    assert names == ["square", "coin", "ring"], "a renamed class keeps its place"
    client.do({"op": "undo"})
    assert [one["name"] for one in client.get("/api/state")["classes"]] == ["square", "disc", "ring"]


@pytest.mark.parametrize("score", [0.93466, 0.93464, 0.5, 1.0])
def test_a_threshold_at_the_score_that_is_shown_keeps_the_candidate(
    app_and_client: Both, score: float
) -> None:
    code = encode_mask(np.ones((4, 4), bool))
    found = Instances((code,), torch.zeros(1, 4), torch.tensor([score]), torch.tensor([0]), (4, 4), ("one",))
    (candidate,) = candidates_of(0, found, 0.1)
    shown = candidate_of(app_and_client[0].project, candidate)["score"]
    assert shown == round(score, 4)
    assert candidate.score >= shown, "the server compares with what the page shows"


def test_an_image_is_counted_when_it_is_done(app_and_client: Both) -> None:
    """While the last one is searched, the search still runs."""
    app, client = app_and_client
    seen = []

    def note(event: str, data: dict[str, Any]) -> None:
        tell(event, data)
        if event == "found":  # its image is still in work
            seen.append((app.search.progress["done"], app.search.progress["running"]))

    tell, app.search.tell = app.search.tell, note
    draw(client, role="reference")
    assert app.search.idle.wait(120)
    assert seen == [(0, True), (1, True), (2, True)]
    assert app.search.progress["done"] == 3


def test_every_page_hears_of_operations_and_results(app_and_client: Both) -> None:
    _app, client = app_and_client
    with client.events() as events:
        assert next(events)[0] == "search"
        revision = draw(client, role="reference")["revision"]
        heard = [next(events)]
        while heard[-1][1].get("running") is not False or heard[-1][1].get("why"):
            heard.append(next(events))
    told = {event: data for event, data, _ in heard}
    assert told["op"] == {"revision": revision, "images": [0], "tab": "test"}
    assert told["search"]["done"] == 3
    assert {data["image"] for event, data, _ in heard if event == "found"} == {0, 1, 2}
    with client.events(last=revision - 1) as events:
        assert [next(events)[0] for _ in range(2)] == ["search", "op"]


def test_pictures_come_small_whole_and_cut_out(app_and_client: Both, tmp_path: Path) -> None:
    _app, client = app_and_client
    for path in ("/images/0/thumb", "/images/0/view", f"/crops/{draw(client)['id']}"):
        status, headers, body = client.ask(path)
        assert status == 200
        assert headers["content-type"] == "image/jpeg"
        assert max(Image.open(io.BytesIO(body)).size) <= 160
        if "etag" in headers:
            assert client.ask(path, headers={"If-None-Match": headers["etag"]})[0] == 304
    assert list((tmp_path / "project" / "thumbs").rglob("*.jpg"))
    assert client.ask("/crops/o99")[0] == 404
    assert client.ask("/images/99/view")[0] == 400


def test_what_is_exported_is_what_was_shown(app_and_client: Both) -> None:
    _app, client = app_and_client
    searched(app_and_client)
    client.do({"op": "class", "name": "square", "threshold": 0.6})
    asked = {"formats": ["coco", "yolo", "labelme", "cvat", "png", "csv"], "what": "all", "memory": True}
    answer = client.post("/api/export", asked)
    folder = Path(answer["folder"])
    assert set(answer["files"]) >= {"annotations.json", "yolo", "labelme", "cvat.xml", "masks", "counts.csv"}
    coco = COCO(folder / "annotations.json")
    for row in client.get("/api/images"):
        shown = client.get(f"/api/images/{row['id']}")
        expected = [one["box"] for one in shown["objects"] if one["state"] == "confirmed"]
        expected += [one["box"] for one in shown["candidates"] if one["score"] >= 0.6]
        written = [ann["bbox"] for ann in coco.loadAnns(coco.getAnnIds(imgIds=[row["id"] + 1]))]
        assert sorted([x, y, x + w, y + h] for x, y, w, h in written) == sorted(expected)
    again = Segmenter.load(folder / "memory.safetensors")
    assert again.classes == ("square",)
    confirmed = client.post("/api/export", {"formats": ["coco"], "what": "confirmed", "memory": False})
    assert confirmed["folder"] != answer["folder"]
    assert len(json.loads((Path(confirmed["folder"]) / "annotations.json").read_text())["annotations"]) == 1
    for wrong, said in (
        ({"formats": ["pdf"]}, "unknown"),
        ({}, "choose at least"),
        ({"formats": ["html"]}, "must be of"),
    ):
        assert said in client.post("/api/export", wrong, 400)["error"]


def test_annotations_come_in_as_references_or_to_review(
    app_and_client: Both, pictures: Path, tmp_path: Path, finder: Segmenter
) -> None:
    app, client = app_and_client
    first, second = draw(client), draw(client, which=1)
    client.do({"op": "remove", "id": second["id"], "revision": second["revision"]})
    client.do({"op": "undo"})
    folder = Path(client.post("/api/export", {"formats": ["coco"], "what": "confirmed"})["folder"])
    assert "2 were there before" in import_annotations(app.project, finder.model, folder, review=True)
    with served(pictures, tmp_path / "other", finder) as (other, page):
        said = import_annotations(other.project, finder.model, folder / "annotations.json", review=False)
        assert said.endswith("2 confirmed objects")
        there = page.get("/api/images/0")["objects"]
        assert [one["box"] for one in there] == [first["box"], second["box"]]
        assert {(one["source"], one["role"]) for one in there} == {("imported", "reference")}
    with served(pictures, tmp_path / "third", finder) as (other, page):
        import_annotations(other.project, finder.model, folder, review=True)
        waiting = page.get("/api/images/0")["candidates"]
        assert [one["box"] for one in waiting] == [first["box"], second["box"]]
        ids = {one["id"]: one["revision"] for one in waiting[:1]}
        page.do({"op": "decide", "ids": list(ids), "state": "confirmed", "revisions": ids})
        assert page.get("/api/images")[0]["objects"] == 1
        assert len(page.get("/api/images/0")["candidates"]) == 1


def test_where_one_left_is_where_one_goes_on(pictures: Path, tmp_path: Path, finder: Segmenter) -> None:
    with served(pictures, tmp_path / "project", finder) as (_, client):
        draw(client)
        client.do({"op": "image", "id": 1, "status": "done"})
        client.post("/api/view", {"image": 2})
        before, rows = client.get("/api/state"), client.get("/api/images/0")
    with served(pictures, tmp_path / "project", finder) as (app, client):
        after = client.get("/api/state")
        assert (after["revision"], after["undo"], after["view"]) == (before["revision"], before["undo"], 2)
        assert client.get("/api/images/0") == rows
        assert client.get("/api/images")[1]["status"] == "done"
        assert app.project.state.objects == {"o1": app.project.state.objects["o1"]}
        assert isinstance(app.project.state.objects["o1"], ObjectOf)
