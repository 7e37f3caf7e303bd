"""``python -m tools.soak``: many small runs that are killed, stopped, or run out of disk, and gone on with.

Runs of ``ntt predict``, ``run_lightening.py``, ``ntt demo`` and ``ntt app`` end at random moments by SIGKILL,
SIGTERM, SIGINT or a full disk, and are gone on with. Counted is what was lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

from no_time_to_train.scenes import write_demo_dataset
from tools.soak.app import LONGEST, app_round
from tools.soak.runs import ENDS, LOST, kinds_of, one_round, whole_run


def main(words: list[str] | None = None) -> int:
    """Run, print counts, and return 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="at most (%(default)s)")
    parser.add_argument("--ends", type=int, default=200, help="kills, signals and full disks (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(words)
    import no_time_to_train.api
    import no_time_to_train.app.server
    import no_time_to_train.pl_wrapper.lightning_cli  # noqa: F401  # so that no run waits for it

    until, random = time.monotonic() + 60 * arguments.minutes, Random(arguments.seed)
    with tempfile.TemporaryDirectory() as place:
        data = write_demo_dataset(Path(place) / "data", num_targets=4, num_classes=2, shots=1, size=96)
        kinds = kinds_of(data)
        whole_of = cache(lambda name: whole_run(kinds[name], Path(place) / name))
        counts = {name: Counter[str]() for name in [*kinds, "app"]}
        while time.monotonic() < until and _ended(counts) < arguments.ends:
            name = random.choice([*counts])
            if name == "app":
                app_round(data, LONGEST, random, counts[name])
            else:
                one_round(kinds[name], *whole_of(name), random, counts[name])
    for name, found in counts.items():
        ends = ", ".join(f"{found[end]} {end}" for end in dict.fromkeys(ENDS))
        print(
            f"{name}: {found['rounds']} runs, ended early {sum(found[e] for e in set(ENDS))} times ({ends})"
        )
        for what in LOST:
            print(f"    {found[what]:4} {what}")
    lost = sum(found[what] for found in counts.values() for what in LOST)
    print(f"{_ended(counts)} ends, {lost} losses")
    return int(lost > 0)


def _ended(counts: dict[str, Counter[str]]) -> int:
    return sum(found[end] for found in counts.values() for end in set(ENDS))


if __name__ == "__main__":
    sys.exit(main())
