"""``ntt export``: a part of the model as a graph for other engines, compared with torch first."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from no_time_to_train.cli.segmenter_arguments import add_model_arguments, model_arguments

EXAMPLE = (
    "Needs pip install 'no-time-to-train[onnx]'. "
    "Example: ntt export encoder --encoder dinov3_nano --sam2 sam2_nano --pictures pictures/ --out graphs/"
)


def run(arguments: argparse.Namespace) -> int:
    """Write a part as an ONNX graph, when its figures on your images are near enough to those of torch."""
    from no_time_to_train.api import Segmenter
    from no_time_to_train.errors import ConfigError

    if arguments.int8 != (arguments.calibrate is not None):
        raise ConfigError("--int8 is calibrated on images: give --int8 and --calibrate PATH, or neither")
    models = model_arguments(arguments)
    compared = {"backend": models.pop("backend", None), "precision": models.pop("precision", None)}
    finder = Segmenter(arguments.encoder, arguments.sam2, **models)
    if arguments.references is not None:
        finder.add_folder(arguments.references)
    report = finder.export(
        arguments.part,
        Path(arguments.out),
        arguments.pictures,
        calibrate=arguments.calibrate,
        points=arguments.points,
        **{name: value for name, value in compared.items() if value is not None},
    )
    print(report)
    return 0


def add_to(commands: Any) -> None:
    """Register the sub-command."""
    command = commands.add_parser("export", help=run.__doc__, description=f"{run.__doc__} {EXAMPLE}")
    command.add_argument("part", choices=("encoder", "sam2-image", "decoder"), help="of the model")
    command.add_argument("--to", choices=("onnx",), default="onnx", help="form of the graph (%(default)s)")
    command.add_argument(
        "--out", default="graphs", metavar="PATH", help="folder, or .onnx file (%(default)s)"
    )
    command.add_argument(
        "--pictures",
        required=True,
        metavar="PATH",
        help="to compare on: folder or image; the first 8 count",
    )
    command.add_argument(
        "--references", metavar="PATH", help="compare final instances too, of these references (no)"
    )
    command.add_argument(
        "--int8", action="store_true", help="eight bits, by NNCF; needs the extra int8 (off)"
    )
    command.add_argument("--calibrate", metavar="PATH", help="for --int8: images; the first 64 count")
    command.add_argument("--points", type=int, default=16, help="of the decoder, in one call (%(default)s)")
    add_model_arguments(command)
    command.set_defaults(run=run)
