"""The LightningModule: one stage of the method over a data set. It holds no mask or feature arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from no_time_to_train.config import (
    DataLoadConfig,
    DatasetConfigs,
    FillMemoryDataConfig,
    FitConfig,
    ModelConfig,
    Sam2InferConfig,
    SearchConfig,
    TargetDataConfig,
    TestMode,
    parse_block,
)
from no_time_to_train.dataset.given_boxes import boxes_digest
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.memory.memory_options import memory_fingerprint
from no_time_to_train.models.memory.stored_references import StoredReference
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pipeline.calibration import calibrated
from no_time_to_train.pipeline.learning import learned
from no_time_to_train.pipeline.memory import Head, Memory, make_memory, read_memory, save_memory
from no_time_to_train.pipeline.remember import encode_crops, reference_crops, with_masks
from no_time_to_train.pipeline.segment import Preparer, require_thresholds, segment_prepared
from no_time_to_train.pipeline.sources import ReferenceSource, TargetSource
from no_time_to_train.pipeline.streams import Skips
from no_time_to_train.pl_wrapper.data_pass import DataPass, Each, gathered
from no_time_to_train.pl_wrapper.filling import Filling, as_cut, configured_categories, require_sizes
from no_time_to_train.runs.found_images import record_of
from no_time_to_train.runs.memory_pictures import write_memory_pictures
from no_time_to_train.runs.overlays import OverlayWriter
from no_time_to_train.runs.result_writer import ResultWriter, stamp_of


class Sam2MatcherLightningModel(DataPass):
    """Fills the memory or searches the targets, whichever ``test_mode`` says.

    In order: :meth:`begin_fill`, a pass over references, :meth:`finish_fill`, :meth:`begin_search`, a pass.

    Args:
        model_cfg: which model and its parts.
        dataset_cfgs: references, targets, support set.
        data_load_cfgs: loader workers.
        test_mode: the stage; ``none`` and ``run`` mean all of them.
        search_cfgs: tiles, calibration and which instances are kept.
        fit_cfgs: what ``fit`` learns.

    Attributes:
        memory: what a search looks for, once a stage has filled or loaded it.
        skips: what could not be read.
    """

    def __init__(
        self,
        model_cfg: ModelConfig,
        dataset_cfgs: DatasetConfigs,
        data_load_cfgs: DataLoadConfig | None = None,
        test_mode: TestMode = "none",
        search_cfgs: SearchConfig | None = None,
        fit_cfgs: FitConfig | None = None,
    ) -> None:
        super().__init__()
        self.model_cfg = parse_block(ModelConfig, model_cfg, "model_cfg")
        self.dataset_cfgs = parse_block(DatasetConfigs, dataset_cfgs, "dataset_cfgs")
        self.loading = parse_block(DataLoadConfig, data_load_cfgs, "data_load_cfgs")
        self.how = parse_block(SearchConfig, search_cfgs, "search_cfgs")
        self.fitting = parse_block(FitConfig, fit_cfgs, "fit_cfgs")
        self.test_mode = test_mode
        self.memory: Memory[Any] | None = None
        self.category_ids: tuple[Any, ...] = ()
        self.skips = Skips()
        self.targets: TargetSource | None = None
        self.writer: ResultWriter | None = None
        self.pictures: OverlayWriter | None = None
        self._filling: Filling | None = None

    @property
    def segmenter(self) -> ReferenceSegmenter[Any]:
        """The model; built when it is first asked for."""
        if self.seg_model is None:
            self.seg_model = build_model(self.model_cfg)
        return self.seg_model

    @property
    def with_negatives(self) -> bool:
        """Whether negative references take part."""
        infer = self.model_cfg.sam2_infer_cfgs
        return infer is not None and infer.with_negative_refs

    def ready_memory(self) -> Memory[Any]:
        """The memory, on the model's device."""
        if self.memory is None:
            raise RuntimeError("the memory is made by finish_fill or load_memory; call one of them first")
        return self.memory.to(self.segmenter.device)

    def begin_fill(
        self, block: FillMemoryDataConfig, device: torch.device, *, negative: bool = False
    ) -> None:
        """Read the references and make the loader of their crops.

        Args:
            device: where masks of references given by boxes or points are made.
            negative: they are what the classes of the memory are not.
        """
        bank = self.model_cfg.memory_bank_cfg
        if negative and not self.with_negatives:
            raise ConfigError("negative references need sam2_infer_cfgs.with_negative_refs: true")
        source = ReferenceSource(block, bank.length_negative if negative else bank.length)
        if not negative:
            shots = max(reference.slot for reference in source.references) + 1
            require_sizes(bank, source.categories.names, shots)
        model = self.segmenter.to(device)
        self._filling = Filling(with_masks(model, source.given), source.categories, negative)
        crops = reference_crops(self._filling.given, block.image_size or model.encoder.img_size, block)
        self.begin(crops, self._fill, workers=self.loading.workers)

    def _fill(self, batch: Sequence[Any]) -> None:
        filling = self._filling
        assert filling is not None
        crops = encode_crops(self.segmenter, filling.given, batch, self.skips, negative=filling.negative)
        filling.stored.update(crops)

    def finish_fill(self) -> None:
        """Bring the references of all processes together; afterwards each has the whole memory."""
        filling, self._filling = self._filling, None
        assert filling is not None
        stored = gathered(filling.stored)
        if filling.negative and self.ready_memory().head is not None:
            raise ConfigError(
                "this memory has learned a head without these negatives; fill it and its negatives in one "
                "run (test_mode: run), which learns of both"
            )
        if filling.negative:
            self._remember((*self.ready_memory().references, *stored))
        else:
            self._remember(stored, filling.categories.names, filling.categories.ids)

    def calibrate(self, device: torch.device) -> None:
        """Measure thresholds on the references; every process measures the same."""
        self.segmenter.to(device)
        self.memory = calibrated(self.segmenter, self.ready_memory(), self.how.empty)

    @property
    def head(self) -> str:
        """What is learned when the memory is filled; ``none``: nothing."""
        infer = self.model_cfg.sam2_infer_cfgs
        return "none" if infer is None else infer.matching.head

    def learn(self, device: torch.device) -> Head:
        """Learn a head of the references; every process learns the same."""
        self.segmenter.to(device)
        self.memory = learned(self.segmenter, self.ready_memory(), self.head)
        assert self.memory.head is not None
        return self.memory.head

    def load_memory(self, path: str | Path) -> None:
        """Take a saved memory that fits the model.

        A checkpoint of the original keeps no class names; they come from the annotation files then.
        """
        saved = read_memory(path)
        names, ids, references = saved.class_names, saved.category_ids, saved.references
        if names is None:
            categories = configured_categories(self.dataset_cfgs)
            names, ids, references = categories.names, categories.ids, saved.named(categories.names)
        own = self.fingerprint()
        saved.require(own if self.dataset_cfgs.fill_memory else as_cut(own, saved))
        shots = Counter(item.class_name for item in references if not item.negative)
        require_sizes(self.model_cfg.memory_bank_cfg, names, max(shots.values(), default=0))
        if not self.with_negatives:
            references = tuple(item for item in references if not item.negative)
        self.memory = make_memory(
            self.segmenter,
            references,
            class_names=names,
            category_ids=ids,
            thresholds=saved.thresholds,
            head=saved.head,
        )
        self.category_ids = self.memory.category_ids

    def save_memory(self, path: str | Path) -> None:
        """Write the memory; on rank zero only."""
        if self.global_rank == 0:
            save_memory(path, self.ready_memory(), **self.fingerprint(), sam2=self.model_cfg.sam2_cfg_file)

    def _remember(
        self,
        references: Sequence[StoredReference],
        class_names: Sequence[str] | None = None,
        category_ids: Sequence[Any] | None = None,
    ) -> None:
        if self.memory is not None:
            class_names = class_names or self.memory.class_names
            category_ids = category_ids or self.memory.category_ids
        self.memory = make_memory(
            self.segmenter, references, class_names=class_names, category_ids=category_ids
        )
        self.category_ids = self.memory.category_ids

    def draw_memory(self, folder: Path) -> list[Path]:
        """Draw the references of the memory as clusters and principal colours; on rank zero only."""
        block = self.dataset_cfgs.fill_memory
        if block is None:
            raise ConfigError("images of the memory need dataset_cfgs.fill_memory (root and json_file)")
        infer = self.model_cfg.sam2_infer_cfgs or Sam2InferConfig()
        if infer.n_pca_components != 3:
            raise ConfigError(
                f"sam2_infer_cfgs.n_pca_components must be 3, one for each colour channel of the images, "
                f"got {infer.n_pca_components}"
            )
        if self.global_rank != 0:
            return []
        given = with_masks(
            self.segmenter, ReferenceSource(block, self.model_cfg.memory_bank_cfg.length).given
        )
        crops = reference_crops(given, block.image_size or self.segmenter.encoder.img_size, block)
        names = self.ready_memory().class_names
        return write_memory_pictures(self.segmenter, names, given, crops, folder, infer.kmeans_k)

    def begin_search(
        self,
        block: TargetDataConfig,
        how: SearchConfig,
        folder: Path,
        *,
        pictures: bool = False,
        resume: bool = False,
    ) -> None:
        """Make the loader of the targets and the writers of what is found in them.

        Args:
            block: ``dataset_cfgs.test`` or ``dataset_cfgs.support``.
            how: ``search_cfgs`` for the targets; support images are searched for all that looks like a class.
            folder: where the parts and the pictures go.
            pictures: draw what is found.
            resume: leave out the images that an interrupted run has finished.

        Raises:
            ConfigError: the memory has no thresholds, and ``how`` needs them.
        """
        if how.proposals != "prompts" and self.model_cfg.name.lower() == "matcher":
            raise ConfigError(
                f"search_cfgs.proposals: {how.proposals} does not go with the model matcher, which finds its "
                "prompts class by class; use matching_baseline_noAMG or matching_baseline"
            )
        self.targets = TargetSource(block)
        self.targets.give_boxes(how)
        memory = self.ready_memory()
        require_thresholds(memory, how)
        self.category_ids = self.targets.category_ids(memory.class_names, memory.category_ids)
        files = {one.image_id: one.image for one in self.targets.targets if isinstance(one.image, Path)}
        stamps, settings = {key: stamp_of(path) for key, path in files.items()}, self._settings(block, how)
        self.writer = ResultWriter(
            folder / "parts", self.global_rank, settings=settings, resume=resume, stamps=stamps
        )
        names = [target.file_name for target in self.targets.targets]
        overlays = OverlayWriter(folder / "overlays", self.model_cfg.vis_thr, names)
        self.pictures = overlays if pictures else None
        prepare = Preparer.of(self.segmenter, how, block.image_size, memory=memory)
        left = self.targets.without(self.writer.finished)
        loading, step = self.loading, partial(self._search, how)
        self.begin(Each(left, prepare), step, workers=loading.workers, batch_size=loading.batch_size)

    def _search(self, how: SearchConfig, batch: Sequence[Any]) -> None:
        assert self.writer is not None
        memory, size = self.ready_memory(), self.loading.batch_size
        found_in = segment_prepared(self.segmenter, memory, batch, how, self.skips, batch_size=size)
        for target, found in found_in:
            if self.pictures is not None:  # first, so that an image that is recorded is finished
                self.pictures.write(found)
            self.writer.write(record_of(found, target, self.category_ids))

    def _settings(self, block: TargetDataConfig, how: SearchConfig) -> dict[str, Any]:
        """What the results of a search depend on, short enough to compare."""
        return {
            **self.fingerprint(),
            "memory": self.ready_memory().digest(),
            "model_cfg": repr(replace(self.model_cfg, cache=None)),
            "search": repr(how),
            **boxes_digest(how),
            "targets": repr(block),
        }

    def fingerprint(self) -> dict[str, Any]:
        """What a memory's figures depend on."""
        block = self.dataset_cfgs.fill_memory
        return memory_fingerprint(self.model_cfg, self.segmenter.encoder, block and block.crops)
