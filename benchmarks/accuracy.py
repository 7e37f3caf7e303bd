"""What each part of the method brings: the table of docs/accuracy.md. The same as ``ntt bench --accuracy``.

python -m benchmarks.accuracy --data ../shared/data --page docs/accuracy.md
"""

from __future__ import annotations

from no_time_to_train.bench.accuracy.command import main

if __name__ == "__main__":
    raise SystemExit(main(prog="python -m benchmarks.accuracy"))
