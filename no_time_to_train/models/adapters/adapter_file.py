"""The file of an adapter: the learned factors, and which networks they were learned on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from no_time_to_train.errors import CheckpointError
from no_time_to_train.files import whole_file
from no_time_to_train.models.encoders.feature_encoder import FeatureEncoder
from no_time_to_train.models.encoders.fingerprint import weights_hash
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.version import __version__
from no_time_to_train.weights.sam2_models import sam2_entry

Part = Literal["decoder", "encoder"]
"""SAM 2's mask decoder, or the encoder of patch features."""

KEY, VERSION = "no_time_to_train_adapter", 1


@dataclass(frozen=True)
class LearnedPart:
    """What was learned of one network.

    Attributes:
        base: its preset.
        weights: hash of its weights in float32 without the adapter, see ``weights_hash``.
        rank: 0 where every number was learned.
        factors: ``<weight>.up`` and, of low rank, ``<weight>.down``; float32 on the CPU.
    """

    base: str
    weights: str
    rank: int
    factors: Mapping[str, Tensor] = field(repr=False)


def save_adapter(path: str | Path, parts: Mapping[Part, LearnedPart]) -> None:
    """Write what was learned; a file of another kind is never replaced.

    Raises:
        CheckpointError: there is one.
    """
    require_own(path)
    facts: dict[str, Any] = {"version": VERSION, "program": __version__, "parts": {}}
    tensors: dict[str, Tensor] = {}
    for name, part in parts.items():
        facts["parts"][name] = {key: value for key, value in vars(part).items() if key != "factors"}
        tensors |= {f"{name}.{key}": value.contiguous() for key, value in part.factors.items()}
    with whole_file(Path(path), "wb") as file:
        file.write(save(tensors, metadata={KEY: json.dumps(facts, sort_keys=True)}))


def require_own(path: str | Path) -> None:
    """Refuse to write where something else than an adapter lies.

    Raises:
        CheckpointError: naming it.
    """
    if Path(path).exists():
        try:
            read_adapter(path)
        except CheckpointError:
            raise CheckpointError(
                f"{path} is there already and is no adapter; choose another --out"
            ) from None


def read_adapter(path: str | Path) -> tuple[dict[Part, LearnedPart], str]:
    """The parts of an adapter file, and a hash of the file.

    Raises:
        CheckpointError: missing, damaged, or of another kind.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f"there is no adapter {path}; check the path, or make one with ntt fit")
    try:
        with safe_open(str(path), framework="pt") as file:
            facts = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        version, parts = facts["version"], dict[Part, LearnedPart]()
        for name, said in facts["parts"].items() if version == VERSION else ():
            own = {
                key.removeprefix(f"{name}."): part
                for key, part in tensors.items()
                if key.startswith(f"{name}.")
            }
            parts[name] = LearnedPart(factors=own, **said)
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path} is no adapter of ntt fit; give one, or leave it out") from None
    if version != VERSION:
        raise CheckpointError(
            f"{path} is an adapter of version {version}, this program reads {VERSION}; "
            f"make it again with ntt fit"
        )
    return parts, hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Base:
    """A network that can have an adapter, as it is without one.

    Attributes:
        network: frozen, in float32.
        name: its preset.
        weights: hash of its weights.
    """

    network: nn.Module
    name: str
    weights: str


def base_of(part: Part, encoder: FeatureEncoder, sam: Sam2Backend, sam2: str) -> Base:
    """The network that a part belongs to; ``sam2`` is the name of its configuration."""
    if part == "encoder":
        return Base(encoder.backbone, encoder.spec.name, weights_hash(encoder.backbone))
    return Base(sam, sam2_entry(sam2), weights_hash(sam))


def add_adapter(path: str | Path, encoder: FeatureEncoder, sam: Sam2Backend, sam2: str) -> None:
    """Add what an adapter has learned to the weights of two networks in float32, for good.

    Raises:
        CheckpointError: no adapter, or one that was learned on other networks.
    """
    parts, encoder.adapter = read_adapter(path)
    for name, part in parts.items():
        _merge(base_of(name, encoder, sam, sam2), part, path)


@torch.no_grad()
def _merge(base: Base, part: LearnedPart, path: str | Path) -> None:
    if (part.base, part.weights) != (base.name, base.weights):
        other = part.base if part.base != base.name else f"other weights of {base.name}"
        raise CheckpointError(
            f"the adapter {path} was made for {other}, not for this {base.name}; use what it was made for, "
            f"or leave the adapter out"
        )
    for key, change in part.factors.items():
        name, _, kind = key.rpartition(".")
        if kind == "down":
            continue
        weight = base.network.get_parameter(name)
        if part.rank:
            change = change @ part.factors[f"{name}.down"]
        if change.numel() != weight.numel() or not torch.isfinite(change).all():
            raise CheckpointError(f"the adapter {path} does not fit {base.name} at {name}; make it again")
        weight.add_(change.view_as(weight).to(weight))
