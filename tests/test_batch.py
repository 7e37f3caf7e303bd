"""``batch.Predictor``: columns that equal ``predict``, in this process, pickled, and under Ray."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from no_time_to_train import Segmenter
from no_time_to_train.batch import Predictor
from no_time_to_train.cli import main
from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.dataset.export.columns import COLUMNS
from no_time_to_train.dataset.images import as_rgb_array
from no_time_to_train.errors import DatasetError
from tests.conftest import ROOT
from tests.folder_layout import FAST, Layout, write_layout


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    made = write_layout(tmp_path_factory.mktemp("batch") / "data", targets=4)
    (made.pictures / "broken.jpg").write_bytes(b"no picture")
    return made


@pytest.fixture(scope="module")
def finder(layout: Layout) -> Segmenter:
    return Segmenter("dinov3_nano", "sam2_nano", **FAST).add_folder(layout.references)


@pytest.fixture(scope="module")
def memory(finder: Segmenter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finder.save(tmp_path_factory.mktemp("memory") / "memory.safetensors")


@pytest.fixture(scope="module")
def predict(memory: Path) -> Predictor:
    return Predictor(memory, device="cpu", min_score=0.2)


@pytest.fixture(scope="module")
def paths(layout: Layout) -> list[str]:
    return [str(path) for path in sorted(layout.pictures.iterdir())]


@pytest.fixture(scope="module")
def expected(finder: Segmenter, paths: list[str]) -> list[tuple[Any, ...]]:
    """(path, class, score, counts) of every instance, as ``Segmenter.predict`` finds them."""
    rows = []
    for path in paths:
        if not path.endswith("broken.jpg"):
            found = finder.predict(path, min_score=0.2)
            for row in to_coco_rows(found, path, found.class_names):
                rows.append((path, row["category_id"], row["score"], row["segmentation"]["counts"]))
    return rows


def instances(columns: Any) -> list[tuple[Any, ...]]:
    table = zip(columns["path"], columns["class"], columns["score"], columns["counts"], strict=True)
    return [(path, name, score, counts) for path, name, score, counts in table if counts is not None]


def test_columns_are_what_predict_finds(
    predict: Predictor, paths: list[str], expected: list[tuple[Any, ...]]
) -> None:
    columns = predict({"path": paths})
    assert list(columns) == list(COLUMNS)
    assert instances(columns) == expected
    assert list(dict.fromkeys(columns["path"])) == paths  # none is lost
    errors = dict(zip(columns["path"], columns["error"], strict=True))
    assert [path for path in paths if errors[path]] == [path for path in paths if "broken" in path]
    good = [path for path in paths if "broken" not in path]
    images = [as_rgb_array(path) for path in good]
    assert instances(predict({"path": np.array(good), "image": images})) == expected
    assert predict({"path": []})["path"] == []
    with pytest.raises(DatasetError, match="needs a column path, this one has file"):
        predict({"file": paths})
    with pytest.raises(DatasetError, match="no such memory file"):
        Predictor("missing.safetensors")


def test_a_pickle_holds_no_weights(
    predict: Predictor, paths: list[str], expected: list[tuple[Any, ...]]
) -> None:
    predict({"path": paths[:1]})
    sent = pickle.dumps(predict)
    assert len(sent) < 2000
    assert instances(pickle.loads(sent)({"path": paths})) == expected


def test_frames_in_frames_out(predict: Predictor, paths: list[str], expected: list[tuple[Any, ...]]) -> None:
    """As Spark's mapInPandas calls it: an iterator of frames in, one of frames out."""
    pandas = pytest.importorskip("pandas", reason="needs the package pandas")

    def search(frames: Iterator[Any]) -> Iterator[Any]:
        return (pandas.DataFrame(predict(frame)) for frame in frames)

    frames = [pandas.DataFrame({"path": paths[:2]}), pandas.DataFrame({"path": paths[2:]})]
    found = pandas.concat(search(iter(frames)), ignore_index=True)
    assert instances(found[found.counts.notna()]) == expected


def test_presence_of_classes_that_are_nowhere(
    finder: Segmenter, layout: Layout, paths: list[str], tmp_path: Path
) -> None:
    measured = Segmenter("dinov3_nano", "sam2_nano", **FAST).add_folder(layout.references)
    measured.calibrate(layout.pictures)
    predict = Predictor(measured.save(tmp_path / "m.safetensors"), device="cpu", min_score=0.99)
    columns = predict({"path": paths[-1:]})
    found = measured.predict(paths[-1])
    presence = dict(zip(columns["class"], columns["presence"], strict=True))
    assert presence == dict(zip(found.class_names, found.presence.tolist(), strict=True))


@pytest.mark.slow
def test_ray_with_two_workers(
    memory: Path, paths: list[str], expected: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="needs the package ray: pip install 'no-time-to-train[ray]'")
    data = pytest.importorskip("ray.data", reason="needs ray[data]: pip install 'no-time-to-train[ray]'")
    for name, value in {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }.items():
        monkeypatch.setenv(name, value)  # a runtime_env would have all workers started twice
    # More than the two actors hold, or nothing is left for the tasks that feed them.
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    try:
        options = {"device": "cpu", "min_score": 0.2}
        table = data.from_items([{"path": path} for path in paths], override_num_blocks=4)
        found = table.map_batches(
            Predictor,
            fn_constructor_args=(str(memory),),
            fn_constructor_kwargs=options,
            concurrency=2,
            batch_size=2,
        ).take_all()
    finally:
        ray.shutdown()
    columns = {name: [row[name] for row in found] for name in COLUMNS}
    assert sorted(instances(columns)) == sorted(expected)
    assert set(columns["path"]) == set(paths)
    assert sum(row["error"] is not None for row in found) == 1


def test_parquet_has_the_same_columns(
    memory: Path, layout: Layout, expected: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the package pyarrow")
    words = ["--memory", str(memory), "--images", str(layout.pictures), "--out", str(tmp_path / "o")]
    assert main(["predict", *words, "--device", "cpu", "--format", "parquet", "--min-score", "0.2"]) == 0
    columns = parquet.read_table(tmp_path / "o" / "instances.parquet").to_pydict()
    assert list(columns) == list(COLUMNS)
    assert instances(columns) == [(Path(path).name, *rest) for path, *rest in expected]
