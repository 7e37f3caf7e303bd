"""Tune ImageNet features for telling things apart under masks, on one GPU, within so many seconds: a
part of ``train_photographs``.

One step: references (a thing, enlarged, with some ground) and pictures with several things. Every thing
must be
nearest to its own reference, by a cosine above 0.5, and what lies between the things below 0.5 to all. The
features must stay near those of ImageNet. Sources in ``HELD_OUT`` teach nothing here: they judge.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from no_time_to_train.models.encoders.efficientnet_lite import EfficientNetLite
from tools.nano.lite_sam2 import SIZE as S
from tools.nano.lite_sam2 import half
from tools.nano.photograph_batches import Augment, Views
from tools.nano.photograph_store import Store

SIZE_NAME, STAGES, GRID = "lite2", (4, 6), S // 16
HELD_OUT = {"hand-tools", "bottles-lab", "plant-leaf-fruit-flower", "small-things-desk", "hbn-flakes"}
PEAK, STAY, NONE = 2e-4, 1.0, 0.5
"""Rate; weight of staying near ImageNet; the cosine below which nothing is recognised."""
FRAMES = 6
"""Patches of ground looked at in each picture."""


class LiteEncoder(nn.Module):
    """Stages at strides 16 and 32 on one grid; each centred and of unit length, then side by side.

    Buffers ``mean{i}`` are the mean of the unit features of stage i over photographs: what all patches
    have in
    common says nothing about what they show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = EfficientNetLite(SIZE_NAME, STAGES)
        for number, width in enumerate(self.trunk.widths):
            self.register_buffer(f"mean{number}", torch.zeros(width))

    def stages(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) in [0, 1] to unit features (B, C, g, g) of each stage."""
        maps = self.trunk((255 * images - 127) / 128)
        grid = maps[0].shape[-2:]
        sized = [
            m.float() if m.shape[-2:] == grid else F.interpolate(m.float(), grid, mode="bilinear")
            for m in maps
        ]
        return [F.normalize(m, dim=1) for m in sized]

    def join(self, stages: list[Tensor]) -> Tensor:
        """(B, C, g, g) of every stage to (B, D, g, g) of unit length."""
        means = [getattr(self, f"mean{number}") for number in range(len(stages))]
        centred = [F.normalize(m - mean[:, None, None], dim=1) for m, mean in zip(stages, means, strict=True)]
        return torch.cat(centred, 1) / len(stages) ** 0.5

    @torch.no_grad()
    def learn_means(self, images: Tensor, share: float) -> None:
        """Move the means towards those of some pictures."""
        for number, stage in enumerate(self.stages(images)):
            getattr(self, f"mean{number}").lerp_(stage.mean((0, 2, 3)), share)


def pool(features: Tensor, masks: Tensor) -> Tensor:
    """(B, D, g, g) features under (B, K, S, S) masks -> (B, K, D) of unit length."""
    weights = F.adaptive_avg_pool2d(masks, GRID).flatten(2).float()
    return F.normalize(weights @ features.flatten(2).transpose(1, 2), dim=2)


class Episodes:
    """Draws references and pictures with what is in them.

    A class is a class of a source (its number), or a cut-out (its number from ``base`` on).
    """

    def __init__(self, store: Store, augment: Augment) -> None:
        self.store, self.augment, self.base = store, augment, len(store.names)
        self.rows_of: list[Tensor] = []
        self.groups: dict[str, list[int]] = {}
        owner = torch.repeat_interleave(torch.arange(len(store.count), device=store.device), store.count)
        train = torch.zeros(len(store.count), dtype=torch.bool, device=store.device)
        train[store.row_tensors["train"]] = True
        usable = train[owner] & (store.facts[:, 2] >= 150)
        self.owner = owner
        for number, (source, name) in enumerate(store.names):
            rows = torch.nonzero((store.labels == number) & usable)[:, 0]
            self.rows_of.append(rows)
            if len(rows) >= 4 and source not in HELD_OUT and name is not None:
                self.groups.setdefault(source, []).append(number)

    def photographs(self, count: int, chance: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Views]:
        """Reference images, masks, classes (count,), and pictures of the same classes."""
        names, numbers = list(self.groups), []
        while len(numbers) < count:  # several classes of one source: they are told apart
            group = self.groups[names[int(torch.randint(len(names), (1,), generator=chance))]]
            order = torch.randperm(len(group), generator=chance)[: min(3, count - len(numbers))]
            numbers += [group[int(i)] for i in order]
        pairs = [
            self.rows_of[n][torch.randint(len(self.rows_of[n]), (2,), generator=chance).to(self.owner.device)]
            for n in numbers
        ]
        chosen = torch.stack(pairs)  # (count, 2) masks
        images, masks = self.augment.crops(self.owner[chosen[:, 0]], chosen[:, 0])
        views = self.augment.photographs(self.owner[chosen[:, 1]], 12, smallest=0.5)
        return images, masks, torch.tensor(numbers, device=self.owner.device), views

    def cutouts(self, each: int) -> tuple[Tensor, Tensor, Tensor, Views]:
        """The same of cut-outs: pictures at three scales, and two of the kinds of each as references."""
        a = self.augment
        views = Views.join(
            [
                a.compositions(each, 2, 40, 12, 40),
                a.compositions(each, 1, 20, 30, 110),
                a.compositions(each, 0, 8, 80, 300),
            ]
        )
        seen = (views.masks > 0.5).float().sum((2, 3)) >= 60
        order = (a.rand(*seen.shape) + 2 * ~seen).argsort(1)[:, :2]
        picked = (-2 - views.sources.gather(1, order)).clamp(min=0).flatten()
        level = 0
        shown = a.compositions(len(picked), level, 1, 150, 460, picked[:, None])
        return shown.images, shown.masks[:, :1], self.base + picked, views


def step_losses(
    look: Callable[[LiteEncoder, Tensor], list[Tensor]],
    encoder: LiteEncoder,
    teacher: LiteEncoder,
    episodes: Episodes,
    size: int,
    chance: torch.Generator,
    scale: Tensor,
) -> dict[str, Tensor]:
    """One set of references and pictures."""
    with torch.no_grad():
        one, two = episodes.photographs(size, chance), episodes.cutouts(max(1, size // 5))
        views = Views.join([one[3], two[3]])
        references = torch.cat([one[0], two[0]])
        masks, classes = torch.cat([one[1], two[1]]), torch.cat([one[2], two[2]])
        images = episodes.augment.colours(torch.cat([references, views.images]))
        images = images.contiguous(memory_format=torch.channels_last)
        sources = views.sources
        labels = torch.where(
            sources >= 0,
            episodes.store.labels[sources.clamp(min=0)],
            torch.where(sources < -1, episodes.base - 2 - sources, -1),
        )
        areas = (views.masks > 0.5).flatten(2).sum(2)
        labels = labels.masked_fill(areas < 60, -1)
        ground = _frames(views, episodes.augment)
    stages = look(encoder, images)
    with torch.no_grad():
        wanted = look(teacher, images)
    stay = torch.stack(
        [(1 - (now * then).sum(1)).mean() for now, then in zip(stages, wanted, strict=True)]
    ).sum()
    features = encoder.join(stages)
    count = len(references)
    prototypes = pool(features[:count], masks)[:, 0]  # (R, D)
    things = pool(features[count:], views.masks)[labels >= 0]  # (N, D)
    wanted_class = labels[labels >= 0]
    nothing = pool(features[count:], ground[0])[ground[1]]
    same = wanted_class[:, None] == classes[None]
    known = same.any(1)
    # things whose class has no reference here are as much not it as the ground is
    logits = scale.exp() * (torch.cat([things, nothing]) @ prototypes.T - NONE)
    logits = F.pad(logits, (1, 0))  # nothing: cosine NONE
    target = torch.cat([same, same.new_zeros(len(nothing), same.shape[1])])
    target = torch.cat([~target.any(1, keepdim=True), target], 1)
    chosen = (logits.masked_fill(~target, -1e4)).logsumexp(1)
    each = logits.logsumexp(1) - chosen
    kinds = torch.cat([known, known.new_zeros(len(nothing))])
    losses = {
        "thing": each[kinds].sum() / kinds.sum().clamp(min=1),
        "none": each[~kinds].sum() / (~kinds).sum().clamp(min=1),
    }
    right = logits[: len(things), 1:][known].argmax(1) if bool(known.any()) else None
    losses["stay"] = STAY * stay
    hits = same[known].gather(1, right[:, None]).float().mean() if right is not None else each.new_zeros(())
    return losses | {"hits": hits.detach()}


def _frames(views: Views, augment: Augment) -> tuple[Tensor, Tensor]:
    """Discs on the ground between the things: (B, F, S, S) masks, and (B, F) which of them hold next to
    no thing."""
    count = len(views.images)
    middle, radius = augment.rand(count, FRAMES, 2) * S, augment.log_rand(count, FRAMES, low=12, high=90)
    line = torch.arange(S, device=augment.device) + 0.5
    away = (line - middle[..., :1])[:, :, None].square() + (line - middle[..., 1:])[..., None].square()
    discs = away < radius.square()[..., None, None]
    empty = (discs & ~views.free).flatten(2).sum(2) < 0.1 * discs.flatten(2).sum(2)
    return discs.to(augment.dtype), empty


def run(store: Store, args: argparse.Namespace) -> None:
    """Tune until the time is over.

    Args:
        store: loaded pictures.
        args: ``encoder_start``, ``encoder_seconds``, ``encoder_size``, ``encoder_steps``, ``tell``, ``out``.
    """
    began, device = time.time(), store.device
    cuda, steps = device.type == "cuda", args.encoder_steps
    torch.manual_seed(0)
    augment = Augment(store, torch.Generator(device).manual_seed(11))
    episodes, chance = Episodes(store, augment), torch.Generator().manual_seed(5)
    encoder, teacher = LiteEncoder().to(device), LiteEncoder().to(device).requires_grad_(False)
    values = {name: value.float() for name, value in load_file(args.encoder_start).items()}
    for model in (encoder, teacher):
        model.trunk.load_state_dict(values)
    if cuda:
        encoder.to(memory_format=torch.channels_last)
        teacher.to(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
        for i in range(4 if steps else 20):
            encoder.learn_means(
                augment.photographs(augment.photo_rows(16 if cuda else 4), 1, 0.5).images.float(), 1 / (i + 1)
            )

    def look(model: LiteEncoder, images: Tensor) -> list[Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            return model.stages(images)

    scale = torch.tensor(math.log(12.0), device=device, requires_grad=True)
    optimizer = torch.optim.AdamW(
        [{"params": encoder.trunk.parameters(), "share": 1.0}, {"params": [scale], "share": 10.0}],
        lr=0.0,
        weight_decay=0.02,
        betas=(0.9, 0.98),
    )
    average = {name: value.detach().clone() for name, value in encoder.state_dict().items()}
    start = told = time.time()
    length, step, running = max(1.0, args.encoder_seconds - (start - began) - 3), 0, dict[str, Tensor]()
    while (share := (time.time() - start) / length) < 1 and not (steps and step >= steps):
        rate = (
            PEAK * min(1.0, (step + 1) / 40) * (0.5 + 0.5 * math.cos(math.pi * max(0.0, share - 0.2) / 0.8))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate * group["share"]
        losses = step_losses(look, encoder, teacher, episodes, args.encoder_size, chance, scale)
        optimizer.zero_grad(set_to_none=True)
        (losses["thing"] + losses["none"] + losses["stay"]).backward()
        norm = nn.utils.clip_grad_norm_(encoder.trunk.parameters(), 1.0)
        if bool(torch.isfinite(norm)):
            optimizer.step()
        encoder.learn_means(augment.photographs(augment.photo_rows(4), 1, 0.5).images.float(), 0.02)
        part = 1 - min(0.99, (1 + step) / (10 + step))
        for name, value in encoder.state_dict().items():
            average[name].lerp_(value, part)
        step += 1
        for name, value in {**losses, "scale": scale}.items():
            value = value.detach().float()
            running[name] = value if name not in running else running[name].lerp(value, 0.05)
        if time.time() - told > args.tell:
            told = time.time()
            print(
                f"encoder, {told - began:.0f} s, step {step}, rate {rate:.1e}:",
                {name: round(v.item(), 4) for name, v in running.items()},
                flush=True,
            )
    about = {"model": "lite2_photographs", "step": str(step)}
    save_file(half(average), args.out / "lite2_photographs.safetensors", about)
    print(f"encoder: done, {step} steps", flush=True)
