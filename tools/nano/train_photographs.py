"""Train the nano SAM 2 on photographs, on one GPU, within so many seconds.

    SECONDS_BUDGET=470 python -m tools.nano.train_photographs --data <pack> --start start.safetensors
    --encoder-start lite2.safetensors --out <folder>

The schedule follows the clock, so it ends where the time does. One step: a batch of pictures, each encoded
once and prompted many times. Averaged weights are written every minute. Over 300 lines, so that one
file travels to a GPU with the batches alone. Nothing is compiled: on an H100 that saved 9 ms of a step of 125
and took 32 s to begin with.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tools.nano import train_lite_encoder
from tools.nano.lite_sam2 import SIZE as S
from tools.nano.lite_sam2 import LiteSam2, half
from tools.nano.photograph_batches import Augment
from tools.nano.photograph_prompts import Asked, ask
from tools.nano.photograph_store import Store, unpack

PEAK, TRUNK_SHARE = 1e-3, 0.3
WARM, FLAT = 100, 0.35
"""Steps in which the rate rises; share of the time after which it falls."""
KINDS = (0.8, 0.14, 0.06)
"""Shares of steps with single points, with boxes and two points, with three points."""


def rate_at(share: float, step: int) -> float:
    """Rise, stay, fall to zero along half a cosine; the rise is counted in steps, as compiling takes time."""
    falling = min(1.0, max(0.0, share - FLAT) / (1 - FLAT))
    return min(1.0, (step + 1) / WARM) * (0.5 + 0.5 * math.cos(math.pi * falling))


def mask_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Of every mask, relative to the size of what is asked for.

    Args:
        logits: (B, P, 4, h, w).
        targets: (B, P, h, w) covered share of each cell.

    Returns:
        (B, P, 4).
    """
    logits = logits.float()
    size = targets.sum((2, 3))[..., None]  # (B, P, 1)
    edge = (F.avg_pool2d(targets, 5, 1, 2) - targets).abs()
    weight = (1 + 8 * edge.clamp(max=0.5))[:, :, None]
    wanted = targets[:, :, None]
    inside = logits.sigmoid()
    cross = F.softplus(logits) - logits * wanted
    cross = (cross * weight * (0.3 + 0.7 * (inside - wanted).abs())).sum((3, 4)) / (2 * size + 24)
    overlap = (inside * wanted).sum((3, 4))
    dice = 1 - (2 * overlap + 0.5) / (inside.square().sum((3, 4)) + wanted.square().sum((3, 4)) + 0.5)
    return 2 * cross + dice


@torch.no_grad()
def true_ious(logits: Tensor, asked: Asked) -> Tensor:
    """(B, P, 4) IoU of each mask with the best of those that answer the prompt, at half the picture's
    size."""
    found = F.interpolate(logits.flatten(0, 1), scale_factor=2, mode="bilinear") > 0
    found = found.unflatten(0, logits.shape[:2]).flatten(3).flatten(1, 2)  # (B, 4P, hw)
    exact = torch.bfloat16 if found.is_cuda else torch.float32  # products of 0 and 1; sums are float32 inside
    both = torch.bmm(found.to(exact), asked.masks.to(exact).transpose(1, 2)).float()
    either = found.sum(2)[:, :, None] + asked.masks.sum(2)[:, None] - both
    ious = (both / either.clamp(min=1)).unflatten(1, logits.shape[1:3])  # (B, P, 4, K)
    return ious.masked_fill(~asked.fair[:, :, None], 0).amax(3)


def iou_losses(ious: Tensor, truth: Tensor) -> Tensor:
    """How far the predictions are, and how far their order within a prompt is."""
    ious = ious.float()
    far = F.smooth_l1_loss(ious, truth, beta=0.1)
    order = F.kl_div(
        (ious[..., 1:] / 0.1).log_softmax(-1), (truth[..., 1:] / 0.1).softmax(-1), reduction="none"
    ).sum(-1)
    return 2 * far + 0.3 * order.mean()


def inflation(features: tuple[Tensor, ...]) -> Tensor:
    """How far the features have outgrown the position code, 0 when not at all."""
    return torch.stack([(level.float().square().mean() - 0.36).clamp(min=0) for level in features]).sum()


