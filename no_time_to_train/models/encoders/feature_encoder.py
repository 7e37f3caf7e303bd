"""The encoder interface: images in, a grid of patch features out, whichever backbone is behind it."""

from __future__ import annotations

import logging
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.config import EncoderConfig
from no_time_to_train.errors import ConfigError
from no_time_to_train.models.encoders.backbones import build_backbone, build_empty_backbone
from no_time_to_train.models.encoders.encoder_registry import encoder_spec
from no_time_to_train.models.encoders.encoder_weights import load_backbone, load_convolutional, load_timm
from no_time_to_train.models.encoders.spec import EncoderSpec
from no_time_to_train.models.encoders.token_layouts import patch_tokens
from no_time_to_train.weights.backbone_files import read_backbone
from no_time_to_train.weights.locate import find_weights, naming

log = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Engine(Protocol):
    """Something other than torch that computes what a network does, on images of the network's own size.

    Attributes:
        name: which, in what precision and, of a given graph, which one: whatever figures depend on.
    """

    name: str

    def __call__(self, images: Tensor, /) -> tuple[Tensor, ...]: ...


class FeatureEncoder(nn.Module):
    """A frozen backbone with its preprocessing. Always in eval mode, without gradients unless it ``learns``.

    Args:
        spec: the preset.
        backbone: its network, weights loaded.
        img_size: side of the square the images are resized to; None for the preset's.
        layers: blocks whose normed patch features are fused, counted from 0, negative from the end; None
            takes the last block.
        layer_fusion: ``mean`` keeps D; ``concat`` gives D for each layer.

    Attributes:
        embed_dim: D of the features that come out.
        grid: g patches on each side.
        engine: computes :meth:`features` in place of torch; None: torch does. See ``models.engines``.
        adapter: hash of the adapter file that was added to the model's weights; None: they are the preset's.
        learns: gradients pass, to the parameters that take any: those of an adapter in training.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        spec: EncoderSpec,
        backbone: nn.Module,
        *,
        img_size: int | None = None,
        layers: tuple[int, ...] | None = None,
        layer_fusion: Literal["mean", "concat"] = "mean",
    ) -> None:
        super().__init__()
        self.spec, self.backbone = spec, backbone
        self.adapter: str | None = None
        self.learns = False
        self.encoder_type, self.patch_size = spec.encoder_type, spec.patch_size
        self.num_prefix_tokens = spec.num_prefix_tokens
        self.img_size = checked_size(spec, img_size)
        self.grid = self.img_size // spec.patch_size
        self.layers = None if layers is None else checked_layers(spec, layers)
        self.layer_fusion = layer_fusion
        self.engine: Engine | None = None
        concatenated = len(self.layers) if self.layers and layer_fusion == "concat" else 1
        self.embed_dim = spec.embed_dim * concatenated
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> FeatureEncoder:
        """Stay in eval whatever is asked: in train mode DINOv3 turns its positions at random."""
        return super().train(False)

    def forward(self, images: Tensor, *, prenorm: bool = False) -> Tensor:
        """Encode images.

        Args:
            images: (B, 3, H, W) RGB in [0, 1]; resized bicubically to the square, aspect ratio not kept.
            prenorm: tokens before the final norm instead; the prefix is removed all the same.

        Returns:
            (B, g, g, D) fp32 patch features after the final norm, rows first.
        """
        if self.engine is not None and not prenorm:
            return self.engine(self.resized(images))[0]
        with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()):
            return self.features(self.resized(images), prenorm=prenorm)

    def features(self, images: Tensor, *, prenorm: bool = False) -> Tensor:
        """What :meth:`forward` gives, by torch, of (B, 3, S, S) images of the input's size."""
        pixels = self._normalised(images)
        if self.layers is not None:
            return self._fused(pixels, self.layers, norm=not prenorm)
        if prenorm and self.encoder_type not in ("dinov2", "dinov3"):  # forward_features gives normed ones
            return self._blocks(pixels, (self.spec.depth - 1,), norm=False)[0]
        output = self.backbone.forward_features(pixels)  # type: ignore[operator]
        return patch_tokens(output, self.backbone, (self.grid, self.grid), prenorm=prenorm).float()

    def preprocess(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to the normalised square (B, 3, S, S) in the backbone's dtype."""
        return self._normalised(self.resized(images))

    def resized(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to the square (B, 3, S, S)."""
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"images must be (B, 3, H, W) float in [0, 1], got {tuple(images.shape)} {images.dtype}"
            )
        size = (self.img_size, self.img_size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bicubic", align_corners=False)
        return images

    def _normalised(self, images: Tensor) -> Tensor:
        return ((images - self.mean) / self.std).to(next(self.backbone.parameters()).dtype)

    @torch.no_grad()
    def intermediate(self, images: Tensor, layers: tuple[int, ...], *, norm: bool = True) -> list[Tensor]:
        """Patch features (B, g, g, D) after chosen blocks, ascending; for pictures and notebooks."""
        return self._blocks(self.preprocess(images), checked_layers(self.spec, layers), norm=norm)

    @torch.no_grad()
    def attention(self, images: Tensor, layer: int = -1) -> Tensor:
        """Attention weights (B, heads, T, T) of one block, T = prefix + g^2 tokens; for notebooks only."""
        from no_time_to_train.models.encoders.attention_maps import attention_of_block

        (number,) = checked_layers(self.spec, (layer,))
        pixels = self.preprocess(images)
        network: Any = self.backbone
        return attention_of_block(lambda: network.forward_features(pixels), number)

    def _fused(self, pixels: Tensor, layers: tuple[int, ...], *, norm: bool) -> Tensor:
        maps = self._blocks(pixels, layers, norm=norm)
        return torch.cat(maps, dim=-1) if self.layer_fusion == "concat" else torch.stack(maps).mean(0)

    def _blocks(self, pixels: Tensor, layers: tuple[int, ...], *, norm: bool) -> list[Tensor]:
        found = self.backbone.get_intermediate_layers(pixels, n=layers, norm=norm)  # type: ignore[operator]
        grid = (self.grid, self.grid)
        return [patch_tokens(tokens, self.backbone, grid).float() for tokens in found]


def checked_size(spec: EncoderSpec, img_size: int | None) -> int:
    """Return the side of the input.

    Raises:
        ConfigError: it is no multiple of the patch; names the two nearest that are.
    """
    if img_size is None:
        return spec.img_size
    patch = spec.patch_size
    if img_size < patch or img_size % patch:
        below = max(img_size // patch, 1) * patch
        raise ConfigError(
            f"encoder_cfg.img_size {img_size} does not fit {spec.name} with patch {patch}; "
            f"use {below} or {below + patch} (preset {spec.img_size})"
        )
    return img_size


def checked_layers(spec: EncoderSpec, layers: tuple[int, ...]) -> tuple[int, ...]:
    """Return ascending block numbers counted from 0."""
    numbers = sorted({layer + spec.depth if layer < 0 else layer for layer in layers})
    if not numbers or numbers[0] < 0 or numbers[-1] >= spec.depth or len(numbers) < len(layers):
        raise ConfigError(
            f"encoder_cfg.layers must be different blocks of 0 to {spec.depth - 1} of {spec.name} "
            f"(negative counts from the end), got {list(layers)}"
        )
    return tuple(numbers)


def build_encoder(cfg: EncoderConfig, ckpt_path: str | None) -> FeatureEncoder:
    """Build the encoder that a configuration names, with its weights.

    Args:
        cfg: see :class:`EncoderConfig`.
        ckpt_path: local file, ``auto``, or ``hf-hub:<repo>[@revision]``; None takes weights that come with
            the package.

    Raises:
        UnknownEncoderError: unknown name.
        ConfigError: a size that does not fit.
        CheckpointError: no weights, or weights of another model.
    """
    spec = encoder_spec(cfg.name)
    if cfg.patch_size not in (None, spec.patch_size):
        raise ConfigError(
            f"encoder_cfg.patch_size must be {spec.patch_size} for {spec.name}, got {cfg.patch_size}; "
            "remove it, it follows from the name"
        )
    checked_size(spec, cfg.img_size)  # before the weights, which may take long
    if cfg.layers is not None:
        checked_layers(spec, cfg.layers)
    backbone = _backbone_with_weights(spec, cfg, ckpt_path).to(DTYPES[cfg.dtype])  # pixels stay fp32
    return FeatureEncoder(
        spec, backbone, img_size=cfg.img_size, layers=cfg.layers, layer_fusion=cfg.layer_fusion
    )


def _backbone_with_weights(spec: EncoderSpec, cfg: EncoderConfig, ckpt_path: str | None) -> nn.Module:
    path = find_weights(ckpt_path, spec.weights, spec.name, optional=cfg.allow_random_weights)
    if path is None:
        log.warning("%s runs with random weights: its features mean nothing", spec.name)
        return build_backbone(spec, cfg.repo)
    backbone = build_empty_backbone(spec, cfg.repo)
    with naming(spec.name):
        if spec.encoder_type == "timm":
            load_timm(backbone, path, spec.name)
        elif spec.encoder_type in ("convnext", "efficientnet"):
            load_convolutional(backbone, path, spec.name)
        else:
            load_backbone(backbone, read_backbone(path), spec.name)
    log.info("%s: weights from %s", spec.name, path)
    return backbone
