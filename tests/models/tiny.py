"""Small stand-ins and drawn inputs that the tests of the models share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from no_time_to_train.models.memory.bank_file import read_bank, require_same_making
from no_time_to_train.models.memory.memory_bank import CENTERS, MemoryBank
from no_time_to_train.models.memory.patch_bank import PatchBank
from no_time_to_train.models.memory.reference_encoding import PatchReference
from no_time_to_train.models.memory.stored_references import (
    make_bank,
    make_negative_bank,
    references_from_bank,
)
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.weights.sam2_models import SAM2_SIZES


class TinyEncoder(nn.Module):
    """A patch projection with the interface of ``FeatureEncoder``: real tensors, meaningless features."""

    encoder_type = "dinov2"
    patch_size = 14
    num_prefix_tokens = 1

    def __init__(self, embed_dim: int = 24, grid: int = 9, seed: int = 0) -> None:
        super().__init__()
        self.embed_dim, self.grid, self.img_size = embed_dim, grid, grid * self.patch_size
        self.project = nn.Conv2d(3, embed_dim, self.patch_size, stride=self.patch_size)
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.project.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.2)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, g, g, C)."""
        if images.shape[-2:] != (self.img_size, self.img_size):
            images = F.interpolate(images, (self.img_size, self.img_size), mode="bicubic")
        return self.project(images - 0.5).permute(0, 2, 3, 1)


def random_sam(seed: int = 0) -> Sam2Backend:
    """SAM 2 at nano size with seeded random weights, large enough that its masks differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sam = Sam2Backend(SAM2_SIZES["nano"]).requires_grad_(False)
        sam.no_mem_embed.normal_(std=0.02)
    for parameter in sam.parameters():
        if parameter.ndim > 1:
            parameter *= 1.5
    return sam


def generator(seed: int) -> torch.Generator:
    """A seeded source of random numbers."""
    return torch.Generator().manual_seed(seed)


def random_logits(seed: int, count: int, side: int = 32, empty: float = 0.1) -> Tensor:
    """(count, side, side) smooth mask logits; a share ``empty`` of them is negative everywhere."""
    draw = generator(seed)
    coarse = torch.randn(count, 1, 5, 5, generator=draw) - 0.3
    logits = F.interpolate(coarse, (side, side), mode="bicubic")[:, 0]
    gone = torch.rand(count, generator=draw) < empty
    return logits.masked_fill(gone[:, None, None], -20)


def random_bank(
    seed: int, categories: int, length: int, embed_dim: int = 24, *, unequal: bool = False, **options: Any
) -> MemoryBank:
    """A filled bank; with ``unequal`` some categories have fewer shots, none has none."""
    draw = generator(seed)
    bank = MemoryBank(categories, length, embed_dim, **options)
    for label in range(categories):
        shots = int(torch.randint(1, length + 1, (1,), generator=draw)) if unequal else length
        for slot in range(shots):
            weight = float(torch.rand((), generator=draw)) * 30 + 0.1
            feature_sum = torch.randn(embed_dim, generator=draw) * weight
            centers = {
                name: torch.randn(shape, generator=draw).abs()
                if name.endswith("weights")
                else torch.randn(shape, generator=draw)
                for name, shape in ((name, getattr(bank, name).shape[2:]) for name in bank.center_names)
            }
            bank.write(label, slot, feature_sum, weight, centers)
    return bank


class _LargestTensor(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.numel())
        return out


@contextmanager
def largest_tensor() -> Iterator[_LargestTensor]:
    """Record the size of the largest tensor that any operation inside makes, ``.numel``."""
    with _LargestTensor() as mode:
        yield mode


def load_bank(
    path: Path, expected: Mapping[str, Any] | None = None, class_names: Sequence[str] | None = None
) -> tuple[Any, MemoryBank | None]:
    """The bank and the negative bank of a file that must fit, as ``pipeline.memory`` makes them."""
    tensors, metadata = read_bank(path)
    require_same_making(path, metadata, expected or {})
    names = class_names or metadata.get("class_names") or [f"class {k}" for k in range(len(tensors["sums"]))]
    references = references_from_bank(tensors, names, None)
    first = references[0].encoded

    def new_bank(names: Sequence[str], length: int) -> Any:
        if isinstance(first, PatchReference):
            grid, _, width = first.features.shape
            return PatchBank(len(names), length, width, grid, class_names=names)
        counts = {f"num_{name}": len(first.centers.get(name, ())) for name in CENTERS}
        return MemoryBank(len(names), length, len(first.feature_sum), class_names=names, **counts)

    width = tensors["sums"].shape[2] if "sums" in tensors else 1
    return make_bank(references, new_bank, names), make_negative_bank(references, width, names)
