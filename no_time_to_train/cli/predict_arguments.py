"""What ``ntt predict`` is given: which images, how they are searched, and what is written."""

from __future__ import annotations

import argparse

DEFAULT_FORMATS = "coco,png,overlay,csv,html"


def add_predict_arguments(command: argparse.ArgumentParser) -> None:
    """All but the references and the models."""
    add_image_arguments(command)
    command.add_argument(
        "--shard",
        metavar="I/N",
        help="search the I-th of N equal shares of the images, from 1; ntt merge reads all together (all)",
    )
    command.add_argument("--out", default="found", metavar="FOLDER", help="where results go (%(default)s)")
    add_format_arguments(command)
    command.add_argument(
        "--min-score",
        type=float,
        default=0.5,
        help="least score of what is drawn and counted; predictions.json keeps all (%(default)s)",
    )
    command.add_argument(
        "--only-present",
        action="store_true",
        help="leave out classes that an image does not show at all; with --calibrate (off)",
    )
    command.add_argument(
        "--tile",
        type=read_tile,
        default="auto",
        metavar="SIDE",
        help="also search larger images in tiles of this side, in pixels; auto: where the references would "
        "be too small for SAM 2, and images of over four times its input; off: never (%(default)s)",
    )
    command.add_argument("--overlap", type=float, default=0.25, help="share of a tile (%(default)s)")
    command.add_argument(
        "--boxes",
        metavar="JSON",
        help="COCO results of any detector, image_id being the file name; a mask is made of each box (none)",
    )
    command.add_argument(
        "--proposals",
        choices=("boxes", "both"),
        help="masks of --boxes alone, or of the usual prompts as well (boxes)",
    )
    command.add_argument(
        "--max-boxes", type=int, default=100, metavar="N", help="of an image, the best (%(default)s)"
    )
    command.add_argument(
        "--batch-size", type=int, default=1, help="images that go through the networks together (%(default)s)"
    )
    command.add_argument(
        "--devices", default="1", metavar="N", help="processes, one for each device, or auto (%(default)s)"
    )
    command.add_argument(
        "--num-nodes", type=int, default=1, metavar="N", help="machines that share --out (%(default)s)"
    )
    going_on = command.add_mutually_exclusive_group()
    going_on.add_argument("--resume", action="store_true", help="go on with an interrupted run in --out")
    going_on.add_argument("--overwrite", action="store_true", help="replace the results in --out")


def add_image_arguments(command: argparse.ArgumentParser) -> None:
    """Which images."""
    pictures = command.add_mutually_exclusive_group(required=True)
    pictures.add_argument(
        "--images",
        nargs="+",
        metavar="PATH",
        help="folder of images, one image, a pattern such as '*.jpg', or several of these",
    )
    pictures.add_argument(
        "--list", metavar="FILE", help="text file with the path of an image on each line; -: standard input"
    )


def add_format_arguments(command: argparse.ArgumentParser) -> None:
    """What is written of the results."""
    command.add_argument(
        "--format",
        help="of coco, png, index, csv, crops, yolo, labelme, cvat, labelstudio, parquet, overlay, html "
        f"({DEFAULT_FORMATS})",
    )
    command.add_argument(
        "--pixel-size",
        metavar="SIZE",
        type=read_pixel_size,
        help="side of a pixel with its unit, such as 0.12mm: instances.csv and the report have sizes in it",
    )
    command.add_argument(
        "--copy-images",
        action="store_true",
        help="yolo and labelme get copies of the images, not links (off)",
    )


def read_pixel_size(text: str) -> str:
    """``--pixel-size``, refused when it is wrong, before anything is searched."""
    from no_time_to_train.errors import ConfigError
    from no_time_to_train.masks.measures import PixelSize

    try:
        PixelSize.read(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def read_tile(text: str) -> int | str:
    """``--tile``: a number of pixels, or a word that ``Segmenter.predict`` knows."""
    return int(text) if text.isdecimal() else text
