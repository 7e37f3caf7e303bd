"""The command as users run it: a killed process goes on where it was, and every figure is a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from no_time_to_train.bench.accuracy.command import main, read_numbers
from no_time_to_train.bench.accuracy.page import BEGIN, END
from no_time_to_train.errors import ConfigError
from tests.conftest import ROOT

ROWS = """
base: {base}
rows:
  published: {{model_cfg.encoder_cfg.name: dinov3_nano, model_cfg.sam2_infer_cfgs.points_per_side: 6}}
  largest piece:
    model_cfg.encoder_cfg.name: dinov3_nano
    model_cfg.sam2_infer_cfgs.points_per_side: 6
    model_cfg.sam2_infer_cfgs.prompting.clean: 1.0
  guided:
    model_cfg.encoder_cfg.name: dinov3_nano
    model_cfg.sam2_infer_cfgs.prompts: guided
    model_cfg.sam2_infer_cfgs.prompting.coarse: 4
    model_cfg.sam2_infer_cfgs.prompting.most: 8
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The command computes with one thread; what comes after it in this process should not."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.yaml"
    path.write_text(ROWS.format(base=ROOT / "no_time_to_train" / "pl_configs" / "accuracy" / "nano.yaml"))
    return path


@pytest.fixture(scope="module")
def whole(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody disturbed: two pictures, three rows, 1 and 2 shots."""
    out = tmp_path_factory.mktemp("whole")
    assert main(words(rows, out)) == 0
    return out


def words(rows: Path, out: Path) -> list[str]:
    options = ["--tasks", "scenes-val", "--targets", "2", "--shots", "1-2", "--seeds", "0"]
    return ["--rows", str(rows), "--out", str(out), *options]


def test_a_killed_run_goes_on_where_it_was(rows: Path, whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "no_time_to_train.cli", "bench", "--accuracy", *words(rows, tmp_path)]
    paths = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=paths, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "largest piece, 1 shots" in line:
                break
        process.kill()
    cells = tmp_path / "cells.jsonl"
    before = cells.read_text()
    assert 3 <= before.count("\n") <= 6
    assert main(words(rows, tmp_path)) == 0
    assert cells.read_text().startswith(before)  # what was finished was not run again
    assert cells.read_text().count("\n") == 6
    for name in ("table.json", "table.md"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_a_finished_run_computes_nothing(
    rows: Path, whole: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (whole / "cells.jsonl").read_bytes()
    assert main(words(rows, whole)) == 0
    assert (whole / "cells.jsonl").read_bytes() == before
    assert "cells in" not in caplog.text
    assert "| largest piece |" in capsys.readouterr().out


def test_the_figures_are_those_of_the_model(whole: Path) -> None:
    content = json.loads((whole / "table.json").read_text())
    assert content["baseline"] == "published"
    cells = content["cells"]
    assert [(cell["row"], cell["shots"]) for cell in cells[:3]] == [
        ("published", 1),
        ("published", 2),
        ("largest piece", 1),
    ]
    for cell in cells:
        figures = cell["measures"]
        assert 0 <= figures["segm_AP"] <= figures["segm_AP50"] <= 1
        assert 0 <= figures["recall75"] <= figures["recall50"] <= 1
        assert figures["prompts"] == 36 if cell["row"] != "guided" else 16 <= figures["prompts"] <= 24
    assert any(cell["measures"]["segm_AP"] > 0.02 for cell in cells)
    pooled = content["summary"]["choose"]["pooled"]
    of_row = [cell["measures"]["segm_AP"] for cell in cells if cell["row"] == "guided"]
    assert pooled["guided"]["segm_AP"]["mean"] == pytest.approx(sum(of_row) / 2)
    gain = pooled["guided"]["segm_AP"]["mean"] - pooled["published"]["segm_AP"]["mean"]
    assert pooled["guided"]["segm_AP"]["difference"]["mean"] == pytest.approx(gain)
    assert pooled["published"]["segm_AP"]["difference"] is None


def test_the_pipeline_run_plainly_gives_the_same_average_precision(whole: Path, rows: Path) -> None:
    from no_time_to_train.bench.accuracy.rows import read_rows
    from no_time_to_train.bench.accuracy.tasks import choose_tasks
    from no_time_to_train.dataset.coco.results import to_coco_rows
    from no_time_to_train.evaluation.coco_ap import evaluate_coco
    from no_time_to_train.models.factory import build_model
    from no_time_to_train.pipeline.remember import remember
    from no_time_to_train.pipeline.segment import segment_targets

    row = read_rows(rows)[1]
    (task,) = choose_tasks(whole / "scenes", None, ["scenes-val"], 2)
    episode = task.episode(0)
    model = build_model(row.model)
    memory = remember(model, episode.given(2))
    assert memory.class_names == episode.categories.names
    found = []
    for target, instances in segment_targets(model, memory, episode.targets()):
        found += to_coco_rows(instances, target.image_id, episode.categories.ids)
    plain = evaluate_coco(episode.truth, found)
    cells = json.loads((whole / "table.json").read_text())["cells"]
    (cell,) = [cell for cell in cells if cell["row"] == "largest piece" and cell["shots"] == 2]
    assert cell["measures"]["segm_AP"] == pytest.approx(plain["segm/AP"], abs=1e-9)
    assert cell["measures"]["box_AP"] == pytest.approx(plain["bbox/AP"], abs=1e-9)


def test_more_shots_than_there_are_references_are_not_run_again(rows: Path, tmp_path: Path) -> None:
    assert main([*words(rows, tmp_path), "--shots", "5,10", "--only", "guided", "--targets", "1"]) == 0
    assert (tmp_path / "cells.jsonl").read_text().count("\n") == 2  # rows
    cells = json.loads((tmp_path / "table.json").read_text())["cells"]
    assert [cell["shots"] for cell in cells] == [5, 10, 5, 10]
    assert cells[0]["measures"] == cells[1]["measures"] != cells[2]["measures"] == cells[3]["measures"]


def test_the_page_gets_the_table_between_its_marks(rows: Path, whole: Path, tmp_path: Path) -> None:
    page = tmp_path / "accuracy.md"
    page.write_text(f"# Accuracy\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    assert main([*words(rows, whole), "--page", str(page), "--by-shots"]) == 0
    text = page.read_text()
    assert text.startswith("# Accuracy\n")
    assert text.endswith(f"{END}\n\nAfter.\n")
    assert "old" not in text
    assert "| guided |" in text
    assert "| guided | all |" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "grided"], "unknown row 'grided'"),
        (["--tasks", "scenes-vel"], "scenes-val"),
        (["--shots", "few"], "1,3,5 or 0-4"),
        (["--row", "mine", "model_cfg.sam2_infer_cfgs.merg=none"], "merge"),
        (["--row", "mine", "merge"], "KEY=VALUE"),
        (["--row", "guided", "model_cfg.sam2_infer_cfgs.merge=none"], "another name"),
        (["--rows", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_is_wrong_comes_as_one_sentence(
    rows: Path, whole: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    only = ["--only", "guided"] if "--row" in options else []
    assert main([*words(rows, whole), *only, *options]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert said in message
    assert len(message.strip().splitlines()) == 1


def test_numbers_are_lists_or_ranges() -> None:
    assert read_numbers("5,1-3") == [1, 2, 3, 5]
    for wrong in ("", "a", "1-", "-2", "1.5"):
        with pytest.raises(ConfigError):
            read_numbers(wrong)
