"""SAM 2's mask decoder with the same numbers for a fraction of the work.

Prompts without an earlier mask differ in their tokens only, so all else is done once per image; the predicted
IoU is read before any mask exists; only the wanted masks of the wanted prompts are upscaled. The products
between tokens and image are those of :mod:`folded_attention`. The decoder itself is described in SAM
(arXiv 2304.02643, appendix A) and SAM 2 (arXiv 2408.00714); this runs on ``sam2``'s own modules and weights.

Letters: B prompts, T tokens of a prompt, N = h·w image tokens, C channels, R masks wanted per prompt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.models.sam import folded_attention as folded
from no_time_to_train.models.sam.prompt_embedding import grid_code

IOU_TOKEN, MASK_TOKENS = slice(1, 2), slice(2, 6)
"""Places among a prompt's tokens; the object-score token, first, is needed but not read."""

CELLS = 1024
"""Image tokens upscaled together on a CPU, so that what they become stays in cache."""

gelu_ = torch.ops.aten.gelu_  # in place: a second buffer of that size would not stay in cache


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """What all prompts of one image share, in the dtype of the image-sized arithmetic.

    Attributes:
        grid: (h, w).
        state: (1, N, C) image tokens with the no-mask vector.
        positions: (1, N, C) their position code.
        keys, values: (1, H, N, d) of the first token-to-image attention.
        queries: (H, d, N) of the first image-to-token attention, scaled.
        middle: (4N, C/4) features of half the mask's side plus the first upscaling's bias, in block order.
        fine: (16N, C/8) features of the mask's side plus the second upscaling's bias, in block order.
        up_middle, up_fine: (C, 4·C/4) and (C/4, 4·C/8), the two upscalings as matrices.
    """

    grid: tuple[int, int]
    state: Tensor
    positions: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor
    middle: Tensor
    fine: Tensor
    up_middle: Tensor
    up_fine: Tensor


@dataclass(frozen=True, eq=False)
class Decoded:
    """Prompts after the transformer, before any mask is made; good until the decoder runs again.

    Attributes:
        ious: (B, 4) predicted IoU of each mask token, float32.
        tokens: (B, 4, C) the mask tokens before their last look at the image.
        asking: (B, 4, C) the same with their own position code.
        state, placed: (B, N, C) image tokens, without and with position code.
    """

    ious: Tensor
    tokens: Tensor
    asking: Tensor
    state: Tensor
    placed: Tensor

    def __getitem__(self, index: Tensor | slice) -> Decoded:
        parts = (self.ious, self.tokens, self.asking, self.state, self.placed)
        return Decoded(*(part[index] for part in parts))


