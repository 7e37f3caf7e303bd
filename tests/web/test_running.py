"""A server runs until a signal, then finishes what it is at and what comes after it."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request

import pytest

SERVER = """
from no_time_to_train.web.running import LOOPBACK, listen, origins_of, run_server

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})

listening = listen(LOOPBACK, 0)
print(origins_of(listening, LOOPBACK)[0], flush=True)
run_server(app, listening, lambda: print("told", flush=True))
print("after", flush=True)
"""

EARLY = """
import signal, socket, sys

class Early(socket.socket):
    def __enter__(self):  # after the last line that raises at a signal, before uvicorn has a handler
        signal.raise_signal(int(sys.argv[1]))
        return super().__enter__()

listening = Early(fileno=listening.detach())
run_server("""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_an_orderly_way(number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.read() == b"here"
    process.send_signal(number)
    assert process.communicate(timeout=30)[0] == "told\nafter\n"
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_last_moment_before_it_begins_ends_it(number: signal.Signals) -> None:
    code = SERVER.replace("run_server(app", EARLY.strip() + "app")
    command = [sys.executable, "-c", code, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("after\n")
