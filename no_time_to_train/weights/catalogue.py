"""Published checkpoints as data: file names, sources, hashes, licences. Facts only from the publishers.

Where no SHA-256 is published the entry has none; a Hugging Face server states it with each large file. The
eight digits in the names of DINOv3 files are the start of the SHA-256 by the torch hub convention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

APACHE = "Apache-2.0"
DINOV3_LICENCE = "DINOv3 License"
DINOV3_LICENCE_URL = "https://ai.meta.com/resources/models-and-libraries/dinov3-license/"
DINOV3_FORM_URL = "https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/"
META_HOST = "https://dl.fbaipublicfiles.com"


@dataclass(frozen=True)
class CatalogueEntry:
    """Where the weights of one model are.

    Attributes:
        name: what presets call them.
        file: name as published, looked for in ``folder`` of the checkpoint folder.
        also: other names that are looked for too.
        parameters: of the whole published model; four bytes each in the file. None where not stated.
        url: direct source that needs no account.
        hub: Hugging Face repository that is listed as needing no account.
        gated_hub: Hugging Face repository that does.
        sha256: its first digits, where published.
        embedded: file shipped with the package.
    """

    name: str
    file: str
    folder: str
    licence: str
    parameters: int | None = None
    also: tuple[str, ...] = ()
    url: str | None = None
    hub: str | None = None
    gated_hub: str | None = None
    sha256: str | None = None
    embedded: str | None = None


def _dinov2(letter: str, size: str, plain: int, registers: int) -> list[CatalogueEntry]:
    entries = []
    for suffix, middle, parameters in (("", "", plain), ("_reg", "_reg4", registers)):
        file = f"dinov2_vit{letter}14{middle}_pretrain.pth"
        entries.append(
            CatalogueEntry(
                name=f"dinov2_vit{letter}14{suffix}",
                file=file,
                folder="dinov2",
                licence=APACHE,
                parameters=parameters,
                url=f"{META_HOST}/dinov2/dinov2_vit{letter}14/{file}",
                hub=f"facebook/dinov2{'-with-registers' if suffix else ''}-{size}",
            )
        )
    return entries


def _dinov3(
    arch: str,
    digits: str,
    parameters: int,
    timm: str | None,
    *,
    dataset: str = "lvd1689m",
    on_hub: bool = True,
) -> CatalogueEntry:
    satellite = dataset == "sat493m"
    return CatalogueEntry(
        name=f"dinov3_{arch}{'_sat' if satellite else ''}",
        file=f"dinov3_{arch}_pretrain_{dataset}-{digits}.pth",
        also=(f"dinov3_{arch}_pretrain_{dataset}.pth",)
        + (() if satellite else (f"dinov3_{arch}_pretrain.pth",)),
        folder="dinov3",
        licence=DINOV3_LICENCE,
        parameters=parameters,
        hub=f"timm/{timm}" if timm else None,
        gated_hub=f"facebook/dinov3-{arch.replace('_', '-')}-pretrain-{dataset}" if on_hub else None,
        sha256=digits,
    )


def _sam2(version: str, size: str, date: str) -> CatalogueEntry:
    file = f"sam{version}_hiera_{size}.pt"
    return CatalogueEntry(
        name=f"sam{version}_hiera_{size}",
        file=file,
        folder="sam2",
        licence=APACHE,
        url=f"{META_HOST}/segment_anything_2/{date}/{file}",
    )


_ENTRIES = [
    *_dinov2("s", "small", 22_056_576, 22_058_112),
    *_dinov2("b", "base", 86_580_480, 86_583_552),
    *_dinov2("l", "large", 304_368_640, 304_372_736),
    *_dinov2("g", "giant", 1_136_480_768, 1_136_486_912),
    _dinov3("vits16", "08c60483", 21_601_152, "vit_small_patch16_dinov3.lvd1689m"),
    _dinov3("vits16plus", "4057cbaa", 28_697_472, "vit_small_plus_patch16_dinov3.lvd1689m"),
    _dinov3("vitb16", "73cec8be", 85_669_632, "vit_base_patch16_dinov3.lvd1689m"),
    _dinov3("vitl16", "8aa4cbdd", 303_154_176, "vit_large_patch16_dinov3.lvd1689m"),
    _dinov3("vitl16plus", "46503df0", 403_915_776, None, on_hub=False),
    _dinov3("vith16plus", "7c1da9a5", 840_633_600, "vit_huge_plus_patch16_dinov3.lvd1689m"),
    _dinov3("vit7b16", "a955f4ea", 6_716_043_264, "vit_7b_patch16_dinov3.lvd1689m"),
    _dinov3("vitl16", "eadcf0ff", 303_156_224, "vit_large_patch16_dinov3.sat493m", dataset="sat493m"),
    _dinov3("vit7b16", "a6675841", 6_716_043_264, "vit_7b_patch16_dinov3.sat493m", dataset="sat493m"),
    _dinov3("convnext_tiny", "21b726bb", 27_820_128, "convnext_tiny.dinov3_lvd1689m"),
    _dinov3("convnext_small", "296db49d", 49_454_688, "convnext_small.dinov3_lvd1689m"),
    _dinov3("convnext_base", "801f2ba9", 87_566_464, "convnext_base.dinov3_lvd1689m"),
    _dinov3("convnext_large", "61fa432d", 196_230_336, "convnext_large.dinov3_lvd1689m"),
    CatalogueEntry(
        "dinov3_nano", "dinov3_nano.safetensors", "nano", APACHE, embedded="dinov3_nano.safetensors"
    ),
    CatalogueEntry(
        "lite2_photographs",
        "lite2_photographs.safetensors",
        "nano",
        APACHE,
        embedded="lite2_photographs.safetensors",
    ),
    *(_sam2("2", size, "072824") for size in ("tiny", "small", "base_plus", "large")),
    *(_sam2("2.1", size, "092824") for size in ("tiny", "small", "base_plus", "large")),
    CatalogueEntry("sam2_nano", "sam2_nano.safetensors", "nano", APACHE, embedded="sam2_nano.safetensors"),
]

CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType({entry.name: entry for entry in _ENTRIES})