class PointDecoder:
    """Decodes prompts of one image at a time. Keeps its large buffers, so each thread needs its own.

    Args:
        prompt_encoder, mask_decoder: ``sam2``'s modules, in evaluation mode.
    """

    def __init__(self, prompt_encoder: nn.Module, mask_decoder: nn.Module) -> None:
        self.prompts: Any = prompt_encoder
        self.decoder: Any = mask_decoder
        self._buffers: dict[str, Tensor] = {}

    def prepare(self, image: Tensor, high_res: tuple[Tensor, Tensor], dtype: torch.dtype) -> PreparedImage:
        """Do once what does not depend on the prompt.

        Args:
            image: (1, C, h, w) embedding.
            high_res: (1, C/8, 4h, 4w) and (1, C/4, 2h, 2w).
            dtype: of the image-sized arithmetic; that of the tokens is the dtype of the weights.
        """
        h, w = image.shape[-2:]
        first = self.decoder.transformer.layers[0]
        look, write = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        no_mask = self.prompts.no_mask_embed.weight
        state = image.flatten(2).transpose(1, 2).to(no_mask.dtype) + no_mask
        positions = grid_code(self.prompts, h, w)[None].to(no_mask.dtype)
        queries = write.q_proj(state + positions) * folded.head_scale(write)
        first_up, _, _, second_up, _ = self.decoder.output_upscaling
        middle = _block_order(high_res[1][0], h, w, levels=1) + first_up.bias
        fine = _block_order(high_res[0][0], h, w, levels=2) + second_up.bias
        shared = (
            state,
            positions,
            folded.split_heads(look.k_proj(state + positions), look.num_heads),
            folded.split_heads(look.v_proj(state), look.num_heads),
            folded.split_heads(queries, write.num_heads)[0].transpose(1, 2),
            middle.reshape(4 * h * w, -1),
            fine.reshape(16 * h * w, -1),
            first_up.weight.permute(0, 2, 3, 1).flatten(1),
            second_up.weight.permute(0, 2, 3, 1).flatten(1),
        )
        return PreparedImage((h, w), *(part.to(dtype).contiguous() for part in shared))

    def run(self, image: PreparedImage, sparse: Tensor) -> Decoded:
        """Run the two-way transformer and read the predicted IoU; no mask is made.

        Args:
            sparse: (B, t, C) embedded points and boxes.
        """
        own = (self.decoder.obj_score_token, self.decoder.iou_token, self.decoder.mask_tokens)
        own_tokens = torch.cat([table.weight for table in own]).expand(sparse.shape[0], -1, -1)
        start = torch.cat([own_tokens, sparse], dim=1)  # (B, T, C), at once the tokens' position code
        placed = self._buffer("placed", (start.shape[0], *image.state.shape[1:]), image.state)
        tokens, state = start, image.state
        for number, layer in enumerate(self.decoder.transformer.layers):
            look, write = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
            if number == 0:
                tokens = layer.norm1(layer.self_attn(start, start, start))
                seen = folded.look_at_shared(look, tokens + start, image.keys, image.values)
            else:
                asking = tokens + start
                tokens = layer.norm1(tokens + layer.self_attn(asking, asking, tokens))
                seen = folded.look(look, tokens + start, state, placed)
            tokens = layer.norm2(tokens + seen)
            tokens = layer.norm3(tokens + layer.mlp(tokens))
            if number == 0:
                logits = folded.written_logits_shared(write, tokens + start, image.queries)
            else:
                logits = folded.written_logits(write, tokens + start, placed)
            state = _normalise(layer.norm4, folded.write(write, tokens, logits, state, out=placed))
            torch.add(state, image.positions, out=placed)
        asking = tokens + start
        iou_token = self._last_look(tokens[:, IOU_TOKEN], asking[:, IOU_TOKEN], state, placed)
        ious = self.decoder.iou_prediction_head(iou_token[:, 0]).float()
        return Decoded(ious, tokens[:, MASK_TOKENS], asking[:, MASK_TOKENS], state, placed)

    def masks(self, image: PreparedImage, decoded: Decoded, wanted: Tensor) -> Tensor:
        """Make the wanted masks.

        Args:
            wanted: (B, R) int64 in 0..3, which masks of each prompt.

        Returns:
            (B, R, 4h, 4w) float32 logits.
        """
        rows = wanted[..., None].expand(-1, -1, decoded.tokens.shape[2])
        tokens, asking = decoded.tokens.gather(1, rows), decoded.asking.gather(1, rows)
        tokens = self._last_look(tokens, asking, decoded.state, decoded.placed)
        kernels = torch.stack([network(tokens) for network in self.decoder.output_hypernetworks_mlps], dim=2)
        rows = wanted[..., None, None].expand(-1, -1, 1, kernels.shape[3])
        return self._upscale(image, decoded.state, kernels.gather(2, rows)[:, :, 0]).float()

    def _last_look(self, tokens: Tensor, asking: Tensor, state: Tensor, placed: Tensor) -> Tensor:
        """The final attention; tokens do not meet in it, so it may be asked of a few of them."""
        transformer = self.decoder.transformer
        seen = folded.look(transformer.final_attn_token_to_image, asking, state, placed)
        return transformer.norm_final_attn(tokens + seen)

    def _upscale(self, image: PreparedImage, state: Tensor, kernels: Tensor) -> Tensor:
        """(B, N, C) image tokens and (B, R, C/8) kernels -> (B, R, 4h, 4w).

        A transposed convolution whose kernel is its stride is a matrix product on tokens, so features stay in
        block order (row and column of the cell, of its quarter, of the quarter's quarter) and only the masks
        are put in order. Cells do not meet, so a CPU takes as many at once as stay in its cache.
        """
        (count, cells, _), (h, w) = state.shape, image.grid
        kernels = kernels.to(state.dtype)
        masks = torch.empty(count, kernels.shape[1], 16 * cells, dtype=state.dtype, device=state.device)
        step = CELLS if state.device.type == "cpu" else cells
        for first in range(0, cells, step):
            last = min(cells, first + step)
            middle = self._product("middle", state[:, first:last], image.up_middle)
            middle.add_(image.middle[4 * first : 4 * last])
            middle = gelu_(_normalise(self.decoder.output_upscaling[1], middle))
            fine = self._product("fine", middle, image.up_fine)
            fine = gelu_(fine.add_(image.fine[16 * first : 16 * last]))
            masks[..., 16 * first : 16 * last] = torch.bmm(kernels, fine.transpose(1, 2))
        places = masks.view(count, -1, h, w, 2, 2, 2, 2)
        return places.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(count, -1, 4 * h, 4 * w)

    def _product(self, name: str, tokens: Tensor, matrix: Tensor) -> Tensor:
        """(B, n, c) tokens times (c, 4c') in a buffer, each row split into its four parts: (B, 4n, c')."""
        count, length, channels = tokens.shape
        out = self._buffer(name, (count * length, matrix.shape[1]), tokens)
        torch.mm(tokens.reshape(-1, channels), matrix, out=out)
        return out.view(count, 4 * length, -1)

    def _buffer(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Uninitialised memory, the same at every call: on a CPU most of the time went into fresh pages."""
        size, kept = math.prod(shape), self._buffers.get(name)
        if kept is None or kept.numel() < size or kept.dtype != like.dtype or kept.device != like.device:
            kept = self._buffers[name] = torch.empty(size, dtype=like.dtype, device=like.device)
        return kept[:size].view(shape)


def _normalise(norm: Any, x: Tensor) -> Tensor:
    """Layer normalisation over the last axis, in the dtype of ``x``."""
    return F.layer_norm(x, x.shape[-1:], norm.weight.to(x.dtype), norm.bias.to(x.dtype), norm.eps)


def _block_order(features: Tensor, h: int, w: int, levels: int) -> Tensor:
    """(c, h·2^levels, w·2^levels) -> (h, w, 2, 2[, 2, 2], c): the cell, then the place, coarse to fine."""
    split = features.unflatten(2, (w, *[2] * levels)).unflatten(1, (h, *[2] * levels))
    rows, columns = range(1, levels + 2), range(levels + 2, 2 * levels + 3)
    return split.permute(*(axis for pair in zip(rows, columns, strict=True) for axis in pair), 0)
