"""``ntt serve``: a server without pages, for annotation tools and other programs."""

from __future__ import annotations

import argparse
import ipaddress
import os
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from no_time_to_train.cli.predict_arguments import read_tile
from no_time_to_train.cli.segmenter_arguments import (
    add_model_arguments,
    add_reference_arguments,
    build_segmenter,
)

SECONDS_TO_FINISH = 60
"""What requests in flight get when the server is told to stop; a full queue is worked off."""

EXAMPLE = "Example: ntt serve --memory memory.safetensors"


def run(arguments: argparse.Namespace) -> int:
    """Answer programs: POST /predict takes an image and gives masks; Label Studio can ask it as well."""
    from no_time_to_train.config import SearchConfig
    from no_time_to_train.serve.batches import Batches
    from no_time_to_train.serve.guard import Caller, ProgramGuard
    from no_time_to_train.serve.routes import Served
    from no_time_to_train.web.guards import Access
    from no_time_to_train.web.running import listen, origins_of, require_uvicorn, run_server

    require_uvicorn()
    with listen(arguments.host, arguments.port) as listening:
        finder = build_segmenter(arguments)
        limits = {"batch_size": arguments.batch_size, "most_waiting": arguments.max_waiting}
        batches = Batches(finder, SearchConfig(tile=arguments.tile), **limits)
        root = None if arguments.root is None else Path(arguments.root)
        most_pixels = int(arguments.max_megapixels * 1e6)
        served = Served(batches, arguments.min_score, most_pixels, root)
        origins = origins_of(listening, arguments.host)
        access = Access(origins, most_bytes=int(arguments.max_mb * 1e6))
        token = None if _is_loopback(arguments.host) else os.environ.get("NTT_TOKEN") or token_urlsafe(24)
        if token is not None:
            print(f"callers need the header Authorization: Bearer {token}", flush=True)
        print(origins[0], flush=True)
        try:
            guarded = ProgramGuard(served.app(), Caller(access, token))
            run_server(guarded, listening, lambda: None, seconds=SECONDS_TO_FINISH)
        finally:
            batches.close()
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("serve", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to serve at; at one that others can reach every caller needs a token, that of "
        "NTT_TOKEN or a new one (%(default)s)",
    )
    command.add_argument("--port", type=int, default=9090, help="0 takes a free one (%(default)s)")
    command.add_argument(
        "--root", metavar="FOLDER", help="of the images that Label Studio names as local files"
    )
    command.add_argument("--min-score", type=float, default=0.5, help="what is answered (%(default)s)")
    command.add_argument(
        "--tile",
        type=read_tile,
        default="auto",
        help="as of ntt predict: auto, off or a side in pixels (%(default)s)",
    )
    command.add_argument(
        "--batch-size",
        type=int,
        default=1,
        help="images that go through the networks together (%(default)s)",
    )
    command.add_argument(
        "--max-waiting", type=int, default=32, help="images that may wait; others get 503 (%(default)s)"
    )
    command.add_argument("--max-mb", type=float, default=32, help="of a request, in 10^6 bytes (%(default)s)")
    command.add_argument("--max-megapixels", type=float, default=50, help="of an image (%(default)s)")
    add_reference_arguments(command)
    add_model_arguments(command)
    command.set_defaults(run=run)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
