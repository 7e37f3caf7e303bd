"""The types in the page's comments are right, where TypeScript's compiler is installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.conftest import ROOT


def test_types_of_the_page() -> None:
    compiler = shutil.which("tsc")
    if compiler is None:
        pytest.skip("needs tsc: npm install --global typescript")
    done = subprocess.run([compiler, "-p", ROOT / "jsconfig.json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
