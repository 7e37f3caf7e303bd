"""Simulated shards on many workers: what stragglers and lost workers cost, by the number of shards.

Workers take shards from one queue, as a scheduler's array job does. Their speeds are log-normal around 1. A
lost worker loses the shard that it works on, which goes back into the queue: from its start without
``--resume``, from where it was with it. Prints hours of the whole search, and how many
times those of perfect sharing.

    python -m benchmarks.shards --pictures 1000000 --seconds 0.5 --workers 64
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cluster:
    """Workers and their troubles.

    Attributes:
        workers: how many.
        spread: standard deviation of the logarithm of their speeds.
        start: seconds until a process has its model.
        lost_an_hour: rate at which a worker is lost; another takes its place after ``start``.
        resume: a lost shard goes on where it was.
    """

    workers: int
    spread: float
    start: float
    lost_an_hour: float
    resume: bool


def hours(work: list[float], cluster: Cluster, seed: int) -> float:
    """Until the last shard is done; ``work`` is the seconds of each at speed 1."""
    draw = np.random.default_rng(seed)
    speeds = np.exp(draw.normal(0, cluster.spread, cluster.workers))
    free = [(0.0, worker) for worker in range(cluster.workers)]
    heapq.heapify(free)
    waiting = list(reversed(work))
    running: list[float] = []
    while waiting:
        now, worker = heapq.heappop(free)
        seconds = waiting.pop()
        until_lost = draw.exponential(3600 / cluster.lost_an_hour) if cluster.lost_an_hour else np.inf
        needed = cluster.start + seconds / speeds[worker]
        if until_lost < needed:
            done = max(0.0, until_lost - cluster.start) * speeds[worker] if cluster.resume else 0.0
            waiting.insert(0, seconds - done)
            needed = until_lost
        else:
            running.append(now + needed)
        heapq.heappush(free, (now + needed, worker))
    return max(running) / 3600


def main(words: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=0.5, help="of one picture at speed 1")
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--spread", type=float, default=0.3)
    parser.add_argument("--start", type=float, default=60.0)
    parser.add_argument("--lost-an-hour", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args(words)
    total = given.pictures * given.seconds
    ideal = total / 3600 / given.workers / np.exp(given.spread**2 / 2)  # the mean speed is above 1
    print(f"perfect sharing: {ideal:.2f} h\n")
    print("| shards | none lost | lost, --resume | lost, from the start |\n| --- | --- | --- | --- |")
    for factor in (1, 2, 4, 8, 16, 64):
        count = given.workers * factor
        cells = []
        for lost, resume in ((0.0, True), (given.lost_an_hour, True), (given.lost_an_hour, False)):
            cluster = Cluster(given.workers, given.spread, given.start, lost, resume)
            mean = np.mean([hours([total / count] * count, cluster, seed) for seed in range(given.seeds)])
            cells.append(f"{mean:.2f} h ({mean / ideal:.2f})")
        print(f"| {count} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
