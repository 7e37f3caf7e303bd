"""The DINOv3 vision transformer: an image in, class, storage and patch tokens out.

Over 300 lines, because it keeps the public signatures of the released code, a builder for each size
among them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dinov3.layers import PatchEmbed, RopePositionEmbedding, SelfAttentionBlock
from dinov3.models.parts import dtype_dict, ffn_layer_dict, init_weights_vit, norm_layer_dict

__all__ = [
    "DinoVisionTransformer",
    "dtype_dict",
    "ffn_layer_dict",
    "init_weights_vit",
    "norm_layer_dict",
    "vit_7b",
    "vit_base",
    "vit_giant2",
    "vit_huge2",
    "vit_large",
    "vit_small",
    "vit_so400m",
]

logger = logging.getLogger("dinov3")


class DinoVisionTransformer(nn.Module):
    """Vision transformer with rotary positions, storage tokens and LayerScale.

    Released checkpoints load strictly into the models of ``dinov3.hub.backbones``. A new model is initialised
    already. In eval mode nothing is random; in train mode the ``pos_embed_rope_*_coords`` arguments and
    ``drop_path_rate`` are, so keep a frozen model in eval.

    Args:
        img_size: pixels, kept as information; the input may have any size of at least one patch.
        patch_size: pixels p.
        in_chans: channels C of the image.
        pos_embed_rope_base, pos_embed_rope_min_period, pos_embed_rope_max_period,
        pos_embed_rope_normalize_coords, pos_embed_rope_shift_coords, pos_embed_rope_jitter_coords,
        pos_embed_rope_rescale_coords: see ``RopePositionEmbedding``.
        pos_embed_rope_dtype: ``"fp32"``, ``"fp16"`` or ``"bf16"``; released models use ``"fp32"``.
        embed_dim: channels D of a token, a multiple of ``4 * num_heads``.
        depth: blocks.
        num_heads: attention heads.
        ffn_ratio: hidden width of the feed-forward layers over ``embed_dim``.
        qkv_bias, ffn_bias, proj_bias: whether these linear layers have a bias.
        drop_path_rate: stochastic depth of every block, in train mode only.
        layerscale_init: first value of the LayerScales; None or 0 for none.
        norm_layer: a name in ``norm_layer_dict``.
        ffn_layer: a name in ``ffn_layer_dict``.
        n_storage_tokens: extra tokens S without a position, also called registers.
        mask_k_bias: mask the bias of the keys.
        untie_cls_and_patch_norms: a final norm of its own for the class and storage tokens.
        untie_global_and_local_cls_norm: a final norm for the class token of local crops, for training.
        device: where the parameters are made.
        ignored: other names are named in a warning and ignored, as the original does.
    """

    cls_norm: nn.Module | None
    local_cls_norm: nn.Module | None

    def __init__(
        self,
        *,
        img_size: int = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        pos_embed_rope_base: float | None = 100.0,
        pos_embed_rope_min_period: float | None = None,
        pos_embed_rope_max_period: float | None = None,
        pos_embed_rope_normalize_coords: Literal["min", "max", "separate"] = "separate",
        pos_embed_rope_shift_coords: float | None = None,
        pos_embed_rope_jitter_coords: float | None = None,
        pos_embed_rope_rescale_coords: float | None = None,
        pos_embed_rope_dtype: str = "bf16",
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        ffn_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop_path_rate: float = 0.0,
        layerscale_init: float | None = None,
        norm_layer: str = "layernorm",
        ffn_layer: str = "mlp",
        ffn_bias: bool = True,
        proj_bias: bool = True,
        n_storage_tokens: int = 0,
        mask_k_bias: bool = False,
        untie_cls_and_patch_norms: bool = False,
        untie_global_and_local_cls_norm: bool = False,
        device: torch.device | str | None = None,
        **ignored: Any,
    ) -> None:
        super().__init__()
        if ignored:
            logger.warning("DinoVisionTransformer ignores unknown arguments: %s", ", ".join(sorted(ignored)))
        norm = _look_up(norm_layer_dict, norm_layer, "norm_layer")
        self.num_features = self.embed_dim = embed_dim
        self.n_blocks = depth
        self.num_heads = num_heads
        self.patch_size = patch_size
        self.n_storage_tokens = n_storage_tokens
        self.chunked_blocks = False
        self.untie_cls_and_patch_norms = untie_cls_and_patch_norms
        self.untie_global_and_local_cls_norm = untie_global_and_local_cls_norm
        self.patch_embed = PatchEmbed(
            img_size, patch_size, in_chans, embed_dim, flatten_embedding=False, device=device
        )
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim, device=device))
        if n_storage_tokens > 0:
            self.storage_tokens = nn.Parameter(torch.empty(1, n_storage_tokens, embed_dim, device=device))
        self.mask_token = nn.Parameter(torch.empty(1, embed_dim, device=device))
        self.rope_embed = RopePositionEmbedding(
            embed_dim,
            num_heads=num_heads,
            base=pos_embed_rope_base,
            min_period=pos_embed_rope_min_period,
            max_period=pos_embed_rope_max_period,
            normalize_coords=pos_embed_rope_normalize_coords,
            shift_coords=pos_embed_rope_shift_coords,
            jitter_coords=pos_embed_rope_jitter_coords,
            rescale_coords=pos_embed_rope_rescale_coords,
            dtype=_look_up(dtype_dict, pos_embed_rope_dtype, "pos_embed_rope_dtype"),
            device=device,
        )
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(
                embed_dim,
                num_heads,
                ffn_ratio=ffn_ratio,
                qkv_bias=qkv_bias,
                proj_bias=proj_bias,
                ffn_bias=ffn_bias,
                init_values=layerscale_init,
                drop_path=drop_path_rate,
                norm_layer=norm,
                ffn_layer=_look_up(ffn_layer_dict, ffn_layer, "ffn_layer"),
                mask_k_bias=mask_k_bias,
                device=device,
            )
            for _ in range(depth)
        )
        self.norm = norm(embed_dim, device=device)
        self.cls_norm = norm(embed_dim, device=device) if untie_cls_and_patch_norms else None
        self.local_cls_norm = norm(embed_dim, device=device) if untie_global_and_local_cls_norm else None
        self.head = nn.Identity()
        self.init_weights()

    def init_weights(self) -> None:
        """Draw all weights anew (truncated normal layers, normal tokens, zero mask token, unit norms)."""
        nn.init.normal_(self.cls_token, std=0.02)
        if self.n_storage_tokens > 0:
            nn.init.normal_(self.storage_tokens, std=0.02)
        nn.init.zeros_(self.mask_token)
        for name, module in self.named_modules():
            init_weights_vit(module, name)

    def forward(self, x: Any, masks: Any = None, *, is_training: bool = False) -> Any:
        """Return the normed class token (B, D) of an image batch, or all of ``forward_features``."""
        features = self.forward_features(x, masks)
        return features if is_training else self.head(features["x_norm_clstoken"])

    def forward_features(self, x: Any, masks: Any = None) -> Any:
        """Run the whole model.

        Args:
            x: (B, C, height, width) images, normalised as the weights want it; or a list of such batches.
            masks: (B, N) bool, true where the mask token replaces a patch; None for no mask; for a list a
                list of these.

        Returns:
            For each batch a dict: ``x_norm_clstoken`` (B, D), ``x_storage_tokens`` (B, S, D) and
            ``x_norm_patchtokens`` (B, N, D) after the final norm, N = (height // p) * (width // p) patches
            row by row; ``x_prenorm`` (B, 1 + S + N, D) before it; ``masks`` as given. A list for a list.

        Raises:
            TypeError: at masks that are not bool, or a list of images without a list of masks.
            ValueError: at masks of another shape.
        """
        if isinstance(x, Tensor):
            return self._features(x, masks, is_local_crop=False)
        if masks is None:
            raise TypeError("a list of images wants an equally long list of masks, with None for no mask")
        return [
            self._features(batch, mask, is_local_crop=index == 1)
            for index, (batch, mask) in enumerate(zip(x, masks, strict=True))
        ]

    def get_intermediate_layers(
        self,
        x: Tensor,
        *,
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_class_token: bool = False,
        return_extra_tokens: bool = False,
        norm: bool = True,
    ) -> tuple[Any, ...]:
        """Return the tokens after chosen blocks, in the order of the blocks.

        Args:
            x: (B, C, height, width) images.
            n: the last n blocks, or the numbers of the blocks, counted from 0.
            reshape: patches as (B, D, H, W) instead of (B, N, D).
            return_class_token: also the class token (B, D).
            return_extra_tokens: also the storage tokens (B, S, D), after the class token.
            norm: apply the final norm to each.

        Returns:
            A tuple with, for each block, the patches, or a tuple (patches, class token, storage tokens) of
            what was asked for.

        Raises:
            AssertionError: at block numbers that are repeated or do not exist.
        """
        wanted = self._block_numbers(n)
        tokens, (H, W) = self._embed(x, None)
        rope = self.rope_embed.tables(H, W, 1 + self.n_storage_tokens)
        layers = []
        for index, block in enumerate(self.blocks[: max(wanted, default=-1) + 1]):
            tokens = block(tokens, rope)
            if index in wanted:
                cls, storage, patches = self._split(tokens, norm)
                if reshape:
                    patches = patches.transpose(1, 2).reshape(len(x), -1, H, W).contiguous()
                extras = [cls] * return_class_token + [storage] * return_extra_tokens
                layers.append((patches, *extras) if extras else patches)
        return tuple(layers)

    def _features(self, x: Tensor, masks: Tensor | None, is_local_crop: bool) -> dict[str, Any]:
        tokens, (H, W) = self._embed(x, masks)
        rope = self.rope_embed.tables(H, W, 1 + self.n_storage_tokens)
        for block in self.blocks:
            tokens = block(tokens, rope)
        cls, storage, patches = self._split(tokens, norm=True, is_local_crop=is_local_crop)
        return {
            "x_norm_clstoken": cls,
            "x_storage_tokens": storage,
            "x_norm_patchtokens": patches,
            "x_prenorm": tokens,
            "masks": masks,
        }

    def _embed(self, x: Tensor, masks: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
        """Images to tokens (B, 1 + S + N, D) and the patch grid (H, W)."""
        patches = self.patch_embed(x)  # (B, H, W, D)
        B, H, W, _ = patches.shape
        patches = patches.flatten(1, 2)
        if masks is not None:
            if masks.dtype != torch.bool:
                raise TypeError(f"masks must be torch.bool, got {masks.dtype}; compare it with 0 first")
            if masks.shape != patches.shape[:2]:
                raise ValueError(
                    f"masks must be (batch, patches) = {tuple(patches.shape[:2])}, got {tuple(masks.shape)}"
                )
            patches = torch.where(masks[..., None], self.mask_token.to(patches.dtype), patches)
        prefix = [self.cls_token.expand(B, -1, -1)]
        if self.n_storage_tokens > 0:
            prefix.append(self.storage_tokens.expand(B, -1, -1))
        return torch.cat([*prefix, patches], dim=1), (H, W)

    def _split(
        self, tokens: Tensor, norm: bool, is_local_crop: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Class token (B, D), storage tokens (B, S, D), patches (B, N, D), after the final norms or raw."""
        first_patch = 1 + self.n_storage_tokens
        prefix, patches = tokens[:, :first_patch], tokens[:, first_patch:]
        if norm:
            prefix_norm = self._prefix_norm(is_local_crop)
            if prefix_norm is self.norm:
                tokens = self.norm(tokens)
                prefix, patches = tokens[:, :first_patch], tokens[:, first_patch:]
            else:
                prefix, patches = prefix_norm(prefix), self.norm(patches)
        return prefix[:, 0], prefix[:, 1:], patches

    def _prefix_norm(self, is_local_crop: bool) -> nn.Module:
        """The norm of class and storage tokens."""
        if self.local_cls_norm is not None and self.training and is_local_crop:
            return self.local_cls_norm
        return self.norm if self.cls_norm is None else self.cls_norm

    def _block_numbers(self, n: int | Sequence[int]) -> set[int]:
        numbers = list(range(self.n_blocks - n, self.n_blocks)) if isinstance(n, int) else list(n)
        wrong = [number for number in numbers if not 0 <= number < self.n_blocks]
        if wrong or len(set(numbers)) < len(numbers) or (isinstance(n, int) and n < 0):
            raise AssertionError(
                f"n must be a count of last blocks or distinct block numbers below {self.n_blocks}, got {n}"
            )
        return set(numbers)


def _look_up(table: dict[str, Any], name: str, argument: str) -> Any:
    if name not in table:
        raise ValueError(f"{argument} must be one of {', '.join(table)}, got {name!r}")
    return table[name]


def vit_small(patch_size: int = 16, **kwargs: Any) -> DinoVisionTransformer:
    """ViT-S: 384 channels, 12 blocks, 6 heads; ``kwargs`` go to ``DinoVisionTransformer``."""
    return DinoVisionTransformer(
        patch_size=patch_size, embed_dim=384, depth=12, num_heads=6, ffn_ratio=4, **kwargs
    )


def vit_base(patch_size: int = 16, **kwargs: Any) -> DinoVisionTransformer:
    """ViT-B: 768 channels, 12 blocks, 12 heads; ``kwargs`` go to ``DinoVisionTransformer``."""
    return DinoVisionTransformer(
        patch_size=patch_size, embed_dim=768, depth=12, num_heads=12, ffn_ratio=4, **kwargs
    )


def vit_large(patch_size: int = 16, **kwargs: Any) -> DinoVisionTransformer:
    """ViT-L: 1024 channels, 24 blocks, 16 heads; ``kwargs`` go to ``DinoVisionTransformer``."""
    return DinoVisionTransformer(
        patch_size=patch_size, embed_dim=1024, depth=24, num_heads=16, ffn_ratio=4, **kwargs
    )


def vit_so400m(patch_size: int = 16, **kwargs: Any) -> DinoVisionTransformer:
    """ViT-SO400M: 1152 channels, 27 blocks, 18 heads; ``kwargs`` go to ``DinoVisionTransformer``."""
    return DinoVisionTransformer(
        patch_size=patch_size, embed_dim=1152, depth=27, num_heads=18, ffn_ratio=3.777777778, **kwargs
    )


def vit_huge2(patch_size: int = 16, **kwargs: Any) -> DinoVisionTransformer:
    """ViT-H: 1280 channels, 32 blocks, 20 heads; ``kwargs`` go to ``DinoVisionTransformer``. Not H+."""
    return DinoVisionTransformer(
        patch_size=patch_size, embed_dim=1280, depth=32, num_heads=20, ffn_ratio=4, **kwargs
    )


def vit_giant2(patch_size: int = 16, **kwargs: Any) -> DinoVisionTransformer:
    """ViT-g: 1536 channels, 40 blocks, 24 heads; ``kwargs`` go to ``DinoVisionTransformer``. Unreleased."""
    return DinoVisionTransformer(
        patch_size=patch_size, embed_dim=1536, depth=40, num_heads=24, ffn_ratio=4, **kwargs
    )


def vit_7b(patch_size: int = 16, **kwargs: Any) -> DinoVisionTransformer:
    """ViT-7B: 4096 channels, 40 blocks, 32 heads; ``kwargs`` go to ``DinoVisionTransformer``."""
    return DinoVisionTransformer(
        patch_size=patch_size, embed_dim=4096, depth=40, num_heads=32, ffn_ratio=3, **kwargs
    )
