"""Load on ``ntt serve`` over loopback: requests a second, p50 and p99, memory, and what is lost at the end.

python -m benchmarks.serve_load --seconds 20 --clients 1 2 4 16
"""

from __future__ import annotations

import argparse
import io
import re
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from PIL import Image

from no_time_to_train import Segmenter
from no_time_to_train.scenes import write_demo_dataset

OPTIONS = {"points_per_side": 8, "img_size": 192, "iou_thr": 0.3}


def prepare(root: Path) -> tuple[Path, bytes]:
    """A memory of generated scenes with the nano models, and a picture to ask about."""
    data = write_demo_dataset(root / "scenes", seed=3, num_targets=1, num_classes=3, shots=2, size=256)
    finder = Segmenter("dinov3_nano", "sam2_nano", device="cpu", **OPTIONS)
    finder.add_folder(data.references, images=data.root)
    picture = io.BytesIO()
    Image.open(sorted(data.images.iterdir())[-1]).convert("RGB").save(picture, "png")
    return finder.save(root / "memory.safetensors"), picture.getvalue()


def ask(address: str, picture: bytes) -> tuple[int, float]:
    """Status and seconds of one request."""
    started = time.monotonic()
    try:
        with urlopen(Request(address, picture, {"Content-Type": "image/png"}), timeout=120) as answer:
            answer.read()
            return answer.status, time.monotonic() - started
    except HTTPError as error:
        with error:
            return error.code, time.monotonic() - started


def resident_mb(process: int) -> float:
    """Memory of a process (Linux)."""
    text = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1000  # type: ignore[index]


def load(address: str, picture: bytes, clients: int, seconds: float) -> list[tuple[int, float]]:
    """All answers that clients get, each asking again as soon as it has one."""
    end = time.monotonic() + seconds

    def client(_: int) -> list[tuple[int, float]]:
        answers = []
        while time.monotonic() < end:
            answers.append(ask(address, picture))
        return answers

    with ThreadPoolExecutor(clients) as pool:
        return [answer for answers in pool.map(client, range(clients)) for answer in answers]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 16])
    parser.add_argument("--max-waiting", default="8")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        memory, picture = prepare(Path(folder))
        command = [sys.executable, "-m", "no_time_to_train.cli", "serve", "--memory", str(memory)]
        command += ["--port", "0", "--device", "cpu", "--max-waiting", given.max_waiting]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        address = process.stdout.readline().strip() + "/predict"
        for _ in range(5):
            ask(address, picture)
        print("| clients | answered a second | p50 ms | p99 ms | refused (503) | other | memory MB |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for clients in given.clients:
            answers = load(address, picture, clients, given.seconds)
            good = [took for status, took in answers if status == 200]
            refused = sum(status == 503 for status, _ in answers)
            p50, p99 = 1000 * np.percentile(good, [50, 99])
            other = len(answers) - len(good) - refused
            rate = len(good) / given.seconds
            print(
                f"| {clients} | {rate:.1f} | {p50:.0f} | {p99:.0f} | {refused} | {other} "
                f"| {resident_mb(process.pid):.0f} |",
                flush=True,
            )
        with ThreadPoolExecutor(6) as pool:
            last = [pool.submit(ask, address, picture) for _ in range(6)]
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            print(
                f"\nasked and then told to stop: {[one.result()[0] for one in last]}, exit {process.wait()}"
            )


if __name__ == "__main__":
    main()
