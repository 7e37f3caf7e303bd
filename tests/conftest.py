"""Fixtures that every room's tests share."""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("project", deadline=None)  # how long an example takes is no property of the code
settings.load_profile("project")

ROOT = Path(__file__).resolve().parents[1]

pytest_plugins = ["tests.scene_runs", "tests.browser", "tests.quick_python"]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden data and small real data sets that lies beside the project."""
    folder = Path(os.environ.get("NTT_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the golden and real data in {folder.name}/ beside the project (or NTT_SHARED)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_weights_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a user has downloaded changes what is chosen by default; here that is always the nano weights."""
    os.environ.setdefault("NTT_CHECKPOINTS", str(tmp_path_factory.mktemp("checkpoints")))


def pytest_collection_finish() -> None:
    """What is imported by now stays; the collector need not look through it again at every turn."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that on several cores the long ones do not come last, alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def heard_loggers() -> None:
    """The package's loggers as they begin, whatever an earlier test or a library made of them."""
    logging.disable(logging.NOTSET)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "no_time_to_train" and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)
