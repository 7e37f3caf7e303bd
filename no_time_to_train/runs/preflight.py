"""Everything that is wrong with a configuration, listed at once, before anything long begins."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from no_time_to_train.config import DatasetConfigs, ModelConfig
from no_time_to_train.dataset.checks import reference_problems, target_problems
from no_time_to_train.errors import CheckpointError, ConfigError, NoTimeToTrainError
from no_time_to_train.models.encoders.encoder_registry import encoder_spec
from no_time_to_train.models.encoders.feature_encoder import checked_size
from no_time_to_train.models.factory import model_class
from no_time_to_train.models.sam.build import RANDOM
from no_time_to_train.pipeline.sources import ReferenceSource, TargetSource
from no_time_to_train.weights.arrival import is_offline
from no_time_to_train.weights.catalogue import CATALOGUE
from no_time_to_train.weights.locate import find_weights, ways_to_get
from no_time_to_train.weights.on_this_machine import checkpoint_folder, local_weights
from no_time_to_train.weights.sam2_models import sam2_entry

MIN_FREE_BYTES = 200 * 2**20
DEMO = "to see the chain work without it: ntt demo"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        text: one sentence.
        fatal: the run cannot work; otherwise it works, and the user should know.
    """

    text: str
    fatal: bool = True


def find_problems(
    model: ModelConfig | None, data: DatasetConfigs, output_dir: str | Path, most_targets: int | None = None
) -> list[Problem]:
    """Check names, weights, files, categories, references, targets and disk; no model is built.

    Args:
        model: ``model_cfg``; None where that has faults of its own.
        data: ``dataset_cfgs``; blocks that are None are not looked at.
        output_dir: where a run would write.
        most_targets: how many target images are opened; None means all.

    Returns:
        Every problem found, in the order of the configuration; an empty list means the run can start.
    """
    found: list[Problem] = []
    if model is not None:
        for check in (lambda cfg: model_class(cfg.name), _check_encoder, _check_sam2):
            _collect(found, partial(check, model))
    names = _check_references(found, None if model is None else model.memory_bank_cfg.length, data)
    _check_targets(found, data, names, most_targets)
    _check_disk(found, Path(output_dir))
    return found


def _collect(found: list[Problem], step: Callable[[], object]) -> object | None:
    """Run one check; what it raises is fatal, what it warns of is not."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = step()
        except NoTimeToTrainError as error:
            found.append(Problem(str(error)))
            result = None
    found.extend(Problem(str(warning.message), fatal=False) for warning in caught)
    return result


def _check_encoder(model: ModelConfig) -> None:
    cfg = model.encoder_cfg
    spec = encoder_spec(cfg.name)
    checked_size(spec, cfg.img_size)
    if not cfg.allow_random_weights:
        _check_weights(model.encoder_ckpt_path, spec.weights, spec.name)


def _check_sam2(model: ModelConfig) -> None:
    entry = sam2_entry(model.sam2_cfg_file)
    if model.sam2_ckpt_path != RANDOM:
        _check_weights(model.sam2_ckpt_path, entry, model.sam2_cfg_file)


def _check_weights(ckpt_path: str | None, weights: str | None, name: str) -> None:
    """A file must be there; what ``auto`` would download is named, and left for the run itself."""
    if ckpt_path == "auto":
        _name_download(weights, name)
    elif ckpt_path is None or not ckpt_path.startswith("hf-hub:"):
        try:
            path = find_weights(ckpt_path, weights, name)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {DEMO}") from error
        if path is not None and not path.exists():
            raise CheckpointError(f"no weights for {name} at {path}; give another file, or auto")


def _name_download(weights: str | None, name: str) -> None:
    """Warn that a file is not here yet and where it comes from; what no source has is an error."""
    entry = CATALOGUE.get(weights or "")
    if entry is None or local_weights(entry.name) is not None:
        return
    missing = f"{entry.file} for {name} is not in {checkpoint_folder()}"
    source = entry.url or (f"hf-hub:{entry.hub} ({entry.licence})" if entry.hub else None)
    if source is None or is_offline():
        raise CheckpointError(f"{missing}: {ways_to_get(entry, weights, name)}; {DEMO}")
    warnings.warn(f"{missing}: 'auto' downloads it from {source}, or put it there; {DEMO}", stacklevel=2)


def _check_there(path: str | Path | None, key: str) -> None:
    """An annotation file or a folder of pictures that a block names."""
    if path and not Path(path).exists():
        raise ConfigError(f"{path} is not there ({key}): put the data there or name others; {DEMO}")


def _check_references(found: list[Problem], length: int | None, data: DatasetConfigs) -> tuple[str, ...]:
    block = data.fill_memory
    if block is None:
        return ()

    def read() -> ReferenceSource:
        _check_there(block.json_file or block.root, "dataset_cfgs.fill_memory")
        return ReferenceSource(block, length)

    source = _collect(found, read)
    if not isinstance(source, ReferenceSource):
        return ()
    found.extend(Problem(text, fatal=False) for text in reference_problems(source.references))
    return source.categories.names


def _check_targets(
    found: list[Problem], data: DatasetConfigs, names: tuple[str, ...], most: int | None
) -> None:
    block = data.test
    if block is None:
        return

    def read() -> TargetSource:
        _check_there(block.json_file or block.root, "dataset_cfgs.test")
        return TargetSource(block)

    source = _collect(found, read)
    if isinstance(source, TargetSource):
        found.extend(Problem(text, fatal=False) for text in target_problems(source.targets[:most]))
        _collect(found, lambda: source.category_ids(names, names))


def _check_disk(found: list[Problem], folder: Path) -> None:
    existing = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_BYTES:
        found.append(
            Problem(f"only {free // 2**20} MiB are free at {existing}; make room or change output_dir")
        )
