"""What the app does not compute twice, and that 20,000 pictures open."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from torch import nn

from no_time_to_train.api import Segmenter
from tests.app.serving import ring, served, squares, write_pictures

MANY = 20_000


@contextmanager
def passes(network: nn.Module) -> Iterator[list[int]]:
    """Images that go through a network meanwhile, one number a call."""
    seen: list[int] = []
    hook = network.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    try:
        yield seen
    finally:
        hook.remove()


def reference(image: int, which: int = 0) -> dict[str, object]:
    outline = [ring(*squares(image)[which])]
    return {"op": "add", "image": image, "class": "square", "outline": outline, "role": "reference"}


def test_a_picture_is_encoded_once_for_all_its_prompts(tmp_path: Path, finder: Segmenter) -> None:
    own = write_pictures(tmp_path / "own", side=88)
    masks = []
    with passes(finder.model.sam.image_encoder) as seen:
        for _ in range(2):  # starts of the program
            with served(own, tmp_path / "project", finder) as (_, client):
                for x in (20, 60, 70):
                    masks.append(client.post("/api/images/1/mask", {"points": [[x, 20, 1]]})["outline"])
    assert seen == [1]
    assert masks[:3] == masks[3:]


def test_no_picture_is_encoded_again_for_another_search_or_start(tmp_path: Path, finder: Segmenter) -> None:
    own = write_pictures(tmp_path / "own", side=90)
    sam, encoder = finder.model.sam.image_encoder, finder.model.encoder
    with served(own, tmp_path / "project", finder) as (app, client):
        with passes(sam) as seen, passes(encoder) as encoded:
            client.do(reference(0))
            assert app.search.idle.wait(120)
        assert sum(seen) == 3
        assert 3 <= sum(encoded) <= 4, "three pictures; the reference may be like one of before"
        with passes(sam) as seen, passes(encoder) as encoded:
            client.do(reference(1))
            assert app.search.idle.wait(120)
        assert seen == []
        assert sum(encoded) <= 1, "the new reference alone"
    with served(own, tmp_path / "project", finder) as (app, client), passes(sam) as seen:
        app.search.start()
        assert app.search.idle.wait(120)
        assert client.get("/api/state")["classes"][0]["candidates"] > 0
    assert seen == []


def test_pictures_are_encoded_in_advance_before_anything_is_searched_for(
    tmp_path: Path, finder: Segmenter
) -> None:
    own = write_pictures(tmp_path / "own", count=2, side=84)
    sam = finder.model.sam.image_encoder
    with served(own, tmp_path / "project", finder) as (app, client):
        with client.events() as events, passes(sam) as seen:
            app.search.start()
            heard = [data["image"] for event, data, _ in first_events(events, "encoded", 2)]
        assert sorted(heard) == [0, 1]
        assert sum(seen) == 2
        with passes(sam) as seen:
            client.do(reference(0))
            assert app.search.idle.wait(120)
        assert seen == []


def first_events(
    events: Iterator[tuple[str, dict, int]], name: str, count: int
) -> list[tuple[str, dict, int]]:
    """The first events of a name."""
    found: list[tuple[str, dict, int]] = []
    while len(found) < count:
        event = next(events)
        if event[0] == name:
            found.append(event)
    return found


@pytest.mark.slow
def test_20000_pictures_open_in_seconds(tmp_path: Path, finder: Segmenter) -> None:
    base = write_pictures(tmp_path / "base", count=1) / "0.png"
    folder = tmp_path / "many"
    for number in range(MANY):
        if number % 1000 == 0:
            (folder / f"{number:05d}").mkdir(parents=True)
        os.link(base, folder / f"{number - number % 1000:05d}" / f"{number:05d}.png")
    start = time.process_time()
    with served(folder, tmp_path / "project", finder) as (_, client):
        rows = client.get("/api/images")
        state = client.get("/api/state")
        assert client.ask(f"/images/{MANY - 1}/thumb")[0] == 200
        client.do(reference(0) | {"image": MANY - 1, "role": None})
        spent = time.process_time() - start
        assert client.get("/api/images")[-1]["objects"] == 1
    assert (len(rows), state["images"]) == (MANY, MANY)
    assert rows[-1]["name"] == f"{MANY - 1000:05d}/{MANY - 1:05d}.png"
    assert spent < 10, "seconds of this process; about one on a desk machine"
    start = time.process_time()
    with served(folder, tmp_path / "project", finder) as (_, client):
        assert client.get("/api/images")[-1]["objects"] == 1
    assert time.process_time() - start < 10
