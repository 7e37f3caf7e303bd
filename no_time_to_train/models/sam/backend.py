"""SAM 2 for single images: encoded once, prompted any number of times.

Only the parts that segment single images are built (image encoder, prompt encoder, mask decoder and the
no-memory vector), so neither Hydra nor the video memory is needed, and SAM 2.0 and 2.1 files both fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from no_time_to_train.models.encoders.feature_encoder import Engine
from no_time_to_train.models.encoders.spec import IMAGENET_MEAN, IMAGENET_STD
from no_time_to_train.models.sam.fitting_chunk import FittingChunk
from no_time_to_train.models.sam.modules import build_heads, build_image_encoder
from no_time_to_train.models.sam.point_decoder import PointDecoder, PreparedImage
from no_time_to_train.models.sam.prompt_embedding import embed_prompts, grid_code
from no_time_to_train.models.sam.prompts import (
    DecodedMasks,
    ImageEmbedding,
    Prompts,
    Tokens,
    choose_tokens,
    corner_prompts,
)
from no_time_to_train.models.sam.single_thread_map import single_thread_map
from no_time_to_train.weights.sam2_models import Sam2Spec

CPU_CHUNK_TOKENS, CPU_CHUNK = 4096, 8
"""Prompts decoded together on a CPU: as many as share this number of image tokens, at most ``CPU_CHUNK``.

One at 64 x 64, whose 4 MB of image tokens fill the cache; 8 at nano's 16 x 16, where calls cost more than
arithmetic. Fixed, and the last chunk filled up, so that all products have the same shape and round the same.
"""

SHORT_CHUNK_TOKENS = 16384
"""The same in bf16 and fp16, where image tokens cost less, and the prompts' own, in float32, the more."""

UPSCALE_CHUNK = 32
"""Masks upscaled together on a GPU, 30 MB each in float32."""


