"""The documentation: its commands and Python blocks run, its links exist, its figures have a source."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from no_time_to_train.config import parse_block
from no_time_to_train.config.files import BLOCKS, read_config
from no_time_to_train.config.presets import nano_options
from tests.conftest import ROOT
from tests.pages.blocks import Block, read_blocks
from tests.pages.commands import parse_line, run_line, working_in
from tests.pages.failures import Failure, message_of, other_failures, weights_failures
from tests.pages.room import prepare
from tools.reference_pages.yaml_page import block_kind

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "lab").glob("*.md")),
]
MORE_PAGES = [*sorted((ROOT / "docs" / "reference").glob("*.md")), *sorted(ROOT.glob("*/**/NANO.md"))]
MOST_UNRUN = 56
"""Blocks that need large weights, a benchmark's images, a network or an hour; they must stay few."""

by_name = {"ids": lambda page: page.relative_to(ROOT).as_posix()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("docs") / "my room")


@pytest.fixture
def room(prepared: Path, tmp_path: Path, keeping: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A room of its own for a page; the environment is put back after."""
    for name in ("HF_TOKEN", "DINOV3_REPO"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NTT_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("NTT_OFFLINE", "1")  # a documented command must not fetch anything here
    for place in ("no_time_to_train.api.settings", "no_time_to_train.config.presets"):
        monkeypatch.setattr(f"{place}.nano_options", few_prompts)  # that commands run does not need them all
    before = dict(os.environ)
    folder = Path(shutil.copytree(prepared, tmp_path / "my room", symlinks=True))
    yield folder
    os.environ.clear()
    os.environ.update(before)


def few_prompts(*, sam2: bool, encoder: bool) -> dict[str, Any]:
    """What the small models start from, with a quarter of the prompts."""
    return nano_options(sam2=sam2, encoder=encoder) | ({"points_per_side": 8} if sam2 else {})


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, **by_name)
def test_what_a_page_tells_to_do_works(page: Path, room: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for block in read_blocks(page):
        try:
            do(block, room, names, page)
        except Exception as error:
            raise AssertionError(f"{page.name}, line {block.line}: {error!r}\n{block.as_run}") from error


def do(block: Block, room: Path, names: dict[str, object], page: Path) -> None:
    """Run a block, or let the parsers read it."""
    if block.file:
        (room / block.file).parent.mkdir(parents=True, exist_ok=True)
        (room / block.file).write_text(block.as_run, encoding="utf-8")
    if block.language == "yaml":
        check_yaml(block.text, room)
    elif block.language == "bash":
        for line in block.commands(as_run=not block.not_run):
            (parse_line if block.not_run else run_line)(line, room)
    elif block.language == "python":
        code = compile(block.as_run, f"{page.name}:{block.line}", "exec")
        if not block.not_run:
            with working_in(room), warnings.catch_warnings():
                exec(code, names)


def check_yaml(text: str, room: Path) -> None:
    """A whole configuration, or some of its blocks by their names: keys, types and ranges are right."""
    content = yaml.safe_load(text)
    if "model" in content:
        path = room / "config.yaml"
        path.write_text(text)
        read_config(["--config", str(path)])
        return
    for name, value in content.items():
        if name in BLOCKS:
            parse_block(BLOCKS[name], value, name)
        elif name.endswith(("_cfg", "_cfgs")):
            parse_block(block_kind(f"model_cfg.{name}"), value, name)
        elif name in ("fill_memory", "test", "support", "negatives"):
            parse_block(block_kind(f"dataset_cfgs.{name}"), value, name)
        else:
            parse_block(block_kind("model_cfg"), {name: value}, "model_cfg")


@pytest.mark.parametrize("page", [*PAGES, *MORE_PAGES], **by_name)
def test_links_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, section = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert target.is_relative_to(ROOT), f"{page.name}: {link} leads out of the project"
        if section:
            assert section in sections(target), f"{page.name}: {link}"


def test_every_page_is_in_the_one_list() -> None:
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page != "README.md" and f"({page})" not in text] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def sections(page: Path) -> set[str]:
    """Link targets of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *MORE_PAGES], **by_name)
