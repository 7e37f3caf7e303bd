"""What the two training scripts share: options, schedule, averaged weights, the loop, checkpoints, export."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from no_time_to_train.scenes import GENERATOR_VERSION

WARM_UP = 60
"""Steps over which the learning rate rises."""

State = dict[str, Tensor]


def training_arguments(description: str, steps: int, learning_rate: float) -> argparse.ArgumentParser:
    """The options both scripts know."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoint and the log")
    parser.add_argument("--steps", type=int, default=steps, help="length of the whole training")
    parser.add_argument("--stop-at", type=int, help="end this process early at this step, to be resumed")
    parser.add_argument("--decay", type=float, default=0.35, help="last share of the steps, of falling rate")
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check-every", type=int, default=100, help="steps from validation to validation")
    parser.add_argument("--check-scenes", type=int, default=24, help="validation scenes")
    parser.add_argument("--init", type=Path, help="start from these exported weights, with a fresh optimizer")
    parser.add_argument("--export", type=Path, help="write the averaged weights as fp16 safetensors here")
    return parser


Model = TypeVar("Model", bound=nn.Module)


def load_exported(model: Model, path: Path) -> Model:
    """Fill a model with weights that :func:`export_weights` wrote, strictly."""
    model.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return model


def learning_rate_at(step: int, steps: int, decay: float, peak: float) -> float:
    """Rise, stay, fall to a fiftieth along a straight line: a run can be lengthened before it falls."""
    falling = max(1, round(decay * steps))
    left = min(1.0, (steps - step) / falling)
    return peak * min(1.0, (step + 1) / WARM_UP) * max(left, 0.02)


class AveragedWeights:
    """Exponential moving average of all floating-point entries of a state dict."""

    def __init__(self, model: nn.Module, decay: float = 0.997) -> None:
        self.decay = decay
        self.values: State = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the present weights, faster during the first steps."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, share)


@dataclass(frozen=True)
class Task:
    """What differs between the two trainings.

    Attributes:
        name: of the model; also names the checkpoint and the log.
        module: everything that learns.
        losses: the losses of a step by name; their sum is minimised.
        validate: figures of the averaged weights (a state dict of ``module``).
        exported: picks what is shipped out of the averaged weights.
    """

    name: str
    module: nn.Module
    losses: Callable[[int], dict[str, Tensor]]
    validate: Callable[[State], dict[str, float]]
    exported: Callable[[State], State]


def train(task: Task, args: argparse.Namespace, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Run or resume a training, with a line and a checkpoint at every validation.

    Args:
        task: what learns.
        args: of :func:`training_arguments`.
        optimizer: AdamW when left out; a group with a ``share`` learns that many times as fast.
    """
    args.work.mkdir(parents=True, exist_ok=True)
    if optimizer is None:
        parameters = task.module.parameters()
        optimizer = torch.optim.AdamW(parameters, lr=0.0, weight_decay=0.05, betas=(0.9, 0.98))
    average = AveragedWeights(task.module)
    checkpoint = args.work / f"{task.name}.pt"
    first = _resume(checkpoint, task.module, average, optimizer)
    last = min(args.steps, args.stop_at or args.steps)
    log, running = Log(args.work / f"{task.name}.jsonl", args.steps, first), dict[str, float]()
    for step in range(first, last):
        for group in optimizer.param_groups:
            rate = learning_rate_at(step, args.steps, args.decay, args.learning_rate)
            group["lr"] = group.get("share", 1.0) * rate
        losses = task.losses(step)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        losses["norm"] = nn.utils.clip_grad_norm_(task.module.parameters(), 1.0)
        optimizer.step()
        average.update(task.module, step)
        for name, value in losses.items():
            running[name] = 0.95 * running.get(name, value.item()) + 0.05 * value.item()
        if step == first or (step + 1) % args.check_every == 0 or step + 1 == last:
            log(step + 1, **running, **task.validate(average.values))
            _save(checkpoint, step + 1, task.module, average, optimizer)
    if args.export:
        about = {"step": str(last), "seed": str(args.seed), "generator": str(GENERATOR_VERSION)}
        export_weights(args.export, task.name, task.exported(average.values), about)


def export_weights(path: Path, name: str, values: State, about: dict[str, str]) -> None:
    """Write a state dict as fp16 safetensors with what made it in the header; equal input, equal bytes."""
    half = {key: v.half().contiguous() if v.is_floating_point() else v for key, v in values.items()}
    written = save(half, metadata={"model": name, "format": "state dict, fp16", **about})
    length = int.from_bytes(written[:8], "little")
    header = json.loads(written[8 : 8 + length])  # its entries come in no fixed order
    ordered = json.dumps(header, sort_keys=True).encode()
    ordered += b" " * (-len(ordered) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(ordered).to_bytes(8, "little") + ordered + written[8 + length :])


def _save(
    path: Path, step: int, model: nn.Module, average: AveragedWeights, optimizer: torch.optim.Optimizer
) -> None:
    """Write everything that a bit-equal continuation needs; never leaves half a file."""
    state = {
        "step": step,
        "model": model.state_dict(),
        "average": average.values,
        "optimizer": optimizer.state_dict(),
    }
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.replace(path)


def _resume(path: Path, model: nn.Module, average: AveragedWeights, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint if there is one; returns the step to go on with."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    average.values = state["average"]
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


class Log:
    """Prints a line and keeps it as JSON, with the seconds of processor time of this process."""

    def __init__(self, path: Path, total: int, first: int) -> None:
        self.path, self.total, self.first = path, total, first
        self.start = time.process_time()

    def __call__(self, step: int, **figures: float) -> None:
        """Report the figures of one step."""
        spent = time.process_time() - self.start
        row = {"step": step, "cpu_s": round(spent, 1)} | {k: round(v, 4) for k, v in figures.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        rate = (step - self.first) / spent
        text = " ".join(f"{name}={value:.4g}" for name, value in figures.items())
        print(f"step {step}/{self.total} {rate:.2f} steps/cpu-s {text}", flush=True)
