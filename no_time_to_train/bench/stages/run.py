"""One run: the fast path, then the literal one, on the same picture and weights."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from no_time_to_train.bench.stages import fast_path, plain_path
from no_time_to_train.bench.stages.agreement import Agreement, compare
from no_time_to_train.bench.stages.case import (
    Case,
    make_bank,
    reference,
    sampled_prompts,
    set_threshold,
)
from no_time_to_train.bench.stages.costs import product_rate
from no_time_to_train.bench.stages.meter import STAGES, Meter
from no_time_to_train.errors import ConfigError


@dataclass(frozen=True)
class Report:
    """What a run gives.

    Attributes:
        case: what was measured.
        machine: processor, threads and versions.
        gflop_rate: of a large product in this run, the better of before and after.
        prompts, surviving: of the grid; above the threshold.
        decoded_plain: prompts that the literal decoder did, its time scaled from there; 0 without it.
        fast, plain: costs by stage; ``plain`` is None where it was left out.
        agreement: None likewise.
    """

    case: Case
    machine: dict[str, Any]
    gflop_rate: float
    prompts: int
    surviving: int
    decoded_plain: int
    fast: Meter
    plain: Meter | None
    agreement: Agreement | None


def run_benchmark(
    case: Case,
    *,
    device: torch.device,
    repeats: int = 1,
    plain: bool = True,
    plain_prompts: int | None = None,
    progress: bool | None = None,
) -> Report:
    """Measure one case.

    Args:
        repeats: of every stage, of which the best counts; 1 measures the first run.
        plain: whether the literal path runs too; on a CPU only.
        plain_prompts: how many prompts the literal decoder does; None does all.
        progress: whether to show it; None where the screen is a terminal.

    Raises:
        ConfigError: the literal path was asked for on another device.
        CheckpointError: no weights, and random ones were not allowed.
    """
    if plain and device.type != "cpu":
        raise ConfigError(
            f"the plain path runs on the CPU, not on {device}; "
            f"take --device cpu, or leave it out with --no-plain"
        )
    bar = tqdm(
        total=len(STAGES) * (1 + plain), unit="stage", disable=None if progress is None else not progress
    )
    with bar, torch.inference_mode():
        rate = product_rate(device)
        model, picture = case.model(device), case.picture()
        fast = Meter(device, bar, "fast", repeats)
        crop = reference(model, picture)
        fast_path.remember(model, crop, fast)
        seen = fast_path.see(model, picture, fast)
        bank, pieces = make_bank(case, seen.features)
        fast_path.postprocess(bank, device, fast)
        total = len(fast_path.grid_points(model))
        chosen = sampled_prompts(total, plain_prompts)
        if case.random_weights:
            set_threshold(model, seen.embedding, chosen)
        masks, _ = fast_path.find(model, bank, seen, fast)
        agreement = slow = None
        if plain:
            slow = Meter(device, bar, "plain", repeats, count=False)
            plain_path.remember_plain(model, crop, slow)
            plain_path.postprocess_plain(pieces, case.classes, slow)
            by_letter = plain_path.run_plain(model, picture, pieces, case.classes, chosen, masks, slow)
            same = masks[torch.isin(masks.prompts, chosen)]
            agreement = compare(
                len(chosen), seen.features, same, fast_path.find_among(model, bank, seen, same), by_letter
            )
        rate = max(rate, product_rate(device))
    return Report(
        case,
        machine(device),
        rate,
        total,
        len(masks),
        len(chosen) if plain else 0,
        fast,
        slow,
        agreement,
    )


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures depend on beside the code."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": gpu or str(device),
        "processor": platform.processor() or platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
