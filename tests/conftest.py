"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden data and small real data sets that lies beside the project."""
    folder = Path(os.environ.get("NTT_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the golden and real data in {folder.name}/ beside the project (or NTT_SHARED)")
    return folder
