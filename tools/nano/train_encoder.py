"""Train the nano DINOv3 encoder on generated scenes: python -m tools.nano.train_encoder --work <folder>.

One step is a few episodes made as the pipeline uses the encoder: every class is known from the context
crop of one object, and must be found again among the objects of whole scenes, from features averaged
under masks. Losses: which class (softmax over all classes of the step), is it the class at all (sigmoid;
background and strangers must answer no, because the pipeline ranks by the cosine itself), the
supervised contrastive loss (arXiv 2004.11362) among the objects of the scenes, and which families of shape
and texture an object is of, since colour alone would answer most of the others.
Every random choice follows from the seed and the step, so a resumed run is bit-equal.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dinov3.models.vision_transformer import DinoVisionTransformer
from no_time_to_train.scenes import SHAPE_FAMILIES, TEXTURE_FAMILIES
from tools.nano.encoder_data import SPEC, Views, episode_source, judging_sets, training_step_data
from tools.nano.pictures import load_style_pictures
from tools.nano.training import Task, load_exported, train, training_arguments

SUMMARY = "Train the nano DINOv3 encoder on generated scenes."


def normalised(images: Tensor) -> Tensor:
    """RGB in [0, 1], (B, 3, H, W), as the encoder wants it."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (SPEC.mean, SPEC.std))
    return (images - mean) / std


def region_features(model: DinoVisionTransformer, views: Views) -> Tensor:
    """(R, D) unit rows: patch features averaged under the regions."""
    return F.normalize(pooled(model, views.images, views.weights, views.owners), dim=1)


def pooled(model: DinoVisionTransformer, images: Tensor, weights: Tensor, owners: Tensor) -> Tensor:
    """(R, D) sums of patch features, weighted by the (R, g, g) shares of regions of (B, 3, S, S) images."""
    patches = model.forward_features(normalised(images))["x_norm_patchtokens"]  # (B, N, D)
    return torch.einsum("rn,rnd->rd", weights.flatten(1), patches[owners])


class Families(nn.Module):
    """Names the families of shape and texture that a region is of, from its mean feature."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = nn.Linear(SPEC.embed_dim, len(SHAPE_FAMILIES["train"]))
        self.texture = nn.Linear(SPEC.embed_dim, len(TEXTURE_FAMILIES["train"]))

    def forward(self, features: Tensor, families: Tensor) -> dict[str, Tensor]:
        """Cross-entropies of (R, D) features and (R, 2) families; :data:`NO_FAMILY` does not count."""
        return {
            "shape": F.cross_entropy(self.shape(features), families[:, 0]),
            "texture": F.cross_entropy(self.texture(features), families[:, 1]),
        }


class Objective(nn.Module):
    """The losses and their temperatures."""

    def __init__(self) -> None:
        super().__init__()
        self.families = Families()
        self.log_scale = nn.Parameter(torch.tensor([2.3, 2.3, 2.3]))
        self.bias = nn.Parameter(torch.tensor(-5.0))

    def forward(
        self, references: Tensor, scenes: Tensor, labels: Tensor, families: Tensor
    ) -> dict[str, Tensor]:
        """Losses of one step.

        Args:
            references: (K, D), row k is class k.
            scenes: (R, D) of the regions in the scenes.
            labels: (R,) of the scenes.
            families: (K + R, 2) of the references, then of the scenes.
        """
        softmax, sigmoid, contrast = self.log_scale.exp().clamp(max=50)
        cosine = scenes @ references.T  # (R, K)
        known = labels >= 0
        which = F.cross_entropy(cosine[known] * softmax, labels[known])
        truth = (labels[:, None] == torch.arange(len(references))).float()
        cross = F.binary_cross_entropy_with_logits(cosine * sigmoid + self.bias, truth, reduction="none")
        is_it = cross.sum() / truth.sum().clamp(min=1)
        spread = torch.cat([references, scenes]) * SPEC.embed_dim**0.5  # of unit rows
        return {
            "which": which,
            "is_it": 0.5 * is_it,
            "contrast": _contrast(scenes[known], labels[known], contrast),
            **{name: 0.5 * loss for name, loss in self.families(spread, families).items()},
        }


def _contrast(features: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """Supervised contrastive loss over (R, D) unit rows; rows without a partner do not count."""
    itself = torch.eye(len(features), dtype=torch.bool)
    logits = (features @ features.T * scale).masked_fill(itself, -1e4)
    partners = (labels[:, None] == labels) & ~itself
    chance = logits.log_softmax(1)
    has = partners.any(1)
    return -((chance * partners).sum(1)[has] / partners.sum(1)[has]).mean()


def build_encoder() -> DinoVisionTransformer:
    """An untrained nano; LayerScale starts at 1 because four blocks need no gentle start.

    It stays in eval mode: the only thing that train mode would change is random position scaling, which
    draws from a state that a checkpoint does not hold.
    """
    return DinoVisionTransformer(**{**SPEC.build, "layerscale_init": 1.0}).eval()


@torch.no_grad()
def validate(model: DinoVisionTransformer, sets: list[tuple[Views, Views]]) -> dict[str, float]:
    """One-shot nearest-prototype accuracy per kind of set, and how well the cosine tells right from wrong."""
    hits: dict[str, list[Tensor]] = {"mixed": [], "hard": []}
    right, wrong, spread = [], [], []
    for number, (references, scenes) in enumerate(sets):
        prototypes, features = region_features(model, references), region_features(model, scenes)
        cosine, known = features @ prototypes.T, scenes.labels >= 0
        hits["hard" if number % 2 else "mixed"].append(cosine[known].argmax(1) == scenes.labels[known])
        right.append(cosine[known].gather(1, scenes.labels[known, None])[:, 0])
        wrong.append(cosine[~known].amax(1))
        spread.append(features.std(0).mean())
    figures = {name: torch.cat(values).float().mean().item() for name, values in hits.items()}
    above = torch.cat(right)[:, None] > torch.cat(wrong)[None]
    return {**figures, "auc": above.float().mean().item(), "feature_std": torch.stack(spread).mean().item()}


def main() -> None:
    """Train, resume, export."""
    args = training_arguments(SUMMARY, steps=4500, learning_rate=1e-3).parse_args()
    torch.manual_seed(args.seed)
    model, objective = build_encoder(), Objective()
    if args.init:
        load_exported(model, args.init)
    both = nn.ModuleDict({"encoder": model, "objective": objective})
    episodes = episode_source(load_style_pictures())
    checks = judging_sets(args.check_scenes // 2)

    def step_losses(step: int) -> dict[str, Tensor]:
        references, scenes = training_step_data(episodes, args.seed, step)
        return objective(
            region_features(model, references),
            region_features(model, scenes),
            scenes.labels,
            torch.cat([references.families, scenes.families]),
        )

    train(encoder_task("dinov3_nano", both, step_losses, checks), args)


def encoder_task(
    name: str,
    module: nn.ModuleDict,
    losses: Callable[[int], dict[str, Tensor]],
    checks: list[tuple[Views, Views]],
) -> Task:
    """What trains, judges and exports the entry ``encoder`` of a module; the others are only for training."""
    judge = build_encoder()

    def judged(values: dict[str, Tensor]) -> dict[str, float]:
        judge.load_state_dict(encoder_part(values))
        return validate(judge, checks)

    return Task(name, module, losses, judged, encoder_part)


def encoder_part(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """What belongs to the encoder, under its own names."""
    prefix = "encoder."
    return {name.removeprefix(prefix): v for name, v in values.items() if name.startswith(prefix)}


if __name__ == "__main__":
    main()
