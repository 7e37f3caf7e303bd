"""The context crop of section 3, number for number, and its guarded corners."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.transform import resize

from no_time_to_train.dataset.annotation_frames import box_mask
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco
from no_time_to_train.dataset.references.crops import (
    CropOptions,
    ReferenceCrops,
    clip_window,
    context_window,
    crop_reference,
)
from no_time_to_train.dataset.samples import Reference, Unreadable
from no_time_to_train.errors import DatasetError
from no_time_to_train.results import ReferenceCrop
from tests.dataset.samples import write_image

IMAGE = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
MASK = np.zeros((60, 80), dtype=bool)
MASK[15:35, 20:40] = True
REFERENCE = Reference(
    IMAGE, label=1, slot=2, box=(20, 15, 20, 20), mask=MASK, name="x.png, annotation 3 (fig)"
)


def test_the_window_by_hand() -> None:
    # corners int(10.9), int(20.2), int(10.9 + 30.5), int(20.2 + 10.9) = 10, 20, 41, 31; sides 31 and 11;
    # t = 31 * 1.2 = 37.2, middle (25.5, 25.5); corners int(25.5 -+ 18.6) = int(6.9), int(44.1)
    assert context_window((10.9, 20.2, 30.5, 10.9), 0.2) == (6, 6, 44, 44)
    assert clip_window((6, 6, 44, 44), (40, 50)) == (6, 6, 44, 40)
    # a window over the top left corner: int() goes towards zero, then 0 is the border
    assert context_window((0, 0, 10, 10), 0.2) == (-1, -1, 11, 11)
    assert clip_window((-1, -1, 11, 11), (40, 50)) == (0, 0, 11, 11)


def test_the_crop_is_torch_bicubic_and_bilinear_without_antialias() -> None:
    crop = crop_reference(REFERENCE, 74)
    window = IMAGE[13:37, 18:42]  # t = 24 around (30, 25)
    expected = torch.from_numpy(window).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(
        crop.image, F.interpolate(expected[None], (74, 74), mode="bicubic", align_corners=False)[0]
    )
    soft = torch.from_numpy(MASK[13:37, 18:42]).float()[None, None]
    torch.testing.assert_close(
        crop.mask, F.interpolate(soft, (74, 74), mode="bilinear", align_corners=False)[0, 0]
    )
    assert (crop.label, crop.slot, crop.name) == (1, 2, "x.png, annotation 3 (fig)")


def test_the_bicubic_filter_overshoots_unless_clamped() -> None:
    noise = np.random.default_rng(0).integers(0, 2, (60, 80, 3), dtype=np.uint8) * 255
    reference = replace(REFERENCE, image=noise)
    free = crop_reference(reference, 101).image
    assert free.min() < -0.05
    assert free.max() > 1.05
    torch.testing.assert_close(
        crop_reference(reference, 101, CropOptions(clamp=True)).image, free.clamp(0, 1)
    )


def test_a_crop_at_the_border_is_stretched_or_padded() -> None:
    mask = np.zeros_like(MASK)
    mask[:20, :10] = True
    reference = replace(REFERENCE, box=(0, 0, 10, 20), mask=mask)  # window (-7, -2, 17, 22)
    stretched = crop_reference(reference, 48)
    padded = crop_reference(reference, 48, CropOptions(pad=True))
    assert stretched.mask.mean() == pytest.approx(200 / (17 * 22), abs=0.01)
    assert padded.mask.mean() == pytest.approx(200 / (24 * 24), abs=0.01)
    assert padded.mask[:, :12].max() < 0.5  # left of the image
    assert padded.image[:, 24, :10].std(1).max() < 0.05  # one colour there


def test_other_deviations() -> None:
    whole = crop_reference(REFERENCE, 60, CropOptions(whole_image=True))
    assert whole.mask.mean() == pytest.approx(MASK.mean(), abs=0.01)
    area = crop_reference(REFERENCE, 8, CropOptions(mask_resize="area"))
    # each of the 8 cells is 3 px wide; the object is 2..22 of 24: cell 0 holds 1 px of 3 a side
    assert area.mask[0, 0] == pytest.approx(1 / 9)
    assert area.mask[0, 4] == pytest.approx(1 / 3)
    assert area.mask.mean() == pytest.approx(400 / 576)
    smooth = crop_reference(REFERENCE, 8, CropOptions(antialias=True)).image
    expected = resize(IMAGE[13:37, 18:42] / 255, (8, 8), order=3, anti_aliasing=True)
    sharp = crop_reference(REFERENCE, 8).image
    distance = [float((one.permute(1, 2, 0).numpy() - expected).std()) for one in (smooth, sharp)]
    assert distance[0] < distance[1]


@pytest.mark.filterwarnings("ignore:.*does not meet the mask")
@given(x=st.floats(-20, 90), y=st.floats(-20, 70), w=st.floats(0, 60), h=st.floats(0, 60), pad=st.booleans())
def test_no_box_breaks_the_crop(x: float, y: float, w: float, h: float, pad: bool) -> None:
    crop = crop_reference(replace(REFERENCE, box=(x, y, w, h)), 16, CropOptions(pad=pad))
    assert crop.image.shape == (3, 16, 16)
    assert torch.isfinite(crop.image).all()
    assert 0 <= crop.mask.min() <= crop.mask.max() <= 1
    assert crop.mask.any()


def test_a_box_beside_its_mask_gives_way_to_it() -> None:
    with pytest.warns(UserWarning, match=r"\(fig\): the box does not meet the mask; using the mask"):
        found = crop_reference(replace(REFERENCE, box=(60, 50, 5, 5)), 32)
    torch.testing.assert_close(found.image, crop_reference(REFERENCE, 32).image)


@pytest.mark.parametrize("box", [(44.0, 0.0, 41.0, 1.0), (3.0, 6.0, 58.0, 1.0)])
def test_a_line_is_not_lost_between_the_samples(box: tuple[float, float, float, float]) -> None:
    mask = box_mask(box, MASK.shape)
    crop = crop_reference(replace(REFERENCE, mask=mask, box=box), 16, CropOptions(pad=True))
    assert crop.mask.any()


def test_a_tiny_reference_still_fills_its_crop() -> None:
    mask = np.zeros_like(MASK)
    mask[30:34, 40:44] = True
    crop = crop_reference(replace(REFERENCE, mask=mask, box=(40, 30, 4, 4)), 518)
    assert crop.mask.mean() > 0.5


def test_without_a_box_the_mask_has_one() -> None:
    found = crop_reference(replace(REFERENCE, box=None), 32)
    torch.testing.assert_close(found.image, crop_reference(REFERENCE, 32).image)
    zero = crop_reference(replace(REFERENCE, box=(20, 15, 0, 0)), 32)
    torch.testing.assert_close(zero.image, found.image)


def test_a_box_alone_needs_a_mask_or_leave_to_be_one() -> None:
    reference = replace(REFERENCE, mask=None)
    with pytest.raises(DatasetError, match=r"has a box but no mask.*box_as_mask"):
        crop_reference(reference, 32)
    torch.testing.assert_close(
        crop_reference(reference, 32, CropOptions(box_as_mask=True)).mask, crop_reference(REFERENCE, 32).mask
    )


def test_an_empty_mask_is_named() -> None:
    with pytest.raises(DatasetError, match=r"x\.png, annotation 3 \(fig\): the mask is empty"):
        crop_reference(replace(REFERENCE, mask=np.zeros_like(MASK)), 32)


def test_annotations_follow_an_image_that_was_resized(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.png", (120, 160))
    polygon = [[20.0, 15, 40, 15, 40, 35, 20, 35]]
    reference = Reference(path, 0, 0, box=(20, 15, 20, 20), segmentation=polygon, stated_size=(60, 80))
    with pytest.warns(UserWarning, match="annotations say 80x60, the image is 160x120; using the image"):
        small = crop_reference(reference, 48)
    right = replace(
        reference, box=(40, 30, 40, 40), segmentation=[[2 * v for v in polygon[0]]], stated_size=(120, 160)
    )
    torch.testing.assert_close(small.image, crop_reference(right, 48).image)
    torch.testing.assert_close(small.mask, crop_reference(right, 48).mask)


def test_zero_sizes_in_the_file_are_no_matter(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 0, "width": 0}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [5, 5, 9, 9],
                "segmentation": [[5, 5, 14, 5, 14, 14]],
            }
        ],
        "categories": [{"id": 1, "name": "x"}],
    }
    coco = CocoFile.read(content, warn=False)
    reference = references_from_coco(coco, tmp_path, category_map(coco))[0]
    assert crop_reference(reference, 32).mask.mean() > 0.1


def test_unreadable_references_are_skipped_or_stop(tmp_path: Path) -> None:
    gone = replace(REFERENCE, image=tmp_path / "gone.png")
    crops = ReferenceCrops([REFERENCE, gone], 32, skip_unreadable=True)
    found = crops[1]
    assert isinstance(found, Unreadable)
    assert "gone.png" in found.reason
    assert found.sample is gone
    assert isinstance(crops[0], ReferenceCrop)
    with pytest.raises(DatasetError, match=r"gone\.png"):
        ReferenceCrops([gone], 32)[0]


def test_several_instances_of_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_image(tmp_path / "x.png")
    boxes = [(5, 5, 20, 20), (30, 10, 20, 30), (50, 40, 25, 15)]
    references = [Reference(path, 0, slot, box=box) for slot, box in enumerate(boxes)]
    opened: list[object] = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: opened.append(a) or original(*a, **k))  # type: ignore[func-returns-value]
    crops = ReferenceCrops(references, 32, CropOptions(box_as_mask=True))
    images = [crop.image for crop in (crops[0], crops[1], crops[2]) if isinstance(crop, ReferenceCrop)]
    assert len(opened) == 1
    assert all(not torch.equal(images[0], other) for other in images[1:])


def test_the_real_references_of_fruits_nuts(shared: Path) -> None:
    coco = CocoFile.read(shared / "data/fruits-nuts/annotations/train.json")
    references = references_from_coco(coco, shared / "data/fruits-nuts/images", category_map(coco), 5)
    crops = ReferenceCrops(references, 64)
    assert len(crops) == 15
    for index in range(0, 15, 5):
        crop = crops[index]
        assert isinstance(crop, ReferenceCrop)
        assert 0.15 < crop.mask.mean() < 0.75