def test_named_files_of_the_project_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    rooms = r"(?:no_time_to_train|tools|tests|scripts|benchmarks|docs|dinov3|notebooks)"
    for name in re.findall(rf"(?<![\w/.-])({rooms}/[\w./-]*[\w/])", text):
        assert (ROOT / name).exists() or name.startswith("dinov3/dinov3_"), f"{page.name}: {name}"
    for module in re.findall(r"python -m ((?:no_time_to_train|tools|benchmarks)[\w.]*)", text):
        path = ROOT / module.rstrip(".").replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), f"{page.name}: {module}"


COMMAND = re.compile(
    r"`[^`]*\b(?:ntt|python|make|pytest|bash|scripts/)\b[^`]*`|```bash|^ {4}(?:python|ntt|OMP)", re.M
)
PUBLISHED = re.compile(r"arXiv|paper|published by|authors report", re.I)
GENERATED = re.compile(r"<!-- generated: .*?<!-- end of generated -->", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, **by_name)
def test_figures_name_their_command_or_their_source(page: Path) -> None:
    """Under a heading with a table of decimal figures stands the command that prints them, or the paper."""
    text = GENERATED.sub("", page.read_text(encoding="utf-8"))
    for part in re.split(r"^#+ ", text, flags=re.M):
        rows = [line for line in part.splitlines() if line.startswith("|") and re.search(r"\d\.\d", line)]
        if rows:
            assert COMMAND.search(part) or PUBLISHED.search(part), f"{page.name}: {part.splitlines()[0]}"


def test_few_blocks_are_left_out_and_each_says_why() -> None:
    left_out = [
        f"{page.name}:{block.line}: {block.not_run}"
        for page in PAGES
        for block in read_blocks(page)
        if block.not_run
    ]
    assert len(left_out) <= MOST_UNRUN, "\n".join(left_out)


def test_readme_quotes_the_figures_of_the_nano_weights() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    nano = (ROOT / "no_time_to_train" / "weights" / "NANO.md").read_text(encoding="utf-8")
    quoted = re.search(r"segm AP ([\d.]+) and AP50 ([\d.]+)", readme)
    assert quoted is not None
    assert f"segm AP {quoted[1]}, AP50 {quoted[2]}" in " ".join(nano.split())


def test_the_page_of_the_embedded_weights_is_of_the_files_that_come() -> None:
    folder = ROOT / "no_time_to_train" / "weights"
    told = re.findall(r"([0-9a-f]{64})  (\S+)", (folder / "NANO.md").read_text(encoding="utf-8"))
    came = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}
    assert {name: digest for digest, name in told} == came


def test_pictures_are_small() -> None:
    pictures = [path for path in (ROOT / "docs" / "pictures").iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in pictures) < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "failures"),
    [("DINOV3_INTEGRATION.md", weights_failures), ("docs/troubleshooting.md", other_failures)],
    ids=["weights", "others"],
)
def test_messages_are_as_the_page_shows_them(
    page: str, failures: Callable[[], list[Failure | str]], room: Path, recwarn: pytest.WarningsRecorder
) -> None:
    blocks = [block for block in read_blocks(ROOT / page) if block.language == "message"]
    shown = [line for block in blocks for line in block.text.splitlines()]
    with working_in(room):
        raised = [message_of(failure) for failure in failures()]
    for message in raised:
        assert [line for line in shown if shows(line, message)], f"{page} does not show: {message}"
    for line in shown:
        assert [message for message in raised if shows(line, message)], f"nothing says: {line}"


def shows(line: str, message: str) -> bool:
    """Whether a line of a page is this message; ``…`` stands for what differs."""
    pattern = ".*".join(re.escape(part) for part in line.split("…"))
    return re.fullmatch(pattern, message, re.DOTALL) is not None


LANGUAGES = {"bash", "python", "pycon", "yaml", "json", "text", "message", "bibtex", "diff"}


@pytest.mark.parametrize("page", [*PAGES, *MORE_PAGES], **by_name)
def test_every_block_says_its_language(page: Path) -> None:
    fences = re.findall(r"^```(.*)$", page.read_text(encoding="utf-8"), re.M)
    assert set(fences[::2]) <= LANGUAGES, f"{page.name}: {set(fences[::2]) - LANGUAGES}"
    assert set(fences[1::2]) <= {""}, page.name
    assert len(fences) % 2 == 0, page.name
