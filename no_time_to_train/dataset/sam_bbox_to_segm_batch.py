"""Turns a COCO file with boxes into one with masks, by prompting a segmenter with the boxes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from no_time_to_train.dataset.box_masks import add_masks
from no_time_to_train.dataset.coco_file import CocoFile
from no_time_to_train.dataset.coco_record import write_content
from no_time_to_train.dataset.reference_masks import MaskMaker
from no_time_to_train.dataset.shot_pictures import draw_shot
from no_time_to_train.errors import NoTimeToTrainError

MakerOfMaskMakers = Callable[[str, str, str, int], MaskMaker]
"""(checkpoint, model type, device, batch size) to a function that makes masks from boxes."""


def convert(
    input_json: str | Path,
    image_dir: str | Path,
    from_boxes: MaskMaker,
    *,
    form: str = "rle",
    visualize: bool = False,
) -> Path:
    """Write ``<input>_with_segm.json``, and with ``visualize`` pictures to ``<input>_with_SAM_segm/``.

    Returns:
        The path of the new file.
    """
    source = Path(input_json)
    content = add_masks(
        CocoFile.read(source), image_dir, from_boxes, "polygon" if form == "polygon" else "rle"
    )
    target = source.with_name(f"{source.stem}_with_segm.json")
    write_content(target, content)
    if visualize:
        made = CocoFile.read(target)
        folder = source.with_name(f"{source.stem}_with_SAM_segm")
        for annotation in made.annotations:
            draw_shot(made, image_dir, annotation, folder / f"{annotation.image_id}_{annotation.id}.png")
    return target


def main(build: MakerOfMaskMakers, argv: Sequence[str] | None = None) -> None:
    """Command line; the caller brings the model, so that this file knows no model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input_json", required=True, help="COCO annotations with boxes")
    parser.add_argument("--image_dir", required=True, help="folder of the images")
    parser.add_argument("--sam_checkpoint", required=True, help="SAM 2 or 2.1 checkpoint, or 'auto'")
    parser.add_argument("--model_type", default="auto", help="SAM 2 configuration; auto: read from the file")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch_size", type=int, default=16, help="boxes per call of the decoder")
    parser.add_argument("--visualize", action="store_true", help="also draw every mask")
    parser.add_argument("--polygons", action="store_true", help="write polygons, not exact run-length codes")
    options = parser.parse_args(argv)
    try:
        from_boxes = build(options.sam_checkpoint, options.model_type, options.device, options.batch_size)
        path = convert(
            options.input_json,
            options.image_dir,
            from_boxes,
            form="polygon" if options.polygons else "rle",
            visualize=options.visualize,
        )
    except NoTimeToTrainError as error:
        parser.exit(1, f"{error}\n")
    print(path)
