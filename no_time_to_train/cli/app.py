"""``ntt app``: the whole loop in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from no_time_to_train.cli.segmenter_arguments import add_model_arguments, model_arguments

if TYPE_CHECKING:
    from no_time_to_train.api import Segmenter
    from no_time_to_train.app.routes import App

EXAMPLE = "Example: ntt app pictures/"


def run(arguments: argparse.Namespace) -> int:
    """Show an object, see all of its kind in a folder of images, correct and export, in the browser."""
    from no_time_to_train.web.running import require_uvicorn

    require_uvicorn()
    from no_time_to_train.app.imports import import_annotations
    from no_time_to_train.app.server import run_app

    def make_finder(cache: Path) -> Segmenter:
        from no_time_to_train.api import Segmenter

        options = model_arguments(arguments)
        return Segmenter(arguments.encoder, arguments.sam2, **{"cache": cache, **options})

    def take_in(app: App) -> None:
        for source, review in ((arguments.annotations, False), (arguments.review, True)):
            if source is not None:
                print(
                    import_annotations(app.project, app.search.finder.model, source, review=review),
                    flush=True,
                )

    run_app(
        arguments.pictures,
        make_finder,
        folder=arguments.project,
        prepare=take_in,
        host=arguments.host,
        port=arguments.port,
        browser=not arguments.no_browser,
    )
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("app", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument("pictures", metavar="FOLDER", help="of images; none of them is copied or changed")
    command.add_argument(
        "--project", metavar="FOLDER", help="what you do is kept there (FOLDER-ntt, beside it)"
    )
    command.add_argument(
        "--import",
        dest="annotations",
        metavar="PATH",
        help="annotations of these images, in any known format; they are confirmed, and references",
    )
    command.add_argument(
        "--review", metavar="PATH", help="results of ntt predict, or annotations, as candidates to decide"
    )
    command.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to serve at; with another one than %(default)s everybody in the network who has the "
        "printed address, with its token, can see and change the project",
    )
    command.add_argument("--port", type=int, default=0, help="0 takes a free one (%(default)s)")
    command.add_argument("--no-browser", action="store_true", help="print the address only (off)")
    add_model_arguments(command)
    command.set_defaults(run=run)
