"""A model computed by another engine finds the same, is told apart everywhere, and is checked before use."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from no_time_to_train import Segmenter
from no_time_to_train.cli import main
from no_time_to_train.config import ModelConfig, parse_block
from no_time_to_train.errors import ConfigError, MemoryMismatchError
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.engines import fastest
from no_time_to_train.models.engines.export import export_image_graph
from no_time_to_train.models.engines.fastest import with_fast
from no_time_to_train.models.engines.graph import encoder_facts
from no_time_to_train.models.factory import build_model
from no_time_to_train.pipeline import graphs
from no_time_to_train.pipeline.graphs import GraphReport
from tests.conftest import ROOT
from tests.models.small_models import picture

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

NAMES = ("dinov3_nano", "sam2_nano")
FEW: dict[str, Any] = {"img_size": 96, "points_per_side": 4}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Graphs are exported once for all tests."""
    root = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NTT_CHECKPOINTS", str(root))
        yield root / "graphs"


def shown(**options: Any) -> Segmenter:
    """Noise has no objects, so every mask is kept."""
    options = {"iou_thr": 0.0, **options}
    image, mask = picture(1, (96, 96)), np.zeros((96, 96), bool)
    mask[20:60, 30:70] = True
    return Segmenter(*NAMES, device="cpu", **FEW, **options).add("thing", image, mask=mask)


@pytest.fixture(scope="module")
def by_torch() -> Segmenter:
    return shown()


@pytest.fixture(scope="module")
def by_onnxruntime(folder: Path) -> Segmenter:
    return shown(backend="onnxruntime", engine={"threads": 1})


@pytest.mark.slow
def test_the_same_instances(by_torch: Segmenter, by_onnxruntime: Segmenter) -> None:
    for one, other in zip(
        *(s.predict([picture(2), picture(3)]) for s in (by_torch, by_onnxruntime)), strict=True
    ):
        assert len(one) == len(other) > 0
        torch.testing.assert_close(one.scores, other.scores, atol=1e-4, rtol=0)
        assert (one.masks == other.masks).float().mean() > 0.999


@pytest.mark.slow
def test_openvino_finds_the_same(by_torch: Segmenter) -> None:
    pytest.importorskip("openvino")
    found = shown(backend="openvino").predict(picture(2))
    torch.testing.assert_close(found.scores, by_torch.predict(picture(2)).scores, atol=1e-4, rtol=0)


