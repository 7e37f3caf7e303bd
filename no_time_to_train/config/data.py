"""The data: ``dataset_cfgs`` and ``data_load_cfgs``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from no_time_to_train.config.checks import require


@dataclass(frozen=True, kw_only=True)
class CropOptions:
    """How a reference is cut out; the defaults are the published way."""

    context_ratio: float = 0.2  # how much of its longer side an object gets around it
    whole_image: bool = False  # no crop, the whole image squashed to the square
    pad: bool = False  # keep a crop at the border square; published: cut there, then stretched
    antialias: bool = False  # smooth while shrinking; published: no
    clamp: bool = False  # cut the overshoot of bicubic resizing; published: no
    mask_resize: Literal["bilinear", "area"] = "bilinear"  # of the mask; area: covered share of each pixel
    box_as_mask: bool = False  # the whole box is the mask of a reference with a box only; else SAM 2 makes it

    def __post_init__(self) -> None:
        require(self.context_ratio >= 0, "context_ratio", "at least 0", self.context_ratio)


@dataclass(frozen=True)
class FillMemoryDataConfig(CropOptions):
    """``dataset_cfgs.fill_memory``: the reference images, and how references are cut out of them."""

    root: str = ""  # folder of the images
    json_file: str = ""  # COCO annotations
    memory_pkl: str | None = None  # which annotations are the shots; None: drawn from json_file, seeded
    image_size: int | None = None  # side of the crops; None: the encoder's
    memory_length: int | None = None  # None: memory_bank_cfg.length
    norm_img: bool = False  # only false: the model normalises
    class_split: str | None = None  # a named list of classes
    cat_names: tuple[str, ...] | None = None  # classes by name; before class_split
    semantic_ref: bool = False  # only false
    complete: bool = False  # all objects of the images are references: the rest is background

    def __post_init__(self) -> None:
        key = "dataset_cfgs.fill_memory"
        require(self.context_ratio >= 0, f"{key}.context_ratio", "at least 0", self.context_ratio)
        require(not self.norm_img, f"{key}.norm_img", "false (the model normalises)", self.norm_img)
        require(not self.semantic_ref, f"{key}.semantic_ref", "false", self.semantic_ref)

    @property
    def crops(self) -> CropOptions:
        """How references are cut out, alone."""
        return CropOptions(**{item.name: getattr(self, item.name) for item in fields(CropOptions)})


@dataclass(frozen=True)
class TargetDataConfig:
    """``dataset_cfgs.test`` and ``dataset_cfgs.support``: the images to search."""

    root: str = ""  # folder of the images
    json_file: str = ""  # COCO file that lists them
    image_size: int | None = None  # None: SAM 2's input side
    norm_img: bool = False  # only false: the model normalises
    class_split: str | None = None  # a named list of classes
    cat_names: tuple[str, ...] | None = None  # classes by name; before class_split

    def __post_init__(self) -> None:
        require(
            not self.norm_img, "dataset_cfgs.test.norm_img", "false (the model normalises)", self.norm_img
        )


@dataclass(frozen=True)
class DatasetConfigs:
    """``dataset_cfgs``: one block per stage that reads images."""

    fill_memory: FillMemoryDataConfig | None = None  # the references
    test: TargetDataConfig | None = None  # the images to search
    support: TargetDataConfig | None = None  # images whose false positives become negative references
    negatives: FillMemoryDataConfig | None = None  # negative references that the user names


@dataclass(frozen=True)
class DataLoadConfig:
    """``data_load_cfgs``: the loader's workers."""

    workers: int = 4  # processes that read images, best no more than processors; 0: none beside the main one
    batch_size: int = 1  # targets that go through both networks together

    def __post_init__(self) -> None:
        require(self.workers >= 0, "data_load_cfgs.workers", "at least 0", self.workers)
        require(self.batch_size >= 1, "data_load_cfgs.batch_size", "at least 1", self.batch_size)