class Sam2Backend(nn.Module):
    """SAM 2 for single images (arXiv 2408.00714), parameter names as in the released files."""

    image_encoder: Any
    sam_prompt_encoder: Any
    sam_mask_decoder: Any
    mean: Tensor
    std: Tensor

    def __init__(self, spec: Sam2Spec) -> None:
        super().__init__()
        self.spec = spec
        self.precision: torch.dtype | None = None  # of autocast; None: that of the weights, or of the caller
        self.engine: Engine | None = None  # computes image_features in place of torch
        self._fitting = FittingChunk()
        self.image_encoder = build_image_encoder(spec)
        self.sam_prompt_encoder, self.sam_mask_decoder = build_heads(spec)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, spec.d_model))
        nn.init.trunc_normal_(self.no_mem_embed, std=0.02)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.eval()

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.spec.image_size

    def encode(self, images: Tensor, add_no_mem_embed: bool = False) -> list[ImageEmbedding]:
        """Encode images once for any number of prompts.

        Args:
            images: (B, 3, S, S) RGB in [0, 1], S = ``image_size``.
            add_no_mem_embed: add the trained no-memory vector as SAM 2's own image predictor does; the
                published pipeline left it out.

        Returns:
            One embedding per image.

        Raises:
            ValueError: another image size.
        """
        if images.shape[1:] != (3, self.image_size, self.image_size):
            raise ValueError(
                f"images must be (B, 3, {self.image_size}, {self.image_size}), got {tuple(images.shape)}; "
                f"resize them to the square input"
            )
        with self._asked_precision():
            coarse, fine, middle = (self.engine or self.image_features)(images)
        if add_no_mem_embed:
            coarse = coarse + self.no_mem_embed.view(1, -1, 1, 1)
        return [
            ImageEmbedding(coarse[i : i + 1], (fine[i : i + 1], middle[i : i + 1]))
            for i in range(images.shape[0])
        ]

    def image_features(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of (B, 3, S, S) images by torch: (B, C, s, s), (B, C/8, 4s, 4s) and (B, C/4, 2s, 2s), s = S/16."""
        dtype = self.no_mem_embed.dtype
        levels = self.image_encoder(((images - self.mean) / self.std).to(dtype))["backbone_fpn"]
        fine = self.sam_mask_decoder.conv_s0(levels[0].to(dtype))
        middle = self.sam_mask_decoder.conv_s1(levels[1].to(dtype))
        return levels[2].to(dtype), fine, middle

    @torch.no_grad()
    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        *,
        tokens: Tokens = "best",
        min_iou: float = float("-inf"),
        chunk: int = 64,
    ) -> DecodedMasks:
        """Propose masks for every prompt, in chunks; the remainder is decoded too.

        Prompts without masks go through :class:`PointDecoder`; those with masks, where each prompt has image
        tokens of its own and nothing can be shared, through ``sam2``'s own decoder.

        Args:
            embedding: of the image, from :meth:`encode`.
            prompts: any number, none included.
            tokens: which of the decoder's masks to return.
            min_iou: keep masks whose predicted IoU is strictly greater; of the others no mask is made.
            chunk: prompts per call on a GPU, fewer where its memory is too small for them. A CPU has its own
                fixed chunks, so that figures are the same bits whatever was asked for, and works on as many
                at once as torch may use threads.

        Returns:
            M surviving masks in prompt order (token order within a prompt).
        """
        decode = self._decode_fast if prompts.masks is None else self._decode_plain
        with self._asked_precision():
            found, size = self._fitting.decode(
                lambda fitting: decode(embedding, prompts, tokens, min_iou, fitting), chunk
            )
        side = 4 * embedding.image.shape[-1]
        empty = torch.zeros(0, side, side, device=embedding.image.device)
        return DecodedMasks(
            torch.cat([empty, *(masks.logits for masks in found)]),
            torch.cat([empty[:, 0, 0], *(masks.ious for masks in found)]),
            torch.cat([empty[:, 0, 0].long(), *(masks.prompts + n * size for n, masks in enumerate(found))]),
            len(prompts),
        )

    def _asked_precision(self) -> AbstractContextManager[Any]:
        """Autocast where the model was given a precision of its own."""
        if self.precision is None:
            return nullcontext()
        return torch.autocast(self.no_mem_embed.device.type, dtype=self.precision)

    def _decode_fast(
        self, embedding: ImageEmbedding, prompts: Prompts, tokens: Tokens, min_iou: float, chunk: int
    ) -> tuple[list[DecodedMasks], int]:
        device, image = embedding.image.device.type, self._prepare(embedding)
        with torch.autocast(device, enabled=False):  # tokens have the dtype of the weights
            if device == "cpu":
                most = SHORT_CHUNK_TOKENS if image.state.itemsize < 4 else CPU_CHUNK_TOKENS
                size, upscaled = (
                    max(1, min(CPU_CHUNK, together // math.prod(image.grid)))
                    for together in (most, CPU_CHUNK_TOKENS)
                )
                decode = partial(self._chunk_worker, image, tokens, min_iou, (size, upscaled))
                return single_thread_map(decode, list(prompts.chunks(size))), size
            worker = self._chunk_worker(image, tokens, min_iou, None)
            return [worker(piece) for piece in prompts.chunks(chunk)], chunk

    def _prepare(self, embedding: ImageEmbedding) -> PreparedImage:
        """What all prompts of the image share, in the precision that autocast or else the weights have."""
        device = embedding.image.device.type
        dtype = self.no_mem_embed.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        if dtype not in embedding.prepared:
            with torch.autocast(device, enabled=False):
                decoder = PointDecoder(self.sam_prompt_encoder, self.sam_mask_decoder)
                embedding.prepared[dtype] = decoder.prepare(embedding.image, embedding.high_res, dtype)
        return embedding.prepared[dtype]

    def _chunk_worker(
        self, image: PreparedImage, tokens: Tokens, min_iou: float, fill: tuple[int, int] | None
    ) -> Callable[[Prompts], DecodedMasks]:
        """Decoding of one chunk, with buffers of its own.

        Args:
            fill: on a CPU, fill up the chunk to so many prompts, and upscale so many of them together if at
                all, so that shapes stay the same; None upscales only the survivors, and waits once for the
                device.
        """
        decoder = PointDecoder(self.sam_prompt_encoder, self.sam_mask_decoder)

        def decode(prompts: Prompts) -> DecodedMasks:
            asked = prompts if fill is None else prompts.filled(fill[0])
            decoded = decoder.run(image, self._embed(asked))
            wanted, keep = choose_tokens(decoded.ious, tokens, min_iou)
            keep[len(prompts) :] = False
            prompt, rank = torch.nonzero(keep, as_tuple=True)  # where a GPU is waited for
            ious = decoded.ious.gather(1, wanted)[prompt, rank]
            if fill is not None and len(prompt):
                places = (slice(first, first + fill[1]) for first in range(0, *fill))
                logits = [
                    decoder.masks(image, decoded[part], wanted[part])[keep[part]]
                    for part in places
                    if keep[part].any()
                ]
            else:
                one_each = wanted.shape[1] == 1  # then no mask of a surviving prompt is left out
                rows = prompt if one_each else prompt.unique_consecutive()
                parts = rows.split(UPSCALE_CHUNK) if len(rows) else ()
                made = (decoder.masks(image, decoded[part], wanted[part]) for part in parts)
                pairs = zip(parts, made, strict=True)
                logits = [masks[:, 0] if one_each else masks[keep[part]] for part, masks in pairs]
            side = 4 * image.grid[0]
            joined = torch.cat([ious.new_zeros(0, side, side), *logits])
            return DecodedMasks(joined, ious, prompt)

        return decode

    def _decode_plain(
        self, embedding: ImageEmbedding, prompts: Prompts, tokens: Tokens, min_iou: float, chunk: int
    ) -> tuple[list[DecodedMasks], int]:
        """Through ``sam2``'s own decoder, one prompt at a time on a CPU."""
        size = 1 if embedding.image.device.type == "cpu" else chunk
        found = []
        for piece in prompts.chunks(size):
            logits, ious = self.every_mask(embedding, piece)
            wanted, keep = choose_tokens(ious.float(), tokens, min_iou)
            prompt, rank = torch.nonzero(keep, as_tuple=True)
            token = wanted[prompt, rank]
            found.append(DecodedMasks(logits[prompt, token].float(), ious[prompt, token].float(), prompt))
        return found, size

    def every_mask(self, embedding: ImageEmbedding, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """All masks of some prompts through ``sam2``'s own decoder, which gradients pass.

        Returns:
            (P, 4, q, q) logits and (P, 4) predicted IoU; the first mask is that of ``single``.
        """
        dtype = self.no_mem_embed.dtype
        grid = embedding.image.shape[-2:]
        positions = grid_code(self.sam_prompt_encoder, *grid).T.unflatten(1, grid)[None].to(dtype)
        if prompts.masks is None:
            dense = self.sam_prompt_encoder.no_mask_embed.weight[:, :, None, None].expand(
                len(prompts), -1, *grid
            )
        else:
            dense = self.sam_prompt_encoder.mask_downscaling(prompts.masks.to(dtype))
        logits, ious, _, _ = self.sam_mask_decoder.predict_masks(
            image_embeddings=embedding.image,
            image_pe=positions,
            sparse_prompt_embeddings=self._embed(prompts),
            dense_prompt_embeddings=dense,
            repeat_image=True,
            high_res_features=list(embedding.high_res),
        )
        return logits, ious

    def _embed(self, prompts: Prompts) -> Tensor:
        parts = (prompts.points, prompts.labels, prompts.boxes)
        return embed_prompts(self.sam_prompt_encoder, len(prompts), *parts)


def decode_boxes(sam: Sam2Backend, embedding: ImageEmbedding, boxes: Tensor) -> DecodedMasks:
    """One mask per box: what SAM 2's image predictor gives with ``multimask_output=False``.

    Args:
        embedding: of the image; the predictor adds the no-memory vector, see :meth:`Sam2Backend.encode`.
        boxes: (N, 4) xyxy in pixels of the square SAM input.

    Returns:
        N masks, in the order of the boxes.
    """
    return sam.decode(embedding, corner_prompts(boxes), tokens="single")
