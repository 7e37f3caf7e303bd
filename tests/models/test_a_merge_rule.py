"""CONTRIBUTING's worked example, followed word for word in a copy of the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "CONTRIBUTING.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EDITED = ("models/parts.py", "models/parts.py", "config/point_grid.py", "config/point_grid.py")
"""Which file each diff of the page is for."""

USE = """
import sys, torch, yaml
from no_time_to_train.config import Sam2InferConfig, parse_block
from no_time_to_train.models.matching.soft_merge import Overlaps
from no_time_to_train.models.parts import build_merger

blocks = yaml.safe_load(sys.stdin.read())
rule = build_merger(parse_block(Sam2InferConfig, blocks["sam2_infer_cfgs"], "sam2_infer_cfgs")).rule
scores, labels = torch.tensor([0.9, 0.8, 0.6]), torch.tensor([0, 0, 1])
share = torch.tensor([[1.0, 0.25, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
rows = Overlaps(scores, scores, labels, share, torch.eye(3))
torch.testing.assert_close(rule(rows), torch.tensor([0.9, 0.8 * (1 - 0.5 * 0.5), 0.6]))
none = share[:0, :0]
assert rule(Overlaps(scores[:0], scores[:0], labels[:0], none, none)).shape == (0,)
print(type(rule).__name__)
"""


def blocks(language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(PAGE.read_text(encoding="utf-8")) if kind == language]


def patched(text: str, diff: str) -> str:
    """The text with one block of a diff applied, which must fit exactly once."""
    lines = diff.splitlines(keepends=True)
    old, new = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
    assert text.count(old) == 1, f"the page does not fit the code:\n{diff}"
    return text.replace(old, new)


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A copy of the package with what the page says."""
    ignored = shutil.ignore_patterns("*.safetensors", "__pycache__")
    shutil.copytree(ROOT / "no_time_to_train", tmp_path / "no_time_to_train", ignore=ignored)
    (code,) = blocks("python")
    (tmp_path / "no_time_to_train/models/extensions/linear_merge.py").write_text(code, encoding="utf-8")
    for diff, name in zip(blocks("diff"), EDITED, strict=True):
        path = tmp_path / "no_time_to_train" / name
        path.write_text(patched(path.read_text(encoding="utf-8"), diff), encoding="utf-8")
    return tmp_path


def test_the_worked_example_works(changed: Path) -> None:
    (yaml,) = [block for block in blocks("text") if block.startswith("sam2_infer_cfgs")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(changed), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", USE], input=yaml, env=environment, cwd=changed, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["LinearMerge"]
