"""What a run leaves beside its results: metrics, timings, versions, the resolved config, the HTML report."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from no_time_to_train.dataset.coco.results import from_coco_rows
from no_time_to_train.dataset.coco.writer import annotation_record, file_content
from no_time_to_train.dataset.images import read_image_size
from no_time_to_train.errors import DatasetError
from no_time_to_train.evaluation.tables import by_class, by_kind
from no_time_to_train.files import write_json
from no_time_to_train.pipeline.sources import TargetSource
from no_time_to_train.report.content import ReportImage
from no_time_to_train.report.html import write_report
from no_time_to_train.results import Instances

PACKAGES = ("no-time-to-train", "torch", "torchvision", "lightning", "sam2", "timm", "pycocotools")


class Timings(dict[str, float]):
    """Seconds by stage, in the order in which the stages ran."""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the wall time of a block."""
        started = time.monotonic()
        yield
        self[name] = self.get(name, 0.0) + time.monotonic() - started


def describe_run(folder: Path, config: Mapping[str, Any], timings: Mapping[str, float], **facts: Any) -> None:
    """Write ``run.json``: what is needed to repeat the run and to trust it.

    Args:
        folder: of the run.
        config: the resolved configuration.
        timings: seconds by stage.
        facts: further JSON values, such as the device and the hash of the weights.
    """
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    machine = {"python": platform.python_version(), "system": platform.system(), "cpu": platform.machine()}
    threads = {"threads": torch.get_num_threads()}
    content = {
        "versions": versions | machine | threads,
        "timings_s": dict(timings),
        **facts,
        "config": config,
    }
    write_json(folder / "run.json", content)


def write_html(
    folder: Path,
    targets: TargetSource,
    rows: Sequence[Mapping[str, Any]],
    category_ids: Sequence[Any],
    class_names: Sequence[str],
    metrics: Mapping[str, float],
    timings: Mapping[str, float],
    config: Mapping[str, Any],
) -> Path:
    """Write ``report.html`` for the targets that can be read.

    Returns:
        Where it is.
    """
    found = from_coco_rows(rows, category_ids, class_names)
    images = []
    for target in targets.targets:
        if not isinstance(target.image, Path):
            continue
        try:
            size = read_image_size(target.image, target.stated_size)
        except DatasetError:
            continue  # it was named when the search met it
        instances = found.get(target.image_id, Instances.empty(size, class_names))
        images.append(ReportImage(target.image, target.file_name, instances, target.image_id))
    return write_report(
        folder,
        images,
        class_names,
        truth=_truth(targets),
        index_of={category_id: index for index, category_id in enumerate(category_ids)},
        metrics=by_kind(metrics),
        class_metrics=by_class(metrics, class_names),
        timings=timings,
        config=json.dumps(config, indent=2, ensure_ascii=False),
    )


def _truth(targets: TargetSource) -> Mapping[str, Any] | None:
    """The annotation file's content for the report, when there is one to compare with."""
    if targets.coco is None or not targets.has_annotations:
        return None
    return file_content(targets.coco, [annotation_record(a) for a in targets.coco.annotations])
