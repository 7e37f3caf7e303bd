"""SAM 2 nano as it is trained: many images and many prompts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from no_time_to_train.models.encoders.efficientnet_lite import fold
from no_time_to_train.models.encoders.spec import IMAGENET_MEAN, IMAGENET_STD
from no_time_to_train.models.sam.modules import build_heads, build_image_encoder
from no_time_to_train.weights.sam2_models import SAM2_SIZES

SPEC = SAM2_SIZES["nano"]
SIZE, WIDTH = SPEC.image_size, SPEC.d_model
"""Side of the input in pixels, width of the decoder."""
FINE_SHARE, FINE_FACTOR = 0.5, 3.0
"""This share of the position code's frequencies is so many times higher, to tell things of 8 pixels apart."""


class LiteSam2(nn.Module):
    """Parameter names as in the released files, but for the trunk."""

    def __init__(self) -> None:
        super().__init__()
        self.image_encoder = build_image_encoder(SPEC)
        self.sam_prompt_encoder, self.sam_mask_decoder = build_heads(SPEC)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, WIDTH), requires_grad=False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) RGB in [0, 1] to features.

        Returns:
            (B, C/8, S/4, S/4), (B, C/4, S/8, S/8) and (B, C, S/16, S/16).
        """
        levels = self.image_encoder((images - self.mean) / self.std)["backbone_fpn"]
        fine, middle = self.sam_mask_decoder.conv_s0(levels[0]), self.sam_mask_decoder.conv_s1(levels[1])
        return fine, middle, levels[2]

    def decode(self, features: tuple[Tensor, ...], points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Masks of P prompts for each of B images.

        Args:
            features: fine, middle, coarse of :meth:`encode`.
            points: (B, P, T, 2) xy in pixels.
            labels: (B, P, T) 1 inside, 0 outside, 2 and 3 corners, -1 nothing.

        Returns:
            Logits (B, P, 4, S/4, S/4) and predicted IoU (B, P, 4); token 0 is the single mask.
        """
        count, each = labels.shape[:2]
        prompts = self.sam_prompt_encoder
        sparse = prompts._embed_points(points.flatten(0, 1), labels.flatten(0, 1), pad=False)
        fine, middle, coarse = (level.repeat_interleave(each, 0) for level in features)
        dense = prompts.no_mask_embed.weight.view(1, -1, 1, 1).expand(len(sparse), -1, *coarse.shape[-2:])
        logits, ious, _, _ = self.sam_mask_decoder.predict_masks(
            image_embeddings=coarse,
            image_pe=prompts.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=False,
            high_res_features=[fine, middle],
        )
        return logits.unflatten(0, (count, each)), ious.unflatten(0, (count, each))


TRUNK = "image_encoder.trunk."


def from_study(model: LiteSam2, values: Mapping[str, Tensor], trunk_order: Sequence[str]) -> None:
    """Begin with the weights of the study, whose trunk has batch normalisation and an input of its own.

    Args:
        values: of the study, float32.
        trunk_order: names of the trunk's entries from the first layer to the last.
    """
    folded = fold({name: values[TRUNK + name] for name in trunk_order}, model.image_encoder.trunk)
    weight = folded["stem.weight"]  # of (255 · RGB - 127) / 128; here RGB comes normalised
    folded["stem.bias"] = folded["stem.bias"] + (weight * (255 * model.mean - 127) / 128).sum((1, 2, 3))
    folded["stem.weight"] = weight * model.std * 255 / 128
    kept = {name: value.clone() for name, value in values.items() if not name.startswith(TRUNK)}
    frequencies = kept["sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
    frequencies[:, round(frequencies.shape[1] * (1 - FINE_SHARE)) :] *= FINE_FACTOR
    model.load_state_dict({**kept, **{TRUNK + name: value for name, value in folded.items()}})


def half(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is written: fp16, contiguous, on the CPU."""
    return {name: value.detach().half().contiguous().cpu() for name, value in values.items()}
