"""Generated tables inside pages that are written by hand, between two markers."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import torch

from no_time_to_train.models.dinov3_utils import FACTORY_OF
from no_time_to_train.models.encoders.backbones import build_backbone
from no_time_to_train.models.encoders.encoder_registry import ALIASES, ENCODERS
from no_time_to_train.models.encoders.spec import EncoderSpec
from no_time_to_train.models.memory.memory_bank import MemoryBank
from no_time_to_train.weights.catalogue import CATALOGUE
from tools.reference_pages.markdown import code, table
from tools.reference_pages.yaml_page import block_kind, fields_table

ROOT = Path(__file__).resolve().parents[2]
MARKED = re.compile(r"(<!-- generated: (?P<name>[\w./ ]+) -->\n).*?(<!-- end of generated -->)", re.DOTALL)


def fill_in(page: Path) -> str:
    """The text of a page with every marked part made anew.

    Raises:
        KeyError: a marker names what nothing makes.
    """
    return MARKED.sub(lambda found: f"{found[1]}{_make(found['name'])}\n{found[3]}", page.read_text("utf-8"))


def _make(name: str) -> str:
    what, _, argument = name.partition(" ")
    return {"encoders": encoders, "presets": presets, "block": _block}[what](argument)


def _block(path: str) -> str:
    return fields_table(block_kind(path))


def encoders(_: str) -> str:
    """One row for each encoder: what it costs, its licence and where to get it."""
    rows = []
    for spec in ENCODERS.values():
        if spec.weights is None or spec.name.endswith("_reg"):
            continue
        entry = CATALOGUE[spec.weights]
        count = parameters(spec.name)
        size = f"{count / 1e6:.3g} M" if count < 1e9 else f"{count / 1e9:.3g} B"
        stored = "in the package" if entry.embedded else f"{4 * count / 1e9:.2g} GB"
        also = f", {code('…_reg')}" if f"{spec.name}_reg" in ENCODERS else ""
        rows.append(
            (
                code(spec.name) + also,
                f"{spec.img_size}, {_grid(spec)}",
                size,
                stored,
                spec.licence,
                _without_account(spec),
            )
        )
    return table(("encoder", "input, grid", "parameters", "file", "licence", "without an account"), rows)


def presets(family: str) -> str:
    """Sizes of the presets of one family, ``dinov2`` or ``dinov3``."""
    also = {of: name for name, of in ALIASES.items()}
    rows = []
    for spec in ENCODERS.values():
        if spec.encoder_type != family:
            continue
        names = ", ".join(code(name) for name in (spec.name, also.get(spec.name)) if name)
        rows.append(
            (
                names,
                code(FACTORY_OF.get(spec.name, "")),
                f"{spec.embed_dim} / {spec.depth} / {spec.num_heads}",
                str(spec.build["ffn_layer"]),
                f"{parameters(spec.name):,}",
                f"{spec.img_size}: {_grid(spec)}",
                f"{bank_bytes(spec.embed_dim) / 1024:.0f} kB",
                spec.licence if spec.weights else "none published",
                code(CATALOGUE[spec.weights].file if spec.weights else ""),
            )
        )
    header = (
        "preset",
        "factory",
        "D / depth / heads",
        "FFN",
        "parameters",
        "input: grid",
        "bank",
        "licence",
        "file",
    )
    return table(header, rows)


def _grid(spec: EncoderSpec) -> str:
    side = spec.img_size // spec.patch_size
    return f"{side}x{side}"


def _without_account(spec: EncoderSpec) -> str:
    entry = CATALOGUE[spec.weights or ""]
    if entry.embedded:
        return "comes along"
    if entry.url or entry.hub:
        return code(f"ntt download {spec.name}")
    return "no source is known; Meta's form"


@cache
def parameters(name: str) -> int:
    """Number of parameters of a preset, counted on the network itself."""
    with torch.device("meta"):
        return sum(each.numel() for each in build_backbone(ENCODERS[name]).parameters())


def bank_bytes(width: int, categories: int = 20, shots: int = 10) -> int:
    """Bytes of a memory bank: by default of COCO's 20 novel classes with 10 shots."""
    bank = MemoryBank(categories, shots, width)
    return sum(buffer.numel() * buffer.element_size() for buffer in bank.buffers())
