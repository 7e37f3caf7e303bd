"""Turns a COCO file with boxes into one with masks, by prompting SAM 2 with the boxes.

``python no_time_to_train/dataset/sam_bbox_to_segm_batch.py --input_json 10_shot.json --image_dir train
--sam_checkpoint checkpoints/sam2_hiera_large.pt``
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.references.masks import MaskMaker, add_masks
from no_time_to_train.dataset.shots.pictures import draw_shot
from no_time_to_train.errors import NoTimeToTrainError
from no_time_to_train.files import write_json

SAM1_TYPES = {"vit_h": "sam2_hiera_l", "vit_l": "sam2_hiera_b+", "vit_b": "sam2_hiera_s"}
"""The published tool took SAM 1; its names mean the SAM 2 of about that standing."""


def convert(
    input_json: str | Path,
    image_dir: str | Path,
    from_boxes: MaskMaker,
    *,
    form: Literal["rle", "polygon"] = "rle",
    visualize: bool = False,
) -> Path:
    """Write ``<input>_with_segm.json``, and with ``visualize`` pictures to ``<input>_with_SAM_segm/``.

    Args:
        from_boxes: makes the masks of one image.

    Returns:
        The path of the new file.
    """
    source = Path(input_json)
    content = add_masks(CocoFile.read(source), image_dir, from_boxes, form)
    target = source.with_name(f"{source.stem}_with_segm.json")
    write_json(target, content)
    if visualize:
        made = CocoFile.read(target)
        folder = source.with_name(f"{source.stem}_with_SAM_segm")
        for annotation in made.annotations:
            draw_shot(made, image_dir, annotation, folder / f"{annotation.image_id}_{annotation.id}.png")
    return target


def main(argv: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--input_json", required=True, help="COCO annotations with boxes")
    parser.add_argument("--image_dir", required=True, help="folder of the images")
    parser.add_argument("--sam_checkpoint", help="SAM 2 checkpoint, or auto; none for sam2_nano")
    parser.add_argument("--model_type", default="sam2_hiera_l", help="SAM 2 configuration of the checkpoint")
    parser.add_argument(
        "--device", default="auto", help="cuda, cpu or mps; auto takes cuda where there is one"
    )
    parser.add_argument("--batch_size", type=int, help="no longer needed: boxes go through in chunks")
    parser.add_argument("--visualize", action="store_true", help="also draw every mask")
    parser.add_argument("--polygons", action="store_true", help="write polygons, not exact run-length codes")
    options = parser.parse_args(argv)
    from no_time_to_train.pipeline.box_masks import sam2_from_boxes

    config_name = SAM1_TYPES.get(options.model_type, options.model_type)
    try:
        from_boxes = sam2_from_boxes(config_name, options.sam_checkpoint, options.device)
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


if __name__ == "__main__":
    main()
