"""The models are built once for all tests of the app; projects share their cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from no_time_to_train.api import Segmenter
from no_time_to_train.app.routes import App
from tests.app.browsing import visit
from tests.app.serving import Client, served, write_pictures


@pytest.fixture(scope="session")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    """The embedded models, with few prompts a picture."""
    cache = tmp_path_factory.mktemp("app-cache")
    return Segmenter("lite2_photographs", sam2="sam2_nano", cache=cache, points_per_side=6)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small pictures; nobody writes to them."""
    return write_pictures(tmp_path_factory.mktemp("app") / "pictures")


@pytest.fixture
def app_and_client(pictures: Path, tmp_path: Path, finder: Segmenter) -> Iterator[tuple[App, Client]]:
    """A new project of the three pictures, served."""
    with served(pictures, tmp_path / "project", finder) as both:
        yield both


@pytest.fixture
def client(app_and_client: tuple[App, Client]) -> Client:
    """The page's side of it."""
    return app_and_client[1]


@pytest.fixture
def app_page(client: Client, page: Any) -> Any:
    """The page of a new project of three small pictures."""
    return visit(page, client)
