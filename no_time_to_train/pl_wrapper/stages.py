"""The order of the stages: fill, post-process, search, evaluate, each with its files."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lightning.pytorch import Trainer

from no_time_to_train.config import DatasetConfigs, FillMemoryDataConfig, TargetDataConfig
from no_time_to_train.dataset.shots.file import read_few_shot_file, write_few_shot_file
from no_time_to_train.dataset.shots.negatives import sample_negatives
from no_time_to_train.errors import ConfigError
from no_time_to_train.files import write_json
from no_time_to_train.pipeline.learning import learned_text
from no_time_to_train.pl_wrapper.outcome import Outcome, conclude
from no_time_to_train.pl_wrapper.run_options import RunOptions, require_files
from no_time_to_train.pl_wrapper.sam2matcher_pl import Sam2MatcherLightningModel
from no_time_to_train.runs.found_images import FoundImages
from no_time_to_train.runs.preflight import find_problems
from no_time_to_train.runs.result_writer import Record, collect
from no_time_to_train.runs.results_folder import export_found, read_formats, remove_stale, require_names
from no_time_to_train.runs.run_folder import Timings
from no_time_to_train.runs.run_notes import kept_warnings
from no_time_to_train.words import counted

Metrics = dict[str, float]
Rows = list[dict[str, Any]]

MOST_TARGETS = 500
"""Targets whose files are looked at before a run; one that cannot be read later is named then."""

MORE_FILES = ("predictions.json", "metrics.json", "report.html")
"""That a run writes beside those of its formats."""

log = logging.getLogger(__name__)


@dataclass
class Stages:
    """Runs stages of the method; on many processes every one of them calls the same methods.

    Attributes:
        trainer: any Lightning trainer; its strategy decides on devices.
        model: the wrapped model.
        options: where things go.
        config: the resolved configuration, kept beside the results.
        said: warnings of the run so far.
    """

    trainer: Trainer
    model: Sam2MatcherLightningModel
    options: RunOptions
    config: Mapping[str, Any] = field(default_factory=dict)
    timings: Timings = field(default_factory=Timings)
    said: list[str] = field(default_factory=list)

    def run(self, ckpt_path: str | None = None) -> Metrics:
        """Run what ``model.test_mode`` names; ``none`` means all of it.

        Args:
            ckpt_path: a saved memory bank, for the stages that start from one.

        Returns:
            Metrics of the search; empty for the memory stages and for targets without annotations.

        Raises:
            ConfigError: a file that the stage needs was not named.
        """
        with kept_warnings() as self.said:
            return self._run(ckpt_path)

    def _run(self, ckpt_path: str | None) -> Metrics:
        self.model.trainer = self.trainer  # so that its rank is known before the first pass
        mode = "run" if self.model.test_mode == "none" else self.model.test_mode
        require_files(mode, self.options, ckpt_path)
        read_formats(self.options.format)
        self._preflight(mode)
        self.model.skips.stop = self.options.on_error == "stop"
        if ckpt_path and mode != "fill_memory":
            self.model.load_memory(ckpt_path)
        stage = self.everything if mode == "run" else getattr(self, mode)
        if not self.model.global_rank:
            require_names(self.options.folder, read_formats(self.options.format), MORE_FILES)
        return stage() or {}

    def _preflight(self, mode: str) -> None:
        """Before a long stage, list all that is wrong; only the data that the stage reads are looked at."""
        if mode not in ("run", "test"):
            return
        data = self.model.dataset_cfgs
        wanted = data if mode == "run" and self.model.memory is None else DatasetConfigs(test=data.test)
        with self.timings.stage("preflight"):
            problems = find_problems(self.model.model_cfg, wanted, self.options.folder, MOST_TARGETS)
        for problem in problems:
            if not problem.fatal:
                log.warning("%s", problem.text)
        fatal = [problem.text for problem in problems if problem.fatal]
        if fatal:
            raise ConfigError("\n".join(fatal))

    def everything(self) -> Metrics:
        """Fill, negatives when they are on, search, evaluate: no files needed in between."""
        if self.model.memory is None:
            self._fill()
        if self.model.with_negatives:
            self._learn_negatives()
        self._learn()
        if self.model.how.calibrate:
            self._calibrate()
        self.model.save_memory(self.options.out_path or self.options.folder / "memory.safetensors")
        return self.test()

    def fill_memory(self) -> None:
        """Fill the bank and save it."""
        self._fill()
        self._learn()
        if self.model.how.calibrate:
            self._calibrate()
        self.model.save_memory(str(self.options.out_path))

    def postprocess_memory(self) -> None:
        """Check that every class has a reference, and save."""
        with self.timings.stage("postprocess_memory"):
            self.model.ready_memory().bank.require_filled()
        self.model.save_memory(str(self.options.out_path))

    def vis_memory(self) -> None:
        """Draw every reference that the bank was filled with into ``memory_vis``."""
        folder = self.options.folder / "memory_vis"
        with self.timings.stage("vis_memory"):
            written = self.model.draw_memory(folder)
        log.info("%d images of the memory in %s", len(written), folder)

    def test(self) -> Metrics:
        """Search the targets, write what was found, and score it where there is ground truth."""
        block = self.model.dataset_cfgs.test
        if block is None:
            raise ConfigError("searching needs dataset_cfgs.test (root, and json_file unless it is a folder)")
        if self.model.head != "none" and self.model.ready_memory().head is None:
            raise ConfigError(
                f"sam2_infer_cfgs.matching.head is {self.model.head}, but this memory has learned none; "
                f"fill it again, or set head: none"
            )
        folder, formats = self.options.folder, read_formats(self.options.format)
        pictures = self.model.model_cfg.online_vis or "overlay" in formats
        self.model.begin_search(block, self.model.how, folder, pictures=pictures, resume=self.options.resume)
        records = self._search("test")
        if self.model.global_rank != 0:
            return {}
        rows = [row for record in records for row in record["rows"]]
        found = self._found(records)
        if formats:
            with self.timings.stage("export"):
                least, size = self.model.model_cfg.vis_thr, self.options.pixel_size
                export_found(folder, found, formats, least, found.image_ids, pixel_size=size)
                remove_stale(folder, found, False, formats)
        write_json(folder / "predictions.json", rows)
        if self.options.export_result:
            write_json(self.options.export_result, rows)
        if self.options.result_name:
            write_json(folder / "inst_to_segm" / f"coco_inst_{self.options.result_name}_results.json", rows)
        outcome = Outcome(found, rows, self.timings, self.config, self.said)
        metrics, text = conclude(self.model, self.options, outcome)
        self.say(text)
        return metrics

    def test_support(self) -> None:
        """Search the support images without negatives; their false positives become negative references."""
        everything = replace(
            self.model.how,
            min_score=0.0,
            calibrate=False,
            only_present=False,
            proposals="prompts",
            boxes=None,
        )
        self.model.begin_search(self._support_block(), everything, self.options.folder / "support")
        rows = [row for record in self._search("test_support") for row in record["rows"]]
        targets, options = self.model.targets, self.options
        if self.model.global_rank != 0:
            return
        write_json(str(options.out_support_res), rows)
        if options.out_neg_pkl and options.out_neg_json and targets and targets.coco:
            per_class = self.model.model_cfg.memory_bank_cfg.length_negative
            table, content = sample_negatives(rows, targets.coco, per_class)
            write_few_shot_file(options.out_neg_pkl, table)
            write_json(options.out_neg_json, content)

    def fill_memory_neg(self) -> None:
        """Fill the negative bank from the files that :meth:`test_support` wrote, and save."""
        self._fill_negative(self._sampled_negatives())
        self.model.save_memory(str(self.options.out_path))

    def postprocess_memory_neg(self) -> None:
        """Save again; a class may well have no false positive to learn from."""
        self.model.save_memory(str(self.options.out_path))

    def fill_with_negatives(self) -> None:
        """Fill the memory, with the negatives that the user named."""
        self._fill()
        named = self.model.dataset_cfgs.negatives
        if self.model.with_negatives and named is not None:
            self._fill_negative(named)

    def _fill(self) -> None:
        block = self.model.dataset_cfgs.fill_memory
        if block is None:
            raise ConfigError("filling the memory needs dataset_cfgs.fill_memory (root and json_file)")
        with self.timings.stage("fill_memory"):
            self.model.begin_fill(block, self.trainer.strategy.root_device)
            self.trainer.test(self.model, verbose=False)
            self.model.finish_fill()

    def _fill_negative(self, block: FillMemoryDataConfig | None) -> None:
        if block is None:
            log.warning("no false positives on the support images: there is no negative to learn from")
            return
        with self.timings.stage("fill_memory_neg"):
            self.model.begin_fill(block, self.trainer.strategy.root_device, negative=True)
            self.trainer.test(self.model, verbose=False)
            self.model.finish_fill()

    def _calibrate(self) -> None:
        with self.timings.stage("calibrate"):
            self.model.calibrate(self.trainer.strategy.root_device)

    def _learn(self) -> None:
        """Learn what ``matching.head`` names, unless the memory came with a head."""
        if self.model.head == "none" or self.model.ready_memory().head is not None:
            return
        with self.timings.stage("learn"):
            head = self.model.learn(self.trainer.strategy.root_device)
        self.say(learned_text(head))

    def _learn_negatives(self) -> None:
        """From what the user named, else from false positives on the support images."""
        named = self.model.dataset_cfgs.negatives
        if named is None:
            folder = self.options.folder
            self.options = replace(
                self.options,
                out_support_res=self.options.out_support_res or str(folder / "support.json"),
                out_neg_pkl=self.options.out_neg_pkl or str(folder / "negatives.pkl"),
                out_neg_json=self.options.out_neg_json or str(folder / "negatives.json"),
            )
            self.test_support()
            self.trainer.strategy.barrier()  # the other processes read what rank zero wrote
            named = self._sampled_negatives()
        self._fill_negative(named)

    def _sampled_negatives(self) -> FillMemoryDataConfig | None:
        """The files that :meth:`test_support` wrote; None when it found nothing wrong."""
        if not any(read_few_shot_file(str(self.options.out_neg_pkl)).values()):
            return None
        return FillMemoryDataConfig(
            root=self._support_block().root,
            json_file=str(self.options.out_neg_json),
            memory_pkl=self.options.out_neg_pkl,
        )

    def _support_block(self) -> TargetDataConfig:
        if self.model.dataset_cfgs.support is None:
            raise ConfigError(
                "negatives from false positives need dataset_cfgs.support (root and json_file); "
                "or name negative references in dataset_cfgs.negatives"
            )
        return self.model.dataset_cfgs.support

    def _search(self, name: str) -> list[Record]:
        """Pass over the targets; all records in the order of the data set, on rank zero."""
        model = self.model
        model.ready_memory().bank.require_filled()
        left = len(model.test_dataloader())
        with self.timings.stage(name):
            if left:
                self.trainer.test(model, verbose=False)
        if model.targets is None or model.writer is None:
            raise RuntimeError("begin_search was not called")
        if model.skips.reasons:
            log.warning("could not be read: %s", counted(len(model.skips.reasons), "image"))
        # With nothing left to search the other processes may never have been started: rank zero reads all.
        world_size = self.trainer.world_size if left else 1
        return collect(model.writer.records(world_size), model.targets.image_ids)

    def _found(self, records: Sequence[Record]) -> FoundImages:
        model, by_id = self.model, {record["image_id"]: record for record in records}
        assert model.targets is not None
        return FoundImages(by_id, model.ready_memory().class_names, model.category_ids, model.targets.targets)

    def say(self, text: str) -> None:
        """The summary, for the person at the screen; the log keeps it in any case."""
        log.debug("%s", text)
        if not self.options.quiet:
            print(text)
