"""The one file that knows ``sam2``: which sizes exist, how they are built, encoded and prompted.

Only the parts that segment single images are built (image encoder, prompt encoder, mask decoder and the
no-memory vector), so neither Hydra nor the video memory is needed, and SAM 2.0 and 2.1 files both fit.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from no_time_to_train.errors import ConfigError, did_you_mean

log = logging.getLogger(__name__)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CPU_CHUNK_TOKENS, CPU_CHUNK = 4096, 8
"""Prompts decoded together on a CPU: as many as share this number of image tokens, at most ``CPU_CHUNK``.

One at 64 x 64, whose 4 MB of image tokens fill the cache; 8 at nano's 16 x 16, where calls cost more than arithmetic.
Fixed, and the last chunk filled up, so that all products have the same shape and round the same.
"""

UPSCALE_CHUNK = 32
"""Masks upscaled together on a GPU, 30 MB each in float32."""


@dataclass(frozen=True)
class Sam2Spec:
    """Sizes of one SAM 2 model (numbers of the published configurations; Hiera of arXiv 2306.00989)."""

    embed_dim: int
    num_heads: int
    stages: tuple[int, int, int, int]
    global_att_blocks: tuple[int, ...]
    window_spec: tuple[int, int, int, int] = (8, 4, 14, 7)
    window_pos_embed_bkg_spatial_size: tuple[int, int] = (7, 7)
    d_model: int = 256
    image_size: int = 1024
    fpn_top_down_levels: tuple[int, ...] = (2, 3)


SAM2_SIZES: dict[str, Sam2Spec] = {
    "tiny": Sam2Spec(96, 1, (1, 2, 7, 2), (5, 7, 9)),
    "small": Sam2Spec(96, 1, (1, 2, 11, 2), (7, 10, 13)),
    "base_plus": Sam2Spec(112, 2, (2, 3, 16, 3), (12, 16, 20), window_pos_embed_bkg_spatial_size=(14, 14)),
    "large": Sam2Spec(144, 2, (2, 6, 36, 4), (23, 33, 43), window_spec=(8, 4, 16, 8)),
    "nano": Sam2Spec(
        32,
        1,
        (1, 2, 3, 1),
        (4, 5),
        window_spec=(8, 8, 16, 8),
        d_model=96,
        image_size=256,
        fpn_top_down_levels=(0, 1, 2, 3),
    ),
}

_LETTERS = {"t": "tiny", "s": "small", "b+": "base_plus", "l": "large"}


def sam2_size(config_name: str) -> str:
    """Return the size a configuration name means.

    Args:
        config_name: ``sam2_hiera_l.yaml``, ``configs/sam2.1/sam2.1_hiera_b+.yaml``,
            ``sam2.1_hiera_large``, ``sam2_nano``; the folder and ``.yaml`` do not matter.

    Raises:
        ConfigError: the name is unknown.
    """
    stem = Path(config_name).name.removesuffix(".yaml")
    tail = stem.removeprefix("sam2.1_").removeprefix("sam2_").removeprefix("hiera_")
    size = _LETTERS.get(tail, tail)
    if size not in SAM2_SIZES or not stem.startswith(("sam2_", "sam2.1_")):
        known = [f"sam2_hiera_{letter}" for letter in _LETTERS] + ["sam2.1_hiera_l", "sam2_nano"]
        raise ConfigError(
            f"unknown SAM 2 configuration {config_name!r}{did_you_mean(stem, known)} "
            f"(known: sam2_hiera_{{t,s,b+,l}}, sam2.1_hiera_{{t,s,b+,l}}, sam2_nano)"
        )
    return size


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """What the decoder needs of one image.

    Attributes:
        image: (1, C, h, w), with the no-memory vector added when that was asked for.
        high_res: (1, C/8, 4h, 4w) and (1, C/4, 2h, 2w).
        prepared: what all prompts share, by precision; the first :meth:`Sam2Backend.decode` fills it (26 MB at the
            real size in float32), so weights must not change between two calls for one embedding.
    """

    image: Tensor
    high_res: tuple[Tensor, Tensor]
    prepared: dict[torch.dtype, PreparedImage] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Prompts:
    """P prompts in pixels of the square SAM input; each is a set of points, a box, or both.

    Attributes:
        points: (P, T, 2) xy, or None.
        labels: (P, T) int: 1 foreground, 0 background, -1 padding; needed with points.
        boxes: (P, 4) xyxy, or None.
        masks: (P, 1, q, q) logits of an earlier round, or None.
    """

    points: Tensor | None = None
    labels: Tensor | None = None
    boxes: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.points is None) != (self.labels is None):
            raise ValueError("points and labels of prompts belong together; give both or neither")
        counts = {part.shape[0] for part in self._parts() if part is not None}
        if len(counts) > 1:
            raise ValueError(
                f"points, labels, boxes and masks must be for the same prompts, got {sorted(counts)} of them"
            )

    def __len__(self) -> int:
        return next((part.shape[0] for part in self._parts() if part is not None), 0)

    def __getitem__(self, index: Tensor | slice) -> Prompts:
        return Prompts(*(None if part is None else part[index] for part in self._parts()))

    def chunks(self, size: int) -> Iterator[Prompts]:
        """Cut into pieces of at most ``size`` prompts, the last one shorter."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def filled(self, size: int) -> Prompts:
        """Repeat the last prompt until there are ``size``."""
        if len(self) == size:
            return self
        part = next(part for part in self._parts() if part is not None)
        return self[torch.arange(size, device=part.device).clamp(max=len(self) - 1)]

    def _parts(self) -> tuple[Tensor | None, ...]:
        return self.points, self.labels, self.boxes, self.masks