class Trainer:
    """Model, optimizer and averaged weights."""

    def __init__(self, model: LiteSam2, augment: Augment) -> None:
        self.model, self.augment, self.device = model, augment, augment.device
        self.cuda = self.device.type == "cuda"
        trunk = list(model.image_encoder.trunk.parameters())
        known = {id(parameter) for parameter in trunk}
        others = [p for p in model.parameters() if id(p) not in known and p.requires_grad]
        groups = [{"params": trunk, "share": TRUNK_SHARE}, {"params": others, "share": 1.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, weight_decay=0.05, betas=(0.9, 0.98), fused=True)
        self.average = {name: value.detach().clone() for name, value in model.state_dict().items()}
        self.steps = 0

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.cuda)

    def step(self, size: int, each: int, rate: float, points: int) -> dict[str, Tensor]:
        """One step; returns the losses as tensors, so that nothing waits for the device."""
        with torch.no_grad():
            views = self.augment.batch(size)
            asked = ask(self.augment, views, each, points)
            images = views.images.contiguous(memory_format=torch.channels_last)
        for group in self.optimizer.param_groups:
            group["lr"] = group["share"] * rate * PEAK
        with self.autocast():
            features = self.model.encode(images)
            logits, ious = self.model.decode(features, asked.points, asked.labels)
        per_mask = mask_losses(logits, asked.targets)
        three, single = per_mask[..., 1:], per_mask[..., 0]
        present = asked.present.float()
        each_loss = three.amin(2) + 0.1 * three.mean(2) + 0.3 * single
        losses = {
            "mask": (each_loss * present).sum() / present.sum().clamp(min=1),
            "iou": iou_losses(ious, true_ious(logits.detach(), asked)),
            "inflation": inflation(features),
        }
        self.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        losses["norm"] = nn.utils.clip_grad_norm_(
            [p for g in self.optimizer.param_groups for p in g["params"]], 1.0
        )
        self.optimizer.found_inf = (
            ~torch.isfinite(losses["norm"])
        ).float()  # then the fused step does nothing
        self.optimizer.step()
        self._average()
        self.steps += 1
        return losses

    @torch.no_grad()
    def _average(self) -> None:
        share = 1 - min(0.998, (1 + self.steps) / (10 + self.steps))
        names = [n for n, v in self.model.state_dict().items() if v.is_floating_point()]
        now = self.model.state_dict()
        torch._foreach_lerp_([self.average[n] for n in names], [now[n] for n in names], share)


