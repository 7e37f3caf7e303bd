"""What an entry of the cache depends on, as the name under which it is found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from no_time_to_train import __version__


def entry_key(kind: str, image: Tensor, *facts: object) -> str:
    """The name of an entry.

    Args:
        kind: of entry.
        image: pixels as the encoder gets them, of any shape.
        facts: everything else that the figures depend on, see :func:`described`.
    """
    digest = hashlib.blake2b(digest_size=20)
    told = described((kind, __version__, tuple(image.shape), str(image.dtype), facts))
    digest.update(repr(told).encode())
    digest.update(image.detach().contiguous().cpu().numpy().data)
    return digest.hexdigest()


def described(part: Any) -> object:
    """What tells a part of a model from every other one, as plain values.

    A frozen dataclass is told by its class and by all fields that count when two of them are compared, so
    that none can be forgotten; what figures do not depend on says so by ``compare=False``. A function of a
    module is told by its name.

    Raises:
        TypeError: there is no telling, as of a lambda, or of an object that may change.
    """
    if part is None or isinstance(part, bool | int | float | str | torch.dtype):
        return part
    if isinstance(part, tuple | list):
        return tuple(described(item) for item in part)
    if isinstance(part, Mapping):
        return tuple((described(key), described(value)) for key, value in part.items())
    if isinstance(part, FunctionType) and part.__closure__ is None and "<" not in part.__qualname__:
        return part.__module__, part.__qualname__
    if is_dataclass(part) and type(part).__dataclass_params__.frozen:  # type: ignore[union-attr]
        told = {item.name: getattr(part, item.name) for item in fields(part) if item.compare}
        return type(part).__module__, type(part).__qualname__, described(told)
    raise TypeError(
        f"the cache cannot tell this {type(part).__name__} from others; make it a frozen dataclass, or a "
        f"function of a module, or run without a cache"
    )


def arithmetic(device: torch.device) -> tuple[object, ...]:
    """What figures depend on beside weights and input: kind of device and precision asked of it."""
    autocast = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
    return device.type, autocast, torch.get_float32_matmul_precision()


class NetworkDescription:
    """A description of a network, made again only when the network has other parameters.

    Moving or casting a network, or loading other weights into it, changes what is watched: place, dtype and
    version of its first and last parameter.
    """

    def __init__(self, describe: Callable[[Any], object]) -> None:
        self._describe = describe
        self._seen: object = None
        self._description: object = None

    def __call__(self, network: nn.Module) -> object:
        parameters = list(network.parameters())
        ends = [parameters[0], parameters[-1]] if parameters else []
        seen = [(p.data_ptr(), p.dtype, 0 if p.is_inference() else p._version) for p in ends]
        if seen != self._seen:
            self._seen, self._description = seen, self._describe(network)
        return self._description
