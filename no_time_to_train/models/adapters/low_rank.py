"""Low-rank changes of weights (LoRA, arXiv 2106.09685): ``W + (alpha / r) · B A`` with B zero at first.

They are parametrizations of torch: whatever reads a layer's ``weight`` sees the changed one, the fast decoder
of points included, which never calls the layers. Once learned they are added to the weights for good
(:mod:`adapter_file`), so that a search costs what it did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from no_time_to_train.errors import ConfigError

LAST = 4
"""The last of so many parts of an encoder's layers can learn: three blocks of a ViT with twelve."""

DECODER = "sam_mask_decoder."
UNREAD = tuple(f"{DECODER}{name}" for name in ("pred_obj_score_head", "conv_s0", "conv_s1"))
"""What only videos read, and what belongs to the image that is encoded once."""


class WeightChange(nn.Module):
    """Changes of one weight, a copy for each training that goes on at the same time.

    Args:
        weight: (out, in) or (out, in, h, w); any shape where ``rank`` is 0.
        rank: r; 0 learns every number of the weight.
        alpha: the change is scaled by ``alpha / rank``.
        copies: how many.
        draw: of A, the same for all copies.

    Attributes:
        active: the copy in use; None: none, the weight is the base's to the last bit.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float, copies: int, draw: torch.Generator) -> None:
        super().__init__()
        self.active: int | None = None
        self.scale = alpha / rank if rank else 1.0
        self.up = nn.Parameter(weight.new_zeros(copies, len(weight), rank or weight[0].numel()))
        self.down: nn.Parameter | None = None
        if rank:
            inputs = weight[0].numel()
            start = torch.randn(rank, inputs, generator=draw, dtype=torch.float64) / inputs**0.5
            self.down = nn.Parameter(start.to(weight).repeat(copies, 1, 1))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight as the active copy changes it."""
        return weight if self.active is None else weight + self.change(self.active).view_as(weight)

    def change(self, copy: int) -> Tensor:
        """(out, in) of one copy."""
        up = self.scale * self.up[copy]
        return up if self.down is None else up @ self.down[copy]

    def factors(self, copy: int) -> dict[str, Tensor]:
        """What a file keeps of one copy, the scale taken in: ``up``, and ``down`` where the rank is low."""
        found = {"up": self.scale * self.up[copy]}
        if self.down is not None:
            found["down"] = self.down[copy]
        return {name: part.detach().float().cpu().clone() for name, part in found.items()}


class WeightChanges(nn.Module):
    """All changes of one network while they are learned; the network is not registered here.

    Args:
        network: frozen; its named weights become parametrized.
        names: of its parameters, see :func:`decoder_weights` and :func:`encoder_weights`.
    """

    def __init__(
        self,
        network: nn.Module,
        names: Sequence[str],
        *,
        rank: int,
        alpha: float = 8.0,
        copies: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.names, self.layers = tuple(names), nn.ModuleList()
        for name in names:
            layer, _, own = name.rpartition(".")
            weight = network.get_parameter(name)
            change = WeightChange(weight.detach(), rank, alpha, copies, draw)
            parametrize.register_parametrization(network.get_submodule(layer), own, change)
            self.layers.append(change)

    @contextmanager
    def use(self, copy: int | None) -> Iterator[None]:
        """Inside, the network has the changes of one copy; its weights are made once."""
        try:
            for layer in self.layers:
                layer.active = copy  # type: ignore[assignment]
            with parametrize.cached():
                yield
        finally:
            for layer in self.layers:
                layer.active = None  # type: ignore[assignment]

    def factors(self, copy: int) -> dict[str, Tensor]:
        """Of all weights, as ``<name>.up`` and ``<name>.down``."""
        return {
            f"{name}.{kind}": part
            for name, layer in zip(self.names, self.layers, strict=True)
            for kind, part in layer.factors(copy).items()  # type: ignore[operator]
        }


def take_off(network: nn.Module) -> None:
    """The network as it was before :class:`WeightChanges`."""
    for layer in list(network.modules()):
        for name in list(getattr(layer, "parametrizations", ())):
            parametrize.remove_parametrizations(layer, name, leave_parametrized=False)


def decoder_weights(sam: nn.Module, *, every: bool = False) -> list[str]:
    """Matrices of SAM 2's mask decoder that masks of a single image, and their predicted IoU, are made with.

    Args:
        every: all parameters instead.
    """
    names = all_parameters(sam) if every else matrices(sam)
    return [name for name in names if name.startswith(DECODER) and not name.startswith(UNREAD)]


def encoder_weights(backbone: nn.Module, *, every: bool = False) -> list[str]:
    """Matrices of the last blocks of an encoder: linear layers, and convolutions that see one pixel.

    Args:
        every: all parameters instead.

    Raises:
        ConfigError: there is none.
    """
    names = all_parameters(backbone) if every else matrices(backbone)
    if not names:
        raise ConfigError("this encoder has no linear layer to put an adapter on; use --part decoder")
    return names if every else names[-max(1, len(names) // LAST) :]


def all_parameters(network: nn.Module) -> list[str]:
    """Every floating-point parameter, those of norms as well."""
    return [name for name, value in network.named_parameters() if value.is_floating_point() and value.ndim]


def matrices(network: nn.Module) -> list[str]:
    """Weights of linear layers and of convolutions that see one pixel, in the order of the layers."""
    return [
        f"{name}.weight"
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear)
        or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1)
    ]
