"""Train the nano SAM 2 on generated scenes: python -m tools.nano.train_sam2 --work <folder>.

One step: a few scenes, each encoded once and prompted with many points. Losses: the best of the three
masks pays (SAM, arXiv 2304.02643), all learn to predict their own IoU, points on the background must
predict zero. Every random choice follows from the seed and the step, so a resumed run is bit-equal.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import ImageEmbedding, Prompts
from no_time_to_train.weights.sam2_models import SAM2_SIZES
from tools.nano.pictures import load_style_pictures
from tools.nano.sam2_data import Example, judging_examples, training_example
from tools.nano.training import Task, load_exported, train, training_arguments

SUMMARY = "Train the nano SAM 2 on generated scenes."
SCENES = 4
"""Scenes of a step."""


def prepare(model: Sam2Backend, examples: list[Example]) -> None:
    """Make an untrained model able to learn: the prompt must not drown in the image features.

    The neck has no normalisation: its output had a deviation of several against 0.7 of the position code,
    and all masks of an image stayed equal. So features are scaled down to 0.5 (0.3 on the fine levels),
    learned embeddings to a tenth, and queries and keys of the cross-attention start tied and orthogonal,
    so that a point looks at its own place first.
    """
    decoder, heads = model.sam_mask_decoder, model.sam_prompt_encoder
    images = torch.stack([example.image for example in examples])
    with torch.no_grad():
        for table in (*heads.point_embeddings, heads.not_a_point_embed, heads.no_mask_embed):
            table.weight.mul_(0.1)
        deviation = torch.cat([e.image for e in model.encode(images)]).std()
        for level in model.image_encoder.neck.convs:
            for parameter in level.parameters():
                parameter.mul_(0.5 / deviation)
        for place, convolution in ((0, decoder.conv_s0), (1, decoder.conv_s1)):
            deviation = torch.cat([e.high_res[place] for e in model.encode(images)]).std()
            for parameter in convolution.parameters():
                parameter.mul_(0.3 / deviation)
        blocks = decoder.transformer.layers
        crossings = [block.cross_attn_token_to_image for block in blocks]
        crossings += [block.cross_attn_image_to_token for block in blocks]
        for attention in (*crossings, decoder.transformer.final_attn_token_to_image):
            nn.init.orthogonal_(attention.q_proj.weight, gain=2.0)
            attention.k_proj.weight.copy_(attention.q_proj.weight)
            nn.init.zeros_(attention.q_proj.bias)
            nn.init.zeros_(attention.k_proj.bias)


def inflation(embeddings: list[ImageEmbedding]) -> Tensor:
    """How far the features have outgrown the position code (see :func:`prepare`), 0 when not at all."""
    levels = zip(*[(e.image, *e.high_res) for e in embeddings], strict=True)
    return torch.stack([(torch.cat(level).square().mean() - 0.36).clamp(min=0) for level in levels]).sum()


def predict(model: Sam2Backend, embedding: ImageEmbedding, asked: Prompts) -> tuple[Tensor, Tensor]:
    """Return the logits (P, 4, S/4, S/4) and predicted IoUs (P, 4) of all four mask tokens."""
    points = None if asked.points is None else (asked.points, asked.labels)
    sparse, dense = model.sam_prompt_encoder(points=points, boxes=asked.boxes, masks=None)
    logits, ious, _, _ = model.sam_mask_decoder.predict_masks(
        image_embeddings=embedding.image,
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        repeat_image=True,
        high_res_features=list(embedding.high_res),
    )
    return logits, ious


def losses(logits: Tensor, ious: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Mean losses of one scene.

    Args:
        logits: (P, 4, h, w); token 0 is the single mask, 1..3 share the work.
        ious: (P, 4) predicted.
        targets: (P, h, w) in [0, 1]; an empty one means background.
    """
    wanted = targets[:, None].expand_as(logits)
    present = targets.flatten(1).amax(1) > 0
    edge = F.avg_pool2d(targets[:, None], 5, 1, 2)
    weight = 1 + 4 * (edge - targets[:, None]).abs().clamp(max=0.5) * 2
    cross = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    cross = (cross * weight).sum((2, 3)) / (3 * wanted.sum((2, 3)) + 30)
    inside = logits.sigmoid()
    overlap = (inside * wanted).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / ((inside**2).sum((2, 3)) + (wanted**2).sum((2, 3)) + 1)
    per_token = (2 * cross + dice)[present]  # (P', 4)
    three = per_token[:, 1:]
    mask = three.amin(1) + 0.1 * three.mean(1) + 0.3 * per_token[:, 0]
    with torch.no_grad():
        truth = mask_iou(logits > 0, wanted > 0.5)
    return {
        "mask": mask.mean() if len(mask) else logits.sum() * 0,
        "iou": 2 * F.smooth_l1_loss(ious, truth, beta=0.1),
    }


def mask_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boolean masks over the last two axes; 0 where the second is empty."""
    both = (first & second).sum((-2, -1)).float()
    return both / (first | second).sum((-2, -1)).clamp(min=1)


@torch.no_grad()
def validate(model: Sam2Backend, examples: list[tuple[Example, Tensor]]) -> dict[str, float]:
    """Best-of-three and picked IoU at full size, IoU-head error, and the two signs of a stall."""
    best, picked, error, shares, spread = [], [], [], [], []
    for example, masks in examples:
        (embedding,) = model.encode(example.image[None])
        spread.append(embedding.image.std())
        logits, ious = predict(model, embedding, example.prompts)
        full = F.interpolate(logits[:, 1:], scale_factor=4, mode="bilinear") > 0
        truth = mask_iou(full, masks[:, None].expand_as(full))
        chosen = ious[:, 1:].argmax(1, keepdim=True)
        present = masks.flatten(1).any(1)
        best.append(truth.amax(1)[present])
        picked.append(truth.gather(1, chosen)[present, 0])
        error.append((ious[:, 1:] - truth).abs().flatten())
        shares.append((logits[:, 1] > 0).float().std(0).mean())
    found = torch.cat(best)
    return {
        "best": found.mean().item(),
        "picked": torch.cat(picked).mean().item(),
        "over75": (found > 0.75).float().mean().item(),
        "iou_error": torch.cat(error).mean().item(),
        "embedding_std": torch.stack(spread).mean().item(),
        "prompt_std": torch.stack(shares).mean().item(),
    }


def main() -> None:
    """Train, resume, export."""
    args = training_arguments(SUMMARY, steps=5000, learning_rate=8e-4).parse_args()
    torch.manual_seed(args.seed)
    model = Sam2Backend(SAM2_SIZES["nano"])
    pictures, checks = load_style_pictures(), judging_examples(args.check_scenes)
    if args.init:
        load_exported(model.train(), args.init)
    else:
        prepare(model.train(), [training_example(args.seed, 10**9, i, pictures) for i in range(8)])
    judge = Sam2Backend(SAM2_SIZES["nano"])

    def step_losses(step: int) -> dict[str, Tensor]:
        examples = [training_example(args.seed, step, i, pictures) for i in range(SCENES)]
        embeddings = model.encode(torch.stack([example.image for example in examples]))
        parts = [
            losses(*predict(model, embedding, example.prompts), example.targets)
            for embedding, example in zip(embeddings, examples, strict=True)
        ]
        mean = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        return mean | {"inflation": inflation(embeddings)}

    def judged(values: dict[str, Tensor]) -> dict[str, float]:
        judge.load_state_dict(values)
        return validate(judge, checks)

    train(Task("sam2_nano", model, step_losses, judged, dict), args)


if __name__ == "__main__":
    main()
