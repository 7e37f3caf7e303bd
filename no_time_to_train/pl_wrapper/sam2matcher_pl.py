"""The LightningModule: one stage of the method over a data set. It holds no mask or feature arithmetic."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader

from no_time_to_train.config import (
    DataLoadConfig,
    DatasetConfigs,
    FillMemoryDataConfig,
    ModelConfig,
    Sam2InferConfig,
    TargetDataConfig,
    TestMode,
    parse_block,
)
from no_time_to_train.dataset.coco.classes import CategoryMap
from no_time_to_train.dataset.coco.reader import category_map
from no_time_to_train.dataset.coco.results import to_coco_rows
from no_time_to_train.dataset.readers.detect import read_annotated
from no_time_to_train.dataset.samples import Unreadable
from no_time_to_train.errors import ConfigError, DatasetError
from no_time_to_train.models.factory import build_model
from no_time_to_train.models.memory.bank_file import load_bank, read_bank, save_bank
from no_time_to_train.models.memory.memory_options import memory_fingerprint
from no_time_to_train.models.segmenter import ReferenceSegmenter
from no_time_to_train.pl_wrapper.loader import ReferenceSource, TargetSource, make_loader
from no_time_to_train.results import Instances, Query, ReferenceCrop
from no_time_to_train.runs.memory_pictures import write_memory_pictures
from no_time_to_train.runs.overlays import OverlayWriter
from no_time_to_train.runs.result_writer import ResultWriter

log = logging.getLogger(__name__)


class Sam2MatcherLightningModel(LightningModule):
    """Fills the memory bank or searches the targets, whichever ``test_mode`` says.

    The stages in order are :meth:`begin_fill`, a pass over the references, :meth:`finish_fill`, then
    :meth:`begin_search`, a pass over the targets. ``pl_wrapper.stages`` calls them.

    Args:
        model_cfg: which model and its parts.
        dataset_cfgs: references, targets, support set.
        data_load_cfgs: loader workers.
        test_mode: the stage; ``none`` and ``run`` mean all of them.
    """

    def __init__(
        self,
        model_cfg: ModelConfig,
        dataset_cfgs: DatasetConfigs,
        data_load_cfgs: DataLoadConfig | None = None,
        test_mode: TestMode = "none",
    ) -> None:
        super().__init__()
        self.model_cfg = parse_block(ModelConfig, model_cfg, "model_cfg")
        self.dataset_cfgs = parse_block(DatasetConfigs, dataset_cfgs, "dataset_cfgs")
        self.loading = parse_block(DataLoadConfig, data_load_cfgs, "data_load_cfgs")
        self.test_mode = test_mode
        self.seg_model: ReferenceSegmenter | None = None
        self.category_ids: tuple[Any, ...] = ()
        self.stop_on_error = False
        self.unreadable: list[str] = []
        self.targets: TargetSource | None = None
        self.writer: ResultWriter | None = None
        self.pictures: OverlayWriter | None = None
        self._negative = False
        self._loader: DataLoader[Any] | None = None

    @property
    def segmenter(self) -> ReferenceSegmenter:
        """The model, once a stage has built it."""
        if self.seg_model is None:
            raise RuntimeError("the model is built by begin_fill or load_memory; call one of them first")
        return self.seg_model

    def begin_fill(self, device: torch.device) -> None:
        """Read the references, build the model for them, and make the loader of their crops.

        Args:
            device: where masks of references given by boxes or points are made.
        """
        block = self.dataset_cfgs.fill_memory
        if block is None:
            raise ConfigError("filling the memory needs dataset_cfgs.fill_memory (root and json_file)")
        source = ReferenceSource(block, self.model_cfg.memory_bank_cfg.length)
        self._build(source.length, source.categories.names, source.categories.ids)
        self._load_crops(source, device, negative=False)

    def begin_fill_negative(self, block: FillMemoryDataConfig, device: torch.device) -> None:
        """Read negative references for the classes that the bank has; see :meth:`begin_fill`."""
        if self.segmenter.negative_bank is None:
            raise ConfigError("negative references need sam2_infer_cfgs.with_negative_refs: true")
        length = self.segmenter.negative_bank.length
        source = ReferenceSource(block, length)
        source.against(self.segmenter.bank.class_names, length)
        self._load_crops(source, device, negative=True)

    def _load_crops(self, source: ReferenceSource, device: torch.device, *, negative: bool) -> None:
        source.complete(self.segmenter.sam.to(device))
        self._negative = negative
        self._loader = make_loader(source.crops(self.segmenter.encoder.img_size), self.loading.workers)

    def finish_fill(self) -> None:
        """Bring the banks of all processes together; afterwards each holds the whole."""
        if not (dist.is_available() and dist.is_initialized()):
            return
        bank = (self.segmenter.negative_bank if self._negative else None) or self.segmenter.bank
        banks: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(banks, copy.deepcopy(bank).cpu())
        for other in banks:
            bank.merge(other.to(self.device))

    def load_memory(self, path: str | Path) -> None:
        """Build the model that fits a saved bank, and load the bank.

        A checkpoint of the original keeps no class names; they come from the annotation files then.
        """
        if self.seg_model is None:
            _, metadata = read_bank(path)
            names, ids = metadata.get("class_names"), metadata.get("category_ids", ())
            if names is None:
                categories = self._configured_categories()
                names, ids = categories.names, categories.ids
            self._build(metadata["length"], names, ids)
        model = self.segmenter
        load_bank(path, model.bank, model.negative_bank, self.fingerprint())

    def save_memory(self, path: str | Path) -> None:
        """Write the bank; on rank zero only."""
        if self.global_rank == 0:
            model = self.segmenter
            metadata = {**self.fingerprint(), "category_ids": list(self.category_ids)}
            save_bank(path, model.bank, model.negative_bank, metadata)

    def draw_memory(self, folder: Path) -> list[Path]:
        """Draw the references of the bank as clusters and principal colours; on rank zero only."""
        block = self.dataset_cfgs.fill_memory
        if block is None:
            raise ConfigError("pictures of the memory need dataset_cfgs.fill_memory (root and json_file)")
        infer = self.model_cfg.sam2_infer_cfgs or Sam2InferConfig()
        if infer.n_pca_components != 3:
            raise ConfigError(
                f"sam2_infer_cfgs.n_pca_components must be 3, one for each colour channel of the pictures, "
                f"got {infer.n_pca_components}"
            )
        if self.global_rank != 0:
            return []
        source = ReferenceSource(block, self.model_cfg.memory_bank_cfg.length)
        source.complete(self.segmenter.sam)
        return write_memory_pictures(self.segmenter, source, folder, infer.kmeans_k)

    def begin_search(
        self, block: TargetDataConfig, folder: Path, *, pictures: bool, resume: bool = False
    ) -> None:
        """Make the loader of the targets and the writers of what is found in them.

        Args:
            block: ``dataset_cfgs.test`` or ``dataset_cfgs.support``.
            folder: where the parts and the pictures go.
            pictures: draw what is found.
            resume: leave out the images that an interrupted run has finished.
        """
        model = self.segmenter
        names = model.bank.class_names
        self.targets = TargetSource(block)
        self.category_ids = self.targets.category_ids(names, self.category_ids)
        direct = model.direct_size
        self.writer = ResultWriter(
            folder / "parts", self.global_rank, settings=self._settings(block), resume=resume
        )
        size = block.image_size or model.sam.image_size
        squares = self.targets.squares(size, direct, without=self.writer.finished)
        self._loader = make_loader(squares, self.loading.workers, self.loading.batch_size)
        threshold = self.model_cfg.vis_thr
        self.pictures = (
            OverlayWriter(folder / "overlays", self.targets, names, threshold) if pictures else None
        )

    def test_dataloader(self) -> DataLoader[Any]:
        """The loader of the stage that was begun."""
        if self._loader is None:
            raise RuntimeError("no stage was begun; run it through run_lightening.py or pl_wrapper.stages")
        return self._loader

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Leave the batch where it is: the model moves what it needs, and samples are frozen."""
        return batch

    def test_step(self, batch: Sequence[Any], batch_idx: int) -> None:
        """Fill with references, or search targets; what the data set could not read is named and counted."""
        queries = []
        for item in batch:
            if isinstance(item, Unreadable):
                if self.stop_on_error:
                    raise DatasetError(item.reason)
                log.warning("skipped: %s", item.reason)
                self.unreadable.append(item.reason)
            elif isinstance(item, ReferenceCrop):
                self.segmenter.fill_memory([item], negative=self._negative)
            else:
                queries.append(item)
        for query, found in zip(queries, self.segmenter.segment_batch(queries), strict=True):
            self._write(query, found)

    def _write(self, query: Query, found: Instances) -> None:
        if self.writer is None:
            raise RuntimeError("begin_search makes the writer; call it first")
        image_id = query.name if query.image_id is None else query.image_id
        rows = to_coco_rows(found, image_id, self.category_ids)
        self.writer.write({"image_id": image_id, "file_name": query.name, "rows": rows})
        if self.pictures is not None:
            self.pictures.write(query, found)

    def _build(self, length: int, names: Sequence[str], category_ids: Sequence[Any]) -> None:
        self.category_ids = tuple(category_ids)
        self.seg_model = build_model(
            self.model_cfg, category_num=len(names), length=length, class_names=tuple(names)
        )

    def _configured_categories(self) -> CategoryMap:
        """The classes that the annotation files and ``cat_names`` or ``class_split`` choose."""
        for block in (self.dataset_cfgs.test, self.dataset_cfgs.fill_memory):
            if block is not None and block.json_file:
                coco, _ = read_annotated(block.json_file, block.root or None)
                return category_map(coco, block.cat_names, block.class_split)
        raise ConfigError(
            "this memory keeps no class names; give dataset_cfgs.test with json_file, "
            "and cat_names or class_split"
        )

    def _settings(self, block: TargetDataConfig) -> dict[str, Any]:
        """What the results of a search depend on, short enough to compare."""
        bank = hashlib.sha256()
        for part in (self.segmenter.bank, self.segmenter.negative_bank):
            for buffer in part.state_dict().values() if part is not None else ():
                bank.update(buffer.cpu().numpy().tobytes())
        return {
            **self.fingerprint(),
            "memory": bank.hexdigest(),
            "model_cfg": repr(replace(self.model_cfg, cache=None)),
            "targets": repr(block),
        }

    def fingerprint(self) -> dict[str, Any]:
        """What a bank's figures depend on."""
        return memory_fingerprint(self.model_cfg, self.segmenter.encoder)
