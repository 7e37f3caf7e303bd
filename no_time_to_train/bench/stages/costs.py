"""What a piece of work costs: time, memory, arithmetic; and how fast this machine multiplies."""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

Result = TypeVar("Result")


@dataclass(frozen=True)
class Cost:
    """What one piece of work took.

    Attributes:
        cpu: seconds of CPU, over all threads of the process.
        wall: seconds on the clock.
        added_mb: highest memory above what was in use before, its result included; None where the system
            does not tell. On a GPU its memory, else the process's.
        peak_mb: the same with all that was in use before.
        gflop: 10⁹ floating-point operations of products and attention; None where not counted.
    """

    cpu: float
    wall: float
    added_mb: float | None = None
    peak_mb: float | None = None
    gflop: float | None = None

    def scaled(self, factor: float) -> Cost:
        """The cost of ``factor`` times as much work, in the same memory."""
        gflop = None if self.gflop is None else self.gflop * factor
        return Cost(self.cpu * factor, self.wall * factor, self.added_mb, self.peak_mb, gflop)


def measure(work: Callable[[], Result], device: torch.device, repeats: int = 1) -> tuple[Cost, Result]:
    """Run ``work`` and measure it; of several times the one with the least CPU time counts.

    With repeats, one more run comes first: it warms up, and its memory is what counts.
    """
    before = start_peak(device)
    cost, result = _timed(work, device)
    peak = read_peak(device)
    memory = (None if before is None or peak is None else max(0.0, peak - before), peak)
    times = [cost] if repeats == 1 else [_timed(work, device)[0] for _ in range(repeats)]
    best = min(times, key=lambda taken: taken.cpu)
    return Cost(best.cpu, best.wall, *memory), result


def _timed(work: Callable[[], Result], device: torch.device) -> tuple[Cost, Result]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return Cost(time.process_time() - cpu, time.perf_counter() - wall), result


@contextlib.contextmanager
def gflop_counter() -> Iterator[Callable[[], float]]:
    """Count 10⁹ operations of the products, convolutions and attention that this thread dispatches.

    Yields:
        What gives the number so far.
    """
    with FlopCounterMode(display=False, custom_mapping=_ours()) as counter:
        yield lambda: counter.get_total_flops() / 1e9


def _ours() -> dict[Any, Any]:
    """Operations that PyTorch's counter does not know."""

    def linear(x: Any, weight: Any, *_rest: Any, out_shape: Any = None, **_named: Any) -> int:
        return 2 * math.prod(x) * weight[0]

    def attention(query: Any, key: Any, value: Any, *_rest: Any, out_shape: Any = None, **_named: Any) -> int:
        return sdpa_flop(query, key, value)

    known: dict[Any, Any] = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
    if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        known[torch.ops.mkldnn._linear_pointwise] = linear
    return known


def start_peak(device: torch.device) -> float | None:
    """Forget earlier peaks; the MB in use now, or None where the system does not tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 2**20
    if sys.platform != "linux":
        return None
    with contextlib.suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)  # or memory freed earlier would serve this work unseen
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return read_status("VmRSS")
    return None


def read_peak(device: torch.device) -> float | None:
    """Highest MB in use since :func:`start_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return read_status("VmHWM") if sys.platform == "linux" else None


def read_status(field: str) -> float:
    """MB of one field of this process's status; Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 1024


def product_rate(device: torch.device) -> float:
    """GFLOP per second of a large float32 product, the best of five; per CPU second on a CPU."""
    side = 2048 if device.type == "cpu" else 8192
    matrix = torch.randn(side, side, device=device)
    best = min(seconds(_timed(lambda: torch.mm(matrix, matrix), device)[0], device) for _ in range(5))
    return 2 * side**3 / best / 1e9


def seconds(cost: Cost, device: torch.device) -> float:
    """The time by which a device is judged: that of the CPU where it does the work, else the clock's."""
    return cost.cpu if device.type == "cpu" else cost.wall
