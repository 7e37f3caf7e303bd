"""What a run leaves beside its results: metrics, timings, versions, the resolved config, the HTML report."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from no_time_to_train.dataset.coco.writer import annotation_record, file_content
from no_time_to_train.evaluation.tables import by_class, by_kind
from no_time_to_train.files import write_json
from no_time_to_train.pipeline.sources import TargetSource
from no_time_to_train.report.content import ReportImage
from no_time_to_train.report.html import MAX_IMAGES, write_report
from no_time_to_train.runs.found_images import FoundImages

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
    found: FoundImages,
    timings: Mapping[str, float],
    config: Mapping[str, Any],
    *,
    targets: TargetSource | None = None,
    metrics: Mapping[str, float] | None = None,
    **shown: Any,
) -> Path:
    """Write ``report.html`` for the images with a file.

    Args:
        targets: their data set, whose annotations are compared with what was found.
        metrics: of the whole run.
        shown: what else :func:`write_report` takes, such as ``notes``.

    Returns:
        Where it is.
    """
    truth = None if targets is None else _truth(targets)
    images = [  # without truth the later ones are only counted, and their masks would fill the memory
        ReportImage(item.path, item.name, item if truth or number < MAX_IMAGES else item.without_masks(), key)
        for number, (key, item) in enumerate(zip(found.image_ids, found, strict=True))
        if item.path is not None
    ]
    return write_report(
        folder,
        images,
        found.class_names,
        truth=truth,
        index_of={category_id: index for index, category_id in enumerate(found.category_ids)},
        metrics=by_kind(metrics or {}),
        class_metrics=by_class(metrics or {}, found.class_names),
        timings=timings,
        config=json.dumps(config, indent=2, ensure_ascii=False),
        **shown,
    )


def _truth(targets: TargetSource) -> Mapping[str, Any] | None:
    """The annotation file's content for the report, when there is one to compare with."""
    if targets.coco is None or not targets.has_annotations:
        return None
    return file_content(targets.coco, [annotation_record(a) for a in targets.coco.annotations])
