"""``python -m tools.fuzz``: damaged files into every reader; a traceback, a signal or 2 GB is a fault.

Seeded: the same arguments give the same files. ``--cases`` bounds the work, ``--seconds`` the time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from no_time_to_train.errors import NoTimeToTrainError
from tools.fuzz.damage import damaged
from tools.fuzz.seeds import write_seeds
from tools.fuzz.targets import TARGETS, use

MOST_BYTES = 2 * 2**30
SLOWEST = 20.0
"""Seconds for one small file; what takes longer holds up whoever opens it."""


def one_case(name: str, number: int, seed: int, folder: Path) -> str:
    """Damage a fresh file and read it; empty where it was read or refused, else the place of the fault."""
    path = folder / TARGETS[name][0]
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, Random(f"{seed}/{name}/{number}")))
    started = time.monotonic()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            use(name, folder)
    except NoTimeToTrainError:
        pass
    except Exception as error:
        inner = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in inner if "no_time_to_train" in frame.filename] or inner
        return f"{type(error).__name__} at {Path(own[-1].filename).name}:{own[-1].lineno}: {str(error)[:100]}"
    finally:
        path.write_bytes(whole)
    spent = time.monotonic() - started
    return f"{spent:.0f} seconds" if spent > SLOWEST else ""


def _work(name: str, numbers: range, seed: int, folder: Path, results: Connection) -> None:
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES * 4, MOST_BYTES * 4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # what the process began with is no fault
    for number in numbers:
        results.send((number, None))
        results.send((number, one_case(name, number, seed, folder)))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    results.send((None, grown * 1024))


def faults_of(name: str, cases: int, seed: int, seeds: Path, until: float) -> Iterator[tuple[int, str]]:
    """Number and fault of each case, in a process of its own, so that a signal ends one case only."""
    number = 0
    while number < cases and time.monotonic() < until:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(seeds, folder, dirs_exist_ok=True)
            receive, send = multiprocessing.Pipe(duplex=False)
            args = (name, range(number, cases), seed, Path(folder), send)
            process = multiprocessing.get_context("fork").Process(target=_work, args=args)
            process.start()
            send.close()
            ended = False
            with contextlib.suppress(EOFError):
                while time.monotonic() < until:
                    if not receive.poll(SLOWEST * 3):
                        yield number, f"no answer in {SLOWEST * 3:.0f} s"
                        number += 1
                        break
                    which, fault = receive.recv()
                    if which is None:
                        ended = True
                        if fault > MOST_BYTES:
                            yield cases - 1, f"{fault / 2**30:.1f} GB of memory"
                        break
                    number = which
                    if fault is not None:
                        yield number, fault
                        number += 1
                else:
                    ended = True
            process.kill()
            process.join()
            if ended:
                return
            if process.exitcode not in (0, -9):
                yield number, f"signal or exit {process.exitcode}"
                number += 1


def main(words: list[str] | None = None) -> int:
    """Run, print a table, and return how many faults there were, at most 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=40, help="of each reader (%(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most, for all (no bound)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=sorted(TARGETS), help="these readers")
    arguments = parser.parse_args(words)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    until = time.monotonic() + arguments.seconds
    total, places = 0, Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        write_seeds(Path(folder))
        for name in arguments.only or TARGETS:
            done = list(faults_of(name, arguments.cases, arguments.seed, Path(folder), until))
            bad = [(number, fault) for number, fault in done if fault]
            total += len(done)
            places.update(f"{name}: {fault.partition(': ')[0]}" for _, fault in bad)
            print(f"{name:24} {len(done):5} files {len(bad):4} faults", flush=True)
            for number, fault in bad[:10]:
                print(f"    case {number}: {fault}")
    print(f"{total} files, {sum(places.values())} faults at {len(places)} places")
    return int(bool(places))


if __name__ == "__main__":
    sys.exit(main())
