"""First stage of the nano DINOv3 encoder: python -m tools.nano.pretrain_encoder --work <folder>.

One step: small scenes of one or two large objects, whose families of shape and texture are to be named from
the features averaged under their masks, in any colours. Episodes alone (``train_encoder``) teach colour: it
answers most of them. An ordinary start left the losses of the families at chance for 400 steps of 64 scenes;
what moved them is the start below together with smaller steps of Muon.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn

from dinov3.models.vision_transformer import DinoVisionTransformer
from no_time_to_train.scenes import SceneStyle, draw_classes, draw_scene
from tools.nano.encoder_data import SPEC, judging_sets, scene_view
from tools.nano.muon import Muon
from tools.nano.train_encoder import Families, build_encoder, encoder_task, normalised, pooled
from tools.nano.training import load_exported, train, training_arguments

SUMMARY = "Teach the nano DINOv3 encoder which families of shape and texture objects are of."
SCENES, SIDE = 64, 128
POOL = 8000
"""Scenes are drawn once and shown in other colours and turned, since drawing takes as long as learning."""
NAME = "dinov3_nano_families"
MUON_SHARE = 6.0
"""Rate of the matrices, in units of that of the rest."""
OPPONENT = torch.tensor([[1 / 3**0.5] * 3, [0.5**0.5, 0, -(0.5**0.5)], [6**-0.5, -2 * 6**-0.5, 6**-0.5]])
"""Brightness and two colour differences, orthonormal."""


@dataclass(frozen=True)
class Batch:
    """Pictures (B, 3, S, S) in [0, 1], and of R objects the (R, g, g) patch shares, owners, families."""

    images: Tensor
    weights: Tensor
    owners: Tensor
    families: Tensor


@lru_cache(maxsize=POOL)
def _scene(seed: int, number: int) -> Batch:
    rng = np.random.default_rng([seed, number, 7])
    kinds = draw_classes(rng, "train", 6, hard=rng.random() < 0.3)
    scene = draw_scene(rng, kinds, SceneStyle(size=SIDE, radius=(0.2, 0.48), num_objects=(1, 2)))
    views = scene_view(rng, scene, 0, False, kinds, ())
    objects = views.labels >= 0
    return Batch(views.images, views.weights[objects], views.owners[objects], views.families[objects])


def draw_batch(seed: int, step: int) -> Batch:
    """The pictures of one step, a function of its arguments only."""
    rng = np.random.default_rng([seed, step, 8])
    images, weights, owners, families = [], [], [], []
    for place, number in enumerate(rng.integers(0, POOL, SCENES)):
        scene = _scene(seed, int(number))
        image, regions = scene.images, scene.weights
        if rng.random() < 0.3:
            image = image.mean(1, keepdim=True).expand_as(image)
        images.append(1 - image if rng.random() < 0.2 else image)
        weights.append(regions)
        owners += [place] * len(regions)
        families.append(scene.families)
    turns, mirrored = int(rng.integers(4)), bool(rng.random() < 0.5)
    picture = torch.cat(images)[:, torch.from_numpy(rng.permutation(3))].rot90(turns, (2, 3))
    shares = torch.cat(weights).rot90(turns, (1, 2))
    if mirrored:
        picture, shares = picture.flip(3), shares.flip(2)
    return Batch(picture, shares, torch.tensor(owners), torch.cat(families))


@torch.no_grad()
def prepare(model: DinoVisionTransformer, images: Tensor) -> None:
    """Make an untrained encoder see patterns at once.

    The patch embedding becomes a cosine transform of brightness and colour differences whose coefficients
    all have the same spread over the given pictures; random filters see little but the mean colour. Queries
    and keys start equal and values opposite to the projection (mimetic initialization, arXiv 2305.09828), so
    that a patch first looks at those like it.
    """
    size, width = SPEC.patch_size, SPEC.embed_dim
    waves = _cosines(size)
    patches = normalised(images).unfold(2, size, size).unfold(3, size, size)
    spread = torch.einsum("oc,bcijyx,uy,vx->ouvbij", OPPONENT, patches, waves, waves).flatten(3).std(3)
    places = [(u, v) for u in range(size) for v in range(size)]
    bright = sorted((u + v + 0.01 * abs(u - v), 0, u, v) for u, v in places)[: width - 24]
    colour = sorted((float(u + v), o, u, v) for o in (1, 2) for u, v in places)[:24]
    filters = [
        OPPONENT[o][:, None, None] * waves[u][:, None] * waves[v] / spread[o, u, v]
        for _, o, u, v in bright + colour
    ]
    model.patch_embed.proj.weight.copy_(torch.stack(filters))
    nn.init.zeros_(model.patch_embed.proj.bias)
    for block in model.blocks:
        qkv, head = block.attn.qkv, width // block.attn.num_heads
        for start in range(0, width, head):
            tied = 0.7 * torch.linalg.qr(torch.randn(width, head))[0].T
            qkv.weight[start : start + head] = tied
            qkv.weight[width + start : width + start + head] = tied
        values = 0.6 * torch.linalg.qr(torch.randn(width, width))[0]
        qkv.weight[2 * width :] = values
        block.attn.proj.weight.copy_(-0.6 * values.T + 0.02 * torch.randn(width, width))
        nn.init.zeros_(qkv.bias)
        nn.init.normal_(block.mlp.fc1.weight, std=block.mlp.fc1.in_features**-0.5)
        nn.init.normal_(block.mlp.fc2.weight, std=0.5 * block.mlp.fc2.in_features**-0.5)


def _cosines(count: int) -> Tensor:
    """(count, count) orthonormal rows of the cosine transform (DCT-II), slowest first."""
    return torch.from_numpy(dct(np.eye(count), axis=0, norm="ortho")).float()


def object_features(model: DinoVisionTransformer, batch: Batch) -> Tensor:
    """(R, D) patch features averaged under the objects."""
    total = batch.weights.flatten(1).sum(1, keepdim=True).clamp(min=1e-3)
    return pooled(model, batch.images, batch.weights, batch.owners) / total


def main() -> None:
    """Train, resume, export."""
    args = training_arguments(SUMMARY, steps=2400, learning_rate=1e-3).parse_args()
    torch.manual_seed(args.seed)
    model, families = build_encoder(), Families()
    if args.init:
        load_exported(model, args.init)
    elif not (args.work / f"{NAME}.pt").exists():  # which a resumed training reads
        prepare(model, torch.cat([_scene(args.seed, number).images for number in range(512)]))
    both = nn.ModuleDict({"encoder": model, "families": families})
    checks = judging_sets(args.check_scenes // 2, side=256, context=4.0)

    def step_losses(step: int) -> dict[str, Tensor]:
        batch = draw_batch(args.seed, step)
        return families(object_features(model, batch), batch.families)

    matrices = [p for name, p in model.named_parameters() if name.startswith("blocks") and p.ndim == 2]
    held = {id(p) for p in matrices}
    others = [p for p in both.parameters() if id(p) not in held]
    optimizer = Muon(matrices, others, MUON_SHARE)
    train(encoder_task(NAME, both, step_losses, checks), args, optimizer)


if __name__ == "__main__":
    main()
