"""A Python that has imported the package already: real processes in milliseconds instead of ten seconds.

``python -m tests.quick_python SOCKET`` imports what commands need and waits. The script of the fixture takes
the place of ``python``: it hands over its arguments, directory, variables and streams, the waiting process
forks, and the fork runs them as ``__main__``. Each run is a process of its own, with its own exit code;
SIGINT and SIGTERM are handed on. Killing the script does not kill the fork: tests that kill use
``sys.executable``.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PRELOADED = (
    "no_time_to_train.api",
    "no_time_to_train.bench.accuracy.command",
    "no_time_to_train.bench.stages.run",
    "no_time_to_train.cli",
    "no_time_to_train.cli.predict",
    "no_time_to_train.cli.segmenter_arguments",
    "no_time_to_train.dataset.export",
    "no_time_to_train.evaluation.coco_ap",
    "no_time_to_train.models.Sam2MatchingBaseline_noAMG",
    "no_time_to_train.models.encoders.backbones",
    "no_time_to_train.pl_wrapper.lightning_cli",
    "no_time_to_train.report.html",
    "hydra",
    "scipy.ndimage",
)

CLIENT = """\
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as to:
    to.connect({address!r})
    socket.send_fds(to, [b"x"], [0, 1, 2])
    to.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n")
    answer = to.makefile()
    child = int(answer.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(child, number))
    ended = int(answer.readline() or -9)
if ended < 0:
    os.kill(os.getpid(), -ended)
sys.exit(ended)
"""


@pytest.fixture(scope="session")
def quick_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What a test uses instead of ``sys.executable`` where an interpreter's own start proves nothing more."""
    folder = tmp_path_factory.mktemp("quick")
    address, client, script = (folder / name for name in ("socket", "client.py", "python"))
    client.write_text(CLIENT.format(address=str(address)))
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{client}" "$@"\n')
    script.chmod(0o755)
    command = [sys.executable, "-m", "tests.quick_python", str(address)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # a process of several threads cannot fork safely
    with subprocess.Popen(command, cwd=ROOT, env=one_thread, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield str(script)
        server.kill()


def serve(address: Path) -> None:
    """Fork for each connection; returns in a fork, when what it ran has ended."""
    for name in PRELOADED:
        importlib.import_module(name)
    sys.executable = str(address.with_name("python"))  # what a run starts itself is quick as well
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                break
            connection.close()
    _answer(connection)


def _answer(connection: socket.socket) -> None:
    """Fork once more, for what the connection asks for; the fork returns, its parent tells its exit code."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    arguments, folder, variables = json.loads(connection.makefile().readline())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():
        connection.sendall(f"{child}\n".encode())
        connection.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    _run(arguments)


def _run(words: list[str]) -> None:
    """As the interpreter would: ``-m module``, ``-c code`` or a file."""
    sys.argv = words[1:] if words[0] == "-m" else words
    if words[0] == "-c":
        exec(words[1], {"__name__": "__main__"})
    elif words[0] == "-m":
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")


def exit_code() -> int:
    """Of what ended, as the interpreter tells it; its own way out would free all of torch first."""
    end = sys.exc_info()[1]
    if not isinstance(end, SystemExit):
        traceback.print_exc()
        return 1
    if isinstance(end.code, str):
        print(end.code, file=sys.stderr)
    return end.code if isinstance(end.code, int) else int(end.code is not None)


if __name__ == "__main__":
    code = 0
    try:
        serve(Path(sys.argv[1]))
    except BaseException:
        code = exit_code()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)
