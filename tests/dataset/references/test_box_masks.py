"""Boxes and points become masks through whatever segmenter is handed in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from no_time_to_train.dataset.annotation_frames import segmentation_to_mask
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.references.crops import crop_reference
from no_time_to_train.dataset.references.masks import add_masks, complete_masks, segment_boxes
from no_time_to_train.dataset.sam_bbox_to_segm_batch import convert, main
from no_time_to_train.dataset.samples import Reference
from tests.dataset.samples import box_annotation, tiny_coco, write_image, write_json


def ellipses(image: np.ndarray, boxes: Tensor) -> Tensor:
    """Fill the ellipse inside each box; nothing in boxes narrower than 3 pixels."""
    y, x = torch.meshgrid(torch.arange(image.shape[0]), torch.arange(image.shape[1]), indexing="ij")
    masks = []
    for x1, y1, x2, y2 in boxes.tolist():
        inside = ((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2 <= 1
        masks.append(inside if x2 - x1 >= 3 else torch.zeros_like(inside))
    return torch.stack(masks)


def dots(image: np.ndarray, points: Tensor) -> Tensor:
    """A 3x3 square around each point."""
    masks = torch.zeros(len(points), *image.shape[:2], dtype=torch.bool)
    for mask, (x, y) in zip(masks, points.int().tolist(), strict=True):
        mask[y - 1 : y + 2, x - 1 : x + 2] = True
    return masks


def test_every_reference_gets_its_mask_and_the_order_stays(tmp_path: Path) -> None:
    a, b = write_image(tmp_path / "a.png"), write_image(tmp_path / "b.png")
    own = np.ones((60, 80), dtype=bool)
    references = [
        Reference(a, 0, 0, box=(10, 10, 20, 20)),
        Reference(b, 0, 1, box=(5, 5, 30, 30)),
        Reference(a, 1, 0, mask=own),
        Reference(a, 1, 1, point=(50, 30)),
        Reference(a, 1, 2, box=(40, 5, 10, 40)),
    ]
    calls: list[int] = []

    def counted(image: np.ndarray, boxes: Tensor) -> Tensor:
        calls.append(len(boxes))
        return ellipses(image, boxes)

    done = complete_masks(references, counted, dots)
    assert calls == [2, 1]
    assert [(r.label, r.slot) for r in done] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert done[2] is references[2]
    sums = [float(crop_reference(r, 64).mask.sum()) for r in done]
    assert all(total > 0 for total in sums)
    point = done[3].segmentation
    assert isinstance(point, dict)
    assert segmentation_to_mask(point, (60, 80)).sum() == 9


def test_prompts_are_in_the_pixels_of_the_image(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", (120, 160))
    reference = Reference(path, 0, 0, box=(10, 10, 20, 20), stated_size=(60, 80), name="a")
    with pytest.warns(UserWarning, match="using the image"):
        done = complete_masks([reference, replace(reference, box=None, point=(40, 30))], ellipses, dots)
    assert done[0].box == (20, 20, 40, 40)
    assert done[0].stated_size == (120, 160)
    assert isinstance(done[1].segmentation, dict)
    rows, columns = np.nonzero(segmentation_to_mask(done[1].segmentation, (120, 160)))
    assert (rows.mean(), columns.mean()) == (60, 80)


def test_an_unreadable_image_is_left_to_the_crops(tmp_path: Path) -> None:
    reference = Reference(tmp_path / "gone.png", 0, 0, box=(1, 1, 9, 9))
    assert complete_masks([reference], ellipses, dots) == [reference]


def test_a_mask_that_came_out_empty_is_the_box() -> None:
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    masks = segment_boxes(ellipses, image, [(10, 10, 2, 20), (10, 10, 20, 20)])
    assert [int(mask.sum()) for mask in masks] == [40, pytest.approx(np.pi * 100, rel=0.05)]
    assert segment_boxes(ellipses, image, []) == []
    with pytest.raises(ValueError, match=r"masks of shape \(1, 60, 80\) were wanted"):
        segment_boxes(lambda i, b: torch.zeros(1, 5, 5), image, [(1, 1, 2, 2)])


@pytest.mark.parametrize("form", ["rle", "polygon"])
def test_a_box_only_file_gets_masks(tmp_path: Path, form: str) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name)
    content = tiny_coco()
    for annotation in content["annotations"]:
        del annotation["segmentation"], annotation["area"]
    content["annotations"] += [
        box_annotation(4, 1, 3, [0, 0, 5, 5]),  # has a mask already
        box_annotation(5, 1, 3, [0, 0, 30, 30], iscrowd=1, segmentation=[]),
        box_annotation(6, 2, 3, [9, 9, 0, 0], segmentation=[]),
    ]
    made = CocoFile.read(add_masks(CocoFile.read(content), tmp_path, ellipses, form))  # type: ignore[arg-type]
    by_id = {annotation.id: annotation for annotation in made.annotations}
    assert sorted(by_id) == [1, 2, 3, 4, 5, 6]
    assert by_id[4].segmentation == content["annotations"][3]["segmentation"]
    assert by_id[5].segmentation is by_id[6].segmentation is None
    assert isinstance(by_id[1].segmentation, dict if form == "rle" else list)
    mask = segmentation_to_mask(by_id[1].segmentation, (60, 80))  # type: ignore[arg-type]
    assert by_id[1].area == mask.sum() == pytest.approx(np.pi * 100, rel=0.05)


def test_the_file_is_written_beside_its_source(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name)
    content = tiny_coco()
    for annotation in content["annotations"]:
        annotation["segmentation"] = []
    source = write_json(tmp_path / "10_shot.json", content)
    path = convert(source, tmp_path, ellipses, visualize=True)
    assert path == tmp_path / "10_shot_with_segm.json"
    assert all(annotation.segmentation for annotation in CocoFile.read(path).annotations)
    assert len(list((tmp_path / "10_shot_with_SAM_segm").iterdir())) == 3


def test_the_command_with_a_small_sam(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name)
    content = tiny_coco()
    for annotation in content["annotations"]:
        annotation["segmentation"] = []
    source = write_json(tmp_path / "x.json", content)
    words = ["--input_json", str(source), "--image_dir", str(tmp_path), "--sam_checkpoint", "random"]
    main([*words, "--model_type", "sam2_nano", "--device", "cpu"])
    path = Path(capsys.readouterr().out.strip())
    assert path.name == "x_with_segm.json"
    assert all(annotation.segmentation for annotation in CocoFile.read(path).annotations)
    with pytest.raises(SystemExit):
        main([*words, "--model_type", "sam9"])
    assert "sam9" in capsys.readouterr().err


def test_masks_are_made_in_the_frame_of_the_file(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", (120, 160))
    content = tiny_coco(annotations=[box_annotation(1, 1, 3, [10, 10, 20, 20], segmentation=[])])
    made = CocoFile.read(add_masks(CocoFile.read(content), tmp_path, ellipses))
    assert made.annotations[0].segmentation["size"] == [60, 80]  # type: ignore[index,call-overload]
    assert made.annotations[0].area == pytest.approx(np.pi * 100, rel=0.05)


def test_real_box_only_references(shared: Path) -> None:
    folder = shared / "data/benchmark-formats/cd-fsod-layout/BCCD/annotations"
    coco = CocoFile.read(folder / "1_shot.json")
    made = CocoFile.read(add_masks(coco, shared / "data/bccd/images", ellipses))
    assert [annotation.id for annotation in made.annotations] == [0, 1, 2]
    assert made.has_masks