@dataclass(frozen=True)
class DecodedMasks:
    """Masks that SAM 2 proposes; row i of every field is the same mask.

    Attributes:
        logits: (M, q, q) float32, q a quarter of the input side; > 0 is inside.
        ious: (M,) float32 predicted IoU in [0, 1].
        prompts: (M,) int64, which prompt it came from.
    """

    logits: Tensor
    ious: Tensor
    prompts: Tensor

    def __len__(self) -> int:
        return self.ious.shape[0]

    def __getitem__(self, index: Tensor) -> DecodedMasks:
        return DecodedMasks(self.logits[index], self.ious[index], self.prompts[index])


Tokens = Literal["best", "all", "single"]
"""Which mask tokens to return per prompt: the best of 1..3 by predicted IoU, all of 1..3, or token 0."""


class Sam2Backend(nn.Module):
    """SAM 2 for single images (arXiv 2408.00714), parameter names as in the released files."""

    def __init__(self, spec: Sam2Spec) -> None:
        super().__init__()
        self.spec = spec
        self.image_encoder = _build_image_encoder(spec)
        self.sam_prompt_encoder, self.sam_mask_decoder = _build_heads(spec)
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
        dtype = self.no_mem_embed.dtype
        levels = self.image_encoder(((images - self.mean) / self.std).to(dtype))["backbone_fpn"]
        fine = self.sam_mask_decoder.conv_s0(levels[0].to(dtype))
        middle = self.sam_mask_decoder.conv_s1(levels[1].to(dtype))
        coarse = levels[2].to(dtype)
        if add_no_mem_embed:
            coarse = coarse + self.no_mem_embed.view(1, -1, 1, 1)
        return [
            ImageEmbedding(coarse[i : i + 1], (fine[i : i + 1], middle[i : i + 1]))
            for i in range(images.shape[0])
        ]

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

        Prompts without masks go through :class:`PointDecoder`; those with masks, where each prompt has image tokens of
        its own and nothing can be shared, through ``sam2``'s own decoder.

        Args:
            embedding: of the image, from :meth:`encode`.
            prompts: any number, none included.
            tokens: which of the decoder's masks to return.
            min_iou: keep masks whose predicted IoU is strictly greater; of the others no mask is made.
            chunk: prompts per call on a GPU. A CPU has its own fixed chunks, so that figures are the same bits whatever
                was asked for, and works on as many chunks at once as torch may use threads.

        Returns:
            M surviving masks in prompt order (token order within a prompt).
        """
        on_cpu = embedding.image.device.type == "cpu"
        if prompts.masks is not None:
            size = 1 if on_cpu else chunk
            found = [self._decode_plain(embedding, piece, tokens, min_iou) for piece in prompts.chunks(size)]
        elif on_cpu:
            size = max(1, min(CPU_CHUNK, CPU_CHUNK_TOKENS // embedding.image[0, 0].numel()))
            work = partial(self._chunk_worker, self._prepare(embedding), tokens, min_iou, size)
            found = single_thread_map(work, list(prompts.chunks(size)))
        else:
            size = chunk
            with torch.autocast(embedding.image.device.type, enabled=False):
                decode = self._chunk_worker(self._prepare(embedding), tokens, min_iou, UPSCALE_CHUNK)
                found = [decode(piece) for piece in prompts.chunks(size)]
        for number, masks in enumerate(found):
            masks.prompts.add_(number * size)
        found.append(_no_masks(embedding))
        return DecodedMasks(
            torch.cat([masks.logits for masks in found]),
            torch.cat([masks.ious for masks in found]),
            torch.cat([masks.prompts for masks in found]),
        )


RANDOM = "random"
"""``sam2_ckpt_path: random`` leaves the weights untrained, for tests and benchmarks only."""


def build_sam2(config_name: str, ckpt_path: str | None) -> Sam2Backend:
    """Build SAM 2 and load its weights strictly.

    Args:
        config_name: see :func:`sam2_size`.
        ckpt_path: file, ``auto`` or ``hf-hub:<repo>``; None takes the weights shipped with the package, which
            exist for ``sam2_nano``; ``random`` must be asked for by name.

    Raises:
        ConfigError: unknown configuration.
        CheckpointError: no weights, or weights of another model.
    """
    from no_time_to_train.weights.sam2_files import load_sam2_state

    model = Sam2Backend(SAM2_SIZES[sam2_size(config_name)])
    if ckpt_path == RANDOM:
        log.warning("%s runs with random weights: its masks mean nothing", config_name)
    else:
        model.load_state_dict(load_sam2_state(config_name, ckpt_path))
    return model


def _build_image_encoder(spec: Sam2Spec) -> nn.Module:
    from sam2.modeling.backbones.hieradet import Hiera
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine

    trunk = Hiera(
        embed_dim=spec.embed_dim,
        num_heads=spec.num_heads,
        stages=spec.stages,
        global_att_blocks=spec.global_att_blocks,
        window_spec=spec.window_spec,
        window_pos_embed_bkg_spatial_size=spec.window_pos_embed_bkg_spatial_size,
    )
    neck = FpnNeck(
        position_encoding=PositionEmbeddingSine(num_pos_feats=spec.d_model, normalize=True),
        d_model=spec.d_model,
        backbone_channel_list=[spec.embed_dim * 2**level for level in (3, 2, 1, 0)],
        fpn_top_down_levels=list(spec.fpn_top_down_levels),
        fpn_interp_model="nearest",
    )
    return ImageEncoder(trunk=trunk, neck=neck, scalp=1)


def _build_heads(spec: Sam2Spec) -> tuple[nn.Module, nn.Module]:
    from sam2.modeling.sam.mask_decoder import MaskDecoder
    from sam2.modeling.sam.prompt_encoder import PromptEncoder
    from sam2.modeling.sam.transformer import TwoWayTransformer

    grid = spec.image_size // 16
    prompt_encoder = PromptEncoder(
        embed_dim=spec.d_model,
        image_embedding_size=(grid, grid),
        input_image_size=(spec.image_size, spec.image_size),
        mask_in_chans=16,
    )
    mask_decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=spec.d_model, mlp_dim=2048, num_heads=8),
        transformer_dim=spec.d_model,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
        use_high_res_features=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
    )
    return prompt_encoder, mask_decoder