@torch.inference_mode()
def judge(
    model: LiteSam2, store: Store, kind: str, autocast: Callable[[], torch.autocast], most: int = 40
) -> dict[str, float]:
    """One point in every mask of every picture of a kind: best of three, picked, shares over 0.75, at
    full size."""
    generator = torch.Generator(store.device).manual_seed(0)
    best, picked, sizes = [], [], []
    for row in store.rows.get(kind, []):
        first, count = int(store.first[row]), min(int(store.count[row]), most)
        masks = unpack(store.bits[first : first + count]).bool()
        masks = masks[masks.flatten(1).sum(1) >= 20]
        if not len(masks):
            continue
        spots = torch.multinomial(masks.flatten(1).float(), 1, generator=generator)
        points = torch.cat([spots % S, spots // S], 1).float()[None, :, None]
        points = torch.cat([points, torch.zeros_like(points)], 2)
        labels = torch.tensor([1, -1], device=store.device).expand(1, len(masks), 2)
        with autocast():
            features = model.encode(store.images[row : row + 1].float() / 255)
            logits, ious = model.decode(features, points, labels)
        full = F.interpolate(logits[0, :, 1:].float(), (S, S), mode="bilinear") > 0
        truth = (full & masks[:, None]).sum((2, 3)) / (full | masks[:, None]).sum((2, 3)).clamp(min=1)
        best.append(truth.amax(1))
        picked.append(truth.gather(1, ious[0, :, 1:].float().argmax(1, keepdim=True))[:, 0])
        sizes.append(masks.flatten(1).sum(1))
    if not best:
        return {}
    found, chosen, area = torch.cat(best), torch.cat(picked), torch.cat(sizes)
    per_picture = torch.stack([one.mean() for one in best]).mean()
    figures = {
        "best": found.mean(),
        "picked": chosen.mean(),
        "over50": (found > 0.5).float().mean(),
        "over75": (found > 0.75).float().mean(),
        "by_picture": per_picture,
        "small": found[area < 400].mean(),
    }
    return {name: round(value.item(), 3) for name, value in figures.items()}


def save(values: dict[str, Tensor], path: Path, step: int) -> None:
    """Write fp16 safetensors, never half a file."""
    partial = path.with_suffix(".part")
    save_file(half(values), partial, {"model": "sam2_nano", "format": "state dict, fp16", "step": str(step)})
    partial.replace(path)


def smoke(args: argparse.Namespace, device: torch.device) -> None:
    """Model, losses and a step on little data; raises at once where something is broken."""
    store = Store(args.data, device, args.processes, every=args.smoke_every)
    model = LiteSam2().to(device)
    model.load_state_dict({name: value.float() for name, value in load_file(args.start).items()})
    trainer = Trainer(model, Augment(store, torch.Generator(device).manual_seed(1)))
    for points in (1, 2, 3):
        losses = trainer.step(8, 4, 0.01, points)
        values = {name: round(value.item(), 3) for name, value in losses.items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise RuntimeError(f"smoke: losses are not finite: {values}")
        print("smoke", points, values, flush=True)
    if args.encoder_start:
        args.encoder_size, args.encoder_steps = 4, 2
        train_lite_encoder.run(store, args)
    print("smoke", judge(model, store, "val", trainer.autocast, most=4), flush=True)
    save(trainer.average, args.out / "smoke.safetensors", 0)
    (args.out / "smoke.safetensors").unlink()


def run(args: argparse.Namespace, device: torch.device, began: float) -> None:
    """Train until the time is over."""
    store = Store(args.data, device, args.processes, every=args.every)
    print(
        f"{time.time() - began:.1f} s: {len(store.images)} pictures, {len(store.bits)} masks, "
        f"{len(store.cutouts[0])} cut-outs",
        flush=True,
    )
    if args.encoder_start:
        try:
            train_lite_encoder.run(store, args)
        except Exception:  # the proposer must not wait for it
            traceback.print_exc()
        torch.cuda.empty_cache()
    torch.manual_seed(0)
    model = LiteSam2().to(device)
    model.load_state_dict({name: value.float() for name, value in load_file(args.start).items()})
    augment = Augment(store, torch.Generator(device).manual_seed(args.seed))
    if device.type == "cuda":
        model.image_encoder.to(memory_format=torch.channels_last)
    trainer = Trainer(model, augment)
    judged = LiteSam2().to(device).eval()

    def check(step: int) -> None:
        judged.load_state_dict(trainer.average)
        figures = {kind: judge(judged, store, kind, trainer.autocast) for kind in ("val", "scene-val")}
        print(f"{time.time() - began:.0f} s, step {step}: {json.dumps(figures)}", flush=True)
        with (args.out / "sam2_log.jsonl").open("a") as log:
            log.write(json.dumps({"step": step, "seconds": round(time.time() - began, 1), **figures}) + "\n")
        save(trainer.average, args.out / "sam2_nano.safetensors", step)

    check(0)
    torch.cuda.empty_cache()
    start = time.time()
    length = max(1.0, args.seconds - (start - began) - args.reserve)
    chance, running = torch.Generator().manual_seed(3), dict[str, Tensor]()
    told = written = start
    while True:
        share = (time.time() - start) / length
        if share >= 1 or (args.steps and trainer.steps >= args.steps):
            break
        points = 1 + int(torch.multinomial(torch.tensor(KINDS), 1, generator=chance))
        try:
            losses = trainer.step(args.batch, args.prompts, rate_at(share, trainer.steps), points)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            args.batch = max(4, args.batch * 3 // 4)
            print("out of memory; pictures of a step:", args.batch, flush=True)
            continue
        for name, value in losses.items():
            running[name] = (
                value.detach() if name not in running else running[name].lerp(value.detach(), 0.05)
            )
        if device.type == "cuda" and trainer.steps % 8 == 0:
            torch.cuda.synchronize()  # so that the clock is the device's
        now = time.time()
        if now - told > args.tell:
            values = {name: round(value.item(), 4) for name, value in running.items()}
            print(
                f"{now - began:.0f} s, step {trainer.steps}, rate "
                f"{rate_at(share, trainer.steps):.3f}: {values}",
                flush=True,
            )
            told = now
        if now - written > 60:
            check(trainer.steps)
            written = time.time()
    check(trainer.steps)
    print(
        f"{time.time() - began:.0f} s: done, {trainer.steps} steps of {args.batch} pictures x "
        f"{args.prompts} prompts",
        flush=True,
    )


def main() -> None:
    """Smoke test, then train."""
    began = time.time()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS_BUDGET", "470")))
    parser.add_argument("--reserve", type=float, default=6.0, help="kept for the last check")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--encoder-start", type=Path, help="tune these ImageNet features first")
    parser.add_argument("--encoder-seconds", type=float, default=100)
    parser.add_argument("--encoder-size", type=int, default=12, help="photographs and as many references")
    parser.add_argument("--encoder-steps", type=int, help="stop after these, for trials")
    parser.add_argument("--steps", type=int, help="stop after these, for trials")
    parser.add_argument("--every", type=int, default=1, help="take each so many-th picture, for trials")
    parser.add_argument("--smoke-every", type=int, default=40)
    parser.add_argument("--smoke", action="store_true", help="only the smoke test")
    parser.add_argument(
        "--seed", type=int, default=7, help="of the batches; another one where a training goes on"
    )
    parser.add_argument("--tell", type=float, default=5.0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 3
    if args.smoke:
        smoke(args, device)
    else:
        run(args, device, began)


if __name__ == "__main__":
    main()
