"""``requirements.lock`` fits ``setup.py`` on every Python and platform, and pins each package once."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tools.try_versions import requirements

LINES = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
PLATFORMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "arm": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64"},
}


def pins(python: str, platform: dict[str, str]) -> dict[str, str]:
    """Version by name, of the lines whose markers fit."""
    here = {**platform, "python_version": python, "python_full_version": f"{python}.4"}
    found: dict[str, str] = {}
    for line in LINES:
        if line.startswith("#"):
            continue
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(here):
            name = canonicalize_name(pin.name)
            assert name not in found, f"{line}: pinned twice"
            (only,) = pin.specifier
            assert only.operator == "==", line
            found[name] = only.version
    return found


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_everything_that_is_required_is_pinned_within_its_bounds(
    python: str, platform: dict[str, str]
) -> None:
    pinned = pins(python, platform)
    for line in requirements():
        wanted = Requirement(line)
        version = pinned.get(canonicalize_name(wanted.name))
        assert version is not None, f"{line} is not in requirements.lock; run tools/lock.py"
        assert wanted.specifier.contains(version), (line, version)


def test_it_names_no_index_and_no_path() -> None:
    assert [line for line in LINES if "://" in line or line.startswith(("-", ".", "/")) or "@" in line] == []
