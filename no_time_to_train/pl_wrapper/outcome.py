"""The end of a search: its score against ground truth, its report, its description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.evaluation.tables import summary_table
from no_time_to_train.files import write_json
from no_time_to_train.models.encoders.fingerprint import weights_hash
from no_time_to_train.pl_wrapper.run_options import RunOptions
from no_time_to_train.pl_wrapper.sam2matcher_pl import Sam2MatcherLightningModel
from no_time_to_train.runs.found_images import FoundImages
from no_time_to_train.runs.results_folder import read_formats
from no_time_to_train.runs.run_folder import Timings, describe_run, write_html
from no_time_to_train.runs.run_notes import notes_of
from no_time_to_train.words import counted


@dataclass(frozen=True)
class Outcome:
    """What a search ended with.

    Attributes:
        found: the instances of each image.
        rows: the same as COCO results.
        timings: of the stages so far; the last ones are added.
        config: the resolved configuration, kept beside the results.
        said: warnings of the run.
    """

    found: FoundImages
    rows: Sequence[Mapping[str, Any]]
    timings: Timings
    config: Mapping[str, Any]
    said: Sequence[str]


def conclude(
    model: Sam2MatcherLightningModel, options: RunOptions, outcome: Outcome
) -> tuple[dict[str, float], str]:
    """Score, report, and describe a run.

    Returns:
        The metrics, none without ground truth, and what to tell the person at the screen.
    """
    folder, found, timings = options.folder, outcome.found, outcome.timings
    metrics, lines = _scored(model, options, outcome)
    cfg = model.model_cfg
    notes = notes_of((cfg.encoder_cfg.name, cfg.sam2_cfg_file.removesuffix(".yaml")), outcome.said)
    if options.report or "html" in read_formats(options.format):
        shown = {"notes": notes, "pixel_size": options.pixel_size}
        with timings.stage("report"):
            write_html(
                folder, found, timings, outcome.config, targets=model.targets, metrics=metrics, **shown
            )
    weights = {**model.fingerprint(), "sam2_weights": weights_hash(model.segmenter.sam)}
    facts = {"device": str(model.segmenter.device), "skipped": model.skips.reasons, "weights": weights}
    describe_run(folder, outcome.config, timings, **facts, notes=notes)
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in timings.items())
    lines.append(f"{counted(len(outcome.rows), 'instance')} in {folder / 'predictions.json'}; {spent}")
    return metrics, "\n".join(lines)


def _scored(
    model: Sam2MatcherLightningModel, options: RunOptions, outcome: Outcome
) -> tuple[dict[str, float], list[str]]:
    """The metrics and their table, where there is ground truth to score against."""
    targets, found = model.targets, outcome.found
    if targets is None or targets.coco is None or not targets.has_annotations or not options.evaluate:
        return {}, []
    with outcome.timings.stage("evaluate"):
        metrics = evaluate_coco(
            targets.coco, outcome.rows, category_ids=found.category_ids, image_ids=targets.image_ids
        )
    write_json(options.folder / "metrics.json", metrics)
    return metrics, [summary_table(metrics, found.class_names)]
