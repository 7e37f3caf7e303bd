"""What each engine takes and changes: networks, a whole picture and AP, one table by one command.

    python -m benchmarks.engines --networks dinov3_small sam2_tiny whole --threads 1 2

Each row is a process of its own. Finished rows are kept in ``--ledger`` and not measured again on the same
processor with the same libraries, so that the table may grow in parts; it is printed in whole each time.
Large networks have random weights, under which every part has a say; the nano models have theirs. CPU s and
wall s: of one picture, the best of --repeats, after one that does not count. MB: highest memory above what
the process had before the network was opened, weights included. Cosine: mean and lowest of any place, against
torch in fp32, of the worst output. Rows:

- a preset, or sam2_<size>: its image encoder;
- decoder: 64 points of SAM 2 (tiny; all sizes have this decoder) by our decoder in torch, or by its graph;
- whole: a picture at the published size (DINOv2-L, SAM 2-L, 1024 points), CPU s of its parts, and how many of
  torch's instances in fp32 are found again;
- ap-demo, ap-fruits (needs --data): AP with the embedded models, five references of a class.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from no_time_to_train.models.engines.sessions import processor

Row = dict[str, Any]
NAMED = ("what", "engine", "precision", "threads")
COLUMNS = (*NAMED, "cpu_s", "wall_s", "mb", "file_mb", "cosine", "note")
ENGINES = (
    *(("torch", "fp32"), ("torch", "bf16"), ("compiled", "fp32"), ("compiled", "bf16")),
    *(("onnxruntime", "fp32"), ("onnxruntime", "int8")),
    *(("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8")),
)
NETWORKS = (
    *("dinov3_small", "dinov3_base", "dinov3_large", "sam2_nano", "sam2_tiny", "sam2_large", "decoder"),
    *("whole", "ap-demo", "ap-fruits"),
)
OFFERED = {
    "decoder": ("torch:fp32", "torch:bf16", "onnxruntime:fp32"),
    "whole": ("torch:fp32", "torch:bf16", "onnxruntime:fp32", "openvino:fp32", "openvino:bf16"),
    "ap-demo": ("torch:fp32", "torch:bf16", "compiled:fp32", "onnxruntime:fp32", "openvino:fp32"),
}
"""Engines of rows that not all of them have; AP only where the embedded models pass the check."""


def offered(what: str, engine: str) -> bool:
    """Whether there is such a row."""
    return engine in OFFERED.get("ap-demo" if what == "ap-fruits" else what, (engine,))


def machine() -> str:
    """What the figures of a row hold for."""
    told = [processor()]
    for library in ("torch", "onnxruntime", "openvino"):
        try:
            told.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            told.append(f"no {library}")
    return ", ".join(told)


class Ledger:
    """Finished rows, one JSON line each; of two with the same names the later one counts."""

    def __init__(self, path: Path) -> None:
        self.path, self.machine = path, machine()
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.rows = {self._key(row): row for row in map(json.loads, lines) if row["machine"] == self.machine}

    def __contains__(self, row: Row) -> bool:
        return self._key(row) in self.rows

    def add(self, row: Row) -> None:
        """Keep a row."""
        self.rows[self._key(row)] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**row, "machine": self.machine}) + "\n")

    def table(self) -> str:
        """In Markdown."""
        order = {name: place for place, name in enumerate(NETWORKS)}
        rows = sorted(self.rows.values(), key=lambda row: order.get(row["what"], len(order)))
        head = f"{self.machine}\n\n| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}"
        return "\n".join([head, *map(line, rows)])

    @staticmethod
    def _key(row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in NAMED)


def line(row: Row) -> str:
    """In Markdown."""
    cells = [row.get(column, "") for column in COLUMNS]
    told = [f"{cell:.3g}" if isinstance(cell, float) and cell < 1000 else cell for cell in cells]
    return f"| {' | '.join(f'{cell:.0f}' if isinstance(cell, float) else str(cell) for cell in told)} |"


def measure(row: Row, args: argparse.Namespace) -> Row:
    """The row with its figures, or with the reason why there are none."""
    words = [row["what"], f"{row['engine']}:{row['precision']}", "--threads", str(row["threads"])]
    words += ["--repeats", str(args.repeats), "--graphs", str(args.graphs), "--data", str(args.data)]
    command = [sys.executable, "-m", "benchmarks.engine_rows", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return row | json.loads(done.stdout.strip().splitlines()[-1])
    reason = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return row | {"note": reason[:200].replace("|", "/")}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--engines", nargs="*", default=[":".join(pair) for pair in ENGINES])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--graphs", type=Path, default=Path("runs/graphs"), help="where graphs are kept")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--ledger", type=Path, default=Path("runs/engines.jsonl"), help="of finished rows")
    return parser.parse_args()


def main() -> None:
    """Measure what is not in the ledger, and print the table."""
    args = parse_args()
    ledger = Ledger(args.ledger)
    for what in args.networks:
        for engine in filter(lambda engine: offered(what, engine), args.engines):
            for threads in args.threads:
                row: Row = dict(zip(NAMED, (what, *engine.split(":"), threads), strict=True))
                if row not in ledger:
                    row = measure(row, args)
                    print(line(row), file=sys.stderr, flush=True)
                    if "cpu_s" in row:
                        ledger.add(row)
    print(ledger.table())


if __name__ == "__main__":
    main()
