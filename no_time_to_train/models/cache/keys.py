"""What an entry of the cache depends on, as the name under which it is found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from no_time_to_train import __version__


def entry_key(kind: str, image: Tensor, *facts: object) -> str:
    """The name of an entry.

    Args:
        kind: of entry.
        image: pixels as the encoder gets them, of any shape.
        facts: everything else that the figures depend on; told apart by their ``repr``.
    """
    digest = hashlib.blake2b(digest_size=20)
    digest.update(repr((kind, __version__, tuple(image.shape), str(image.dtype), facts)).encode())
    digest.update(image.detach().contiguous().cpu().numpy().data)
    return digest.hexdigest()


def arithmetic(device: torch.device) -> tuple[object, ...]:
    """What figures depend on beside weights and input: kind of device and precision asked of it."""
    autocast = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
    return device.type, autocast, torch.get_float32_matmul_precision()


class Remembered:
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