SIGNALLED = """
import gc, signal, sys
from pathlib import Path
from no_time_to_train.config import EngineConfig
from no_time_to_train.models.engines.sessions import open_session
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
sessions = [open_session(Path(sys.argv[1]), "openvino", "fp32", EngineConfig()) for _ in range(2)]
while sessions:
    sessions.pop(0)
    gc.collect()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.slow
def test_a_signal_is_handled_after_openvino(by_onnxruntime: Segmenter, folder: Path) -> None:
    """Two of its cores, the first closed first, leave the stack of signals at one that is gone."""
    pytest.importorskip("openvino")
    (graph,) = folder.glob("encoder-*.onnx")
    done = subprocess.run([sys.executable, "-c", SIGNALLED, str(graph)], cwd=ROOT, check=False)
    assert done.returncode == 130


@pytest.mark.slow
def test_graphs_are_kept_and_checked_once(by_onnxruntime: Segmenter, folder: Path) -> None:
    list(by_onnxruntime.predict([picture(2)]))
    kept = sorted(folder.glob("*.onnx"))
    assert [path.name.split("-")[0] for path in kept] == ["encoder", "sam2"]
    before = [path.stat().st_mtime_ns for path in kept]
    notes = [json.loads(path.read_text()) for path in folder.glob("*onnxruntime-fp32.json")]
    assert len(notes) == 2
    assert all(note["cosine"] > 0.999 for note in notes)
    again = shown(backend="onnxruntime").model
    assert again.encoder.engine.checked
    assert again.sam.engine.checked
    assert [path.stat().st_mtime_ns for path in kept] == before


@pytest.mark.slow
def test_memories_belong_to_their_engine(
    by_torch: Segmenter, by_onnxruntime: Segmenter, tmp_path: Path
) -> None:
    ours, theirs = (
        by_torch.save(tmp_path / "torch.safetensors"),
        by_onnxruntime.save(tmp_path / "ort.safetensors"),
    )
    assert Segmenter.load(theirs).config.backend == "onnxruntime"
    with pytest.raises(MemoryMismatchError, match="engine 'onnxruntime fp32', the configuration has 'torch'"):
        Segmenter.load(theirs, backend="torch")
    with pytest.raises(MemoryMismatchError, match="engine 'torch', the configuration has 'onnxruntime fp32'"):
        Segmenter.load(ours, backend="onnxruntime")


@pytest.mark.slow
def test_the_cache_tells_engines_apart(tmp_path: Path) -> None:
    counts = []
    for options in ({}, {"backend": "onnxruntime"}):
        shown(cache=tmp_path, **options).predict(picture(2))
        counts.append(sum(path.is_file() for path in tmp_path.rglob("*")))
    assert counts[1] == 2 * counts[0] > 0


def spoilt_graph(encoder: FeatureEncoder, path: Path) -> Path:
    """Of an encoder that forgets the mean and deviation of its pictures, and says nothing of it."""
    facts, mean, std = encoder_facts(encoder), encoder.mean.clone(), encoder.std.clone()
    encoder.mean.zero_()
    encoder.std.fill_(1)
    export_image_graph(encoder, facts, path)
    encoder.mean.copy_(mean)
    encoder.std.copy_(std)
    return path


@pytest.fixture(scope="module")
def spoilt(by_torch: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoilt_graph(by_torch.model.encoder, tmp_path_factory.mktemp("spoilt") / "graph.onnx")


@pytest.mark.slow
def test_a_graph_with_a_wrong_normalisation_is_refused_at_its_first_picture(spoilt: Path) -> None:
    for _ in range(2):  # and no note was left that it is well
        with pytest.raises(
            ConfigError, match=r"does not compute what torch does: cosine 0\..* at least 0.999"
        ):
            shown(backend="onnxruntime", engine={"graphs": [str(spoilt)]})


@pytest.mark.slow
def test_an_export_with_a_wrong_normalisation_is_not_written(
    by_torch: Segmenter, spoilt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "export_image_graph", lambda network, facts, path: shutil.copy(spoilt, path))
    with pytest.raises(ConfigError, match="does not compute what torch does"):
        by_torch.export("encoder", tmp_path, [picture(2)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_graph_of_another_size_is_refused(spoilt: Path) -> None:
    with pytest.raises(ConfigError, match="exported with side 96, the model has 112"):
        Segmenter(*NAMES, backend="onnxruntime", engine={"graphs": [str(spoilt)]}, img_size=112)


@pytest.mark.slow
def test_export_says_how_near_it_is(by_torch: Segmenter, tmp_path: Path) -> None:
    report = by_torch.export("sam2-image", tmp_path / "graph.onnx", [picture(2), picture(3)])
    assert report.path.is_file()
    assert report.values is not None
    assert report.values.lowest > 0.999
    assert report.mask_iou is not None
    assert report.mask_iou > 0.99
    assert report.found_again == 1
    assert "mean IoU" in str(report)
    assert by_torch.model.sam.engine is None


@pytest.fixture(scope="module")
def decoder(by_torch: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> GraphReport:
    """With as many points as there are mask tokens, which onnxscript's optimiser once made nonsense of."""
    return by_torch.export("decoder", tmp_path_factory.mktemp("decoder"), [picture(2)], points=4)


@pytest.mark.slow
def test_the_decoders_graph_makes_the_same_masks(decoder: GraphReport) -> None:
    assert decoder.mask_iou is not None
    assert decoder.mask_iou > 0.999


@pytest.mark.slow
def test_eight_bits_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nncf")
    for number in range(2):
        Image.fromarray(picture(number, (96, 96))).save(tmp_path / f"{number}.png")
    words = ["--encoder", NAMES[0], "--sam2", NAMES[1], "--device", "cpu", "--option", "img_size=96"]
    where = ["--pictures", str(tmp_path), "--out", str(tmp_path / "int8.onnx")]
    assert main(["export", "encoder", *words, *where, "--int8", "--calibrate", str(tmp_path)]) == 0
    assert "int8" in capsys.readouterr().out
    finder = shown(backend="onnxruntime", engine={"graphs": [str(tmp_path / "int8.onnx")]})
    assert finder.fingerprint()["engine"].startswith("onnxruntime fp32 int8 ")
    assert main(["export", "encoder", *words, *where, "--int8"]) == 2


WITHOUT_TORCH = (
    "import runpy, sys; sys.modules['torch'] = None; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
)


