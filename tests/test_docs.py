"""What README and the DINOv3 guide say: paths exist, Python blocks compile, the offline one runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "DINOV3_INTEGRATION.md",
    ROOT / "no_time_to_train" / "weights" / "NANO.md",
]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"(?:python3?|--config) ((?:no_time_to_train|tools|run_light)[\w./]+)", text)
    for name in links + named:
        assert (page.parent / name).exists() or (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES[:2], ids=lambda page: page.name)
def test_python_blocks_compile(page: Path) -> None:
    found = blocks(page, "python")
    assert found
    for number, code in enumerate(found):
        compile(code, f"{page.name} block {number}", "exec")


def test_the_notebook_block_of_the_guide_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks(ROOT / "DINOV3_INTEGRATION.md", "python")
    names: dict[str, object] = {}
    exec(code, names)
    assert "dinov3_large" in capsys.readouterr().out
    assert names["model"].embed_dim == 384  # type: ignore[attr-defined]


def test_every_preset_stands_in_the_guide() -> None:
    from no_time_to_train.models import DINOV3_CONFIGS

    text = (ROOT / "DINOV3_INTEGRATION.md").read_text(encoding="utf-8")
    assert [name for name in DINOV3_CONFIGS if f"`{name}`" not in text] == []