@pytest.mark.slow
def test_from_picture_and_memory_to_masks_without_torch(
    by_onnxruntime: Segmenter, folder: Path, decoder: GraphReport, tmp_path: Path
) -> None:
    """The page of numpy finds what the pipeline finds."""
    plain = {"encoder_resize": "direct", "rank_by": "iou", "prompting": {}, "merging": {}}
    finder = shown(**plain, iou_thr=0.4)
    kept = tmp_path / "graphs"
    kept.mkdir()
    for path in (*folder.glob("*.onnx"), decoder.path):
        shutil.copy(path, kept)
    finder.save(tmp_path / "memory.safetensors")
    Image.fromarray(picture(2)).save(tmp_path / "2.png")
    words = [kept, tmp_path / "memory.safetensors", tmp_path / "2.png", tmp_path / "found"]
    options = ["--points", "4", "--min-score", "0"]
    script = ROOT / "scripts" / "onnx_only.py"
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, script, *words, *options], check=True)
    expected = finder.predict(picture(2))
    files = sorted((tmp_path / "found").iterdir(), key=lambda path: int(path.name.partition("_")[0]))
    assert len(files) == len(expected) > 0
    scores = [float(path.stem.rpartition("_")[2]) for path in files]
    np.testing.assert_allclose(scores, expected.scores, atol=2e-3)
    assert np.mean(np.asarray(Image.open(files[0])) > 0) == pytest.approx(
        float(expected.masks[0].float().mean()), abs=1e-3
    )


def test_what_does_not_go_together() -> None:
    for keys, message in (
        ({"engine": {"threads": 1}}, "engine must be left out with backend torch"),
        ({"backend": "openvino", "compile": True}, "compile must be false with backend openvino"),
        ({"backend": "openvino", "encoder_cfg": {"dtype": "bf16"}}, "encoder_cfg.dtype must be fp32"),
        ({"backend": "openvino", "engine": {"threads": 0}}, "engine.threads must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            parse_block(ModelConfig, keys, "model_cfg")
    with pytest.raises(ConfigError, match="fast chooses backend and precision itself"):
        with_fast(ModelConfig(fast=True, precision="bf16"))
    with pytest.raises(ConfigError, match="backend must be one of torch, onnxruntime, openvino, got 'onnx'"):
        Segmenter(*NAMES, backend="onnx")  # type: ignore[arg-type]


@pytest.mark.slow
def test_onnxruntime_has_no_short_arithmetic_on_a_cpu(by_onnxruntime: Segmenter) -> None:
    with pytest.raises(ConfigError, match="on a CPU ONNX Runtime computes in fp32, got precision bf16"):
        shown(backend="onnxruntime", precision="bf16")


def test_the_matcher_stays_with_torch() -> None:
    block = {"name": "matcher", "sam2_cfg_file": "sam2_nano", "backend": "onnxruntime"}
    encoder = {"name": "dinov3_nano", "img_size": 96}
    with pytest.raises(ConfigError, match="does not apply to matcher"):
        build_model(parse_block(ModelConfig, {**block, "encoder_cfg": encoder}, "model_cfg"))


class Able:
    """Of OpenVINO what ``fast`` asks it, on a processor with bf16."""

    @staticmethod
    def get_property(*_: str) -> list[str]:
        return ["FP32", "BF16"]


@pytest.mark.parametrize(
    ("encoder", "sam2", "precisions"),
    [
        ("dinov3_nano", "sam2_nano", ("fp32", None)),
        ("dinov2_large", "sam2_hiera_l.yaml", ("bf16", None)),
        ("dinov2_large", "sam2_nano", ("bf16", "fp32")),
        ("dinov3_nano", "sam2_hiera_l.yaml", ("fp32", "bf16")),
    ],
)
def test_fast_takes_for_each_network_what_passes(
    encoder: str, sam2: str, precisions: tuple[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded ones are refused in bf16, so neither of them may get it, whatever stands beside it."""
    pytest.importorskip("openvino")
    monkeypatch.setattr(fastest, "openvino_core", Able)
    block = {"fast": True, "sam2_cfg_file": sam2, "encoder_cfg": {"name": encoder}, "engine": {"threads": 1}}
    chosen = with_fast(parse_block(ModelConfig, block, "m"))
    assert chosen.engine is not None
    assert (chosen.precision, chosen.engine.sam2_precision) == precisions
    assert (chosen.backend, chosen.fast, chosen.engine.threads) == ("openvino", False, 1)
    assert with_fast(replace(chosen, fast=True)) == chosen  # as of a memory that was made with it


@pytest.mark.slow
def test_each_network_has_its_precision_and_a_memory_keeps_both(tmp_path: Path) -> None:
    openvino_core = pytest.importorskip("openvino").Core
    if "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bf16")
    finder = shown(backend="openvino", engine={"sam2_precision": "bf16"})
    for one in (finder, Segmenter.load(finder.save(tmp_path / "memory.safetensors"), device="cpu")):
        assert [part.engine.name for part in (one.model.encoder, one.model.sam)] == [
            "openvino fp32",
            "openvino bf16",
        ]
        assert one.model.sam.precision == torch.bfloat16
