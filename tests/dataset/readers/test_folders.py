"""Plain folders of classes, with masks in every shape that people leave them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from no_time_to_train.dataset.annotation_frames import segmentation_to_mask
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.coco.reader import category_map, references_from_coco
from no_time_to_train.dataset.readers.folders import read_class_folders
from no_time_to_train.dataset.readers.mask_images import read_alpha_mask, read_mask_instances
from no_time_to_train.dataset.references.crops import crop_reference
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import write_image, write_json

LEFT = np.zeros((60, 80), dtype=np.uint8)
LEFT[10:20, 5:15] = 1
RIGHT = np.zeros((60, 80), dtype=np.uint8)
RIGHT[30:50, 40:60] = 1


def save(path: Path, values: np.ndarray, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **more)
    return path


def areas(folder: Path, images: Path | None = None) -> dict[str, list[float]]:
    """Areas by class and image."""
    content, _ = read_class_folders(folder, images)
    coco = CocoFile.read(content)
    names = {category["id"]: category["name"] for category in coco.categories}
    found: dict[str, list[float]] = {}
    for annotation in coco.annotations:
        key = f"{names[annotation.category_id]}:{coco.images[annotation.image_id].file_name}"
        found.setdefault(key, []).append(float(annotation.area or 0))
    return found


def test_one_file_per_instance_beside_the_image(tmp_path: Path) -> None:
    write_image(tmp_path / "date" / "my photo.jpg")
    save(tmp_path / "date" / "my photo_mask_1.png", LEFT * 255)
    save(tmp_path / "date" / "my photo_mask_2.png", RIGHT * 255)
    write_image(tmp_path / "fig" / "0.png")
    save(tmp_path / "fig" / "0_mask.png", LEFT)
    assert areas(tmp_path) == {"date:date/my photo.jpg": [100, 400], "fig:fig/0.png": [100]}


@pytest.mark.parametrize("name", ["0_mask", "0.mask", "0-mask", "0_masks", "0_mask3", "0_mask-3", "0_MASK"])
def test_names_of_masks(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "date" / "0.jpg")
    save(tmp_path / "date" / f"{name}.png", LEFT)
    assert areas(tmp_path) == {"date:date/0.jpg": [100]}


def test_a_photograph_of_a_mask_is_no_mask(tmp_path: Path) -> None:
    write_image(tmp_path / "masks_of_venice" / "face_mask.jpg")
    save(tmp_path / "masks_of_venice" / "face_mask_mask.png", LEFT)
    assert areas(tmp_path) == {"masks_of_venice:masks_of_venice/face_mask.jpg": [100]}


def test_an_index_image_holds_several_instances(tmp_path: Path) -> None:
    write_image(tmp_path / "date" / "0.jpg")
    save(tmp_path / "date" / "0_mask.png", LEFT + 2 * RIGHT)
    assert areas(tmp_path) == {"date:date/0.jpg": [100, 400]}


def test_images_and_masks_apart(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "date" / "0.jpg")
    write_image(tmp_path / "images" / "date" / "1.jpg")
    write_image(tmp_path / "images" / "fig" / "2.jpg")
    save(tmp_path / "masks" / "date" / "0.png", LEFT)
    save(tmp_path / "masks" / "date" / "1" / "a.png", LEFT)
    save(tmp_path / "masks" / "date" / "1" / "b.png", RIGHT)
    save(tmp_path / "masks" / "fig" / "2_mask_1.png", RIGHT)
    assert areas(tmp_path) == {
        "date:images/date/0.jpg": [100],
        "date:images/date/1.jpg": [100, 400],
        "fig:images/fig/2.jpg": [400],
    }


def test_images_without_a_class_folder_are_named_after_their_folder(tmp_path: Path) -> None:
    write_image(tmp_path / "nuts" / "0.jpg")
    save(tmp_path / "nuts" / "0_mask.png", LEFT)
    assert areas(tmp_path / "nuts") == {"nuts:0.jpg": [100]}


def test_the_mask_may_be_in_the_alpha_channel(tmp_path: Path) -> None:
    rgba = np.dstack([LEFT * 200] * 3 + [LEFT * 255])
    save(tmp_path / "date" / "cut out.png", rgba)
    assert areas(tmp_path) == {"date:date/cut out.png": [100]}
    opaque = save(tmp_path / "date" / "opaque.png", np.full((4, 4, 4), 255, dtype=np.uint8))
    assert read_alpha_mask(opaque) is None


def test_labelme_and_yolo_beside_the_image(tmp_path: Path) -> None:
    square = [[5, 10], [15, 10], [15, 20], [5, 20]]
    write_image(tmp_path / "date" / "0.jpg")
    shapes = [{"label": name, "points": square, "shape_type": "polygon"} for name in ("date", "box")]
    write_json(tmp_path / "date" / "0.json", {"shapes": shapes})
    write_image(tmp_path / "fig" / "1.jpg")
    write_json(tmp_path / "fig" / "1.json", {"shapes": shapes})  # neither is a fig: both are taken
    write_image(tmp_path / "hazelnut" / "2.jpg")
    (tmp_path / "hazelnut" / "2.txt").write_text("4 0.5 0.5 0.25 0.5\n")
    assert areas(tmp_path) == {
        "date:date/0.jpg": [100],
        "fig:fig/1.jpg": [100, 100],
        "hazelnut:hazelnut/2.jpg": [600],
    }


def test_images_without_an_annotation_are_left_out_with_a_word(tmp_path: Path) -> None:
    write_image(tmp_path / "date" / "0.jpg")
    write_image(tmp_path / "date" / "bare.jpg")
    save(tmp_path / "date" / "0_mask.png", LEFT)
    write_image(tmp_path / "date" / "empty.jpg")
    save(tmp_path / "date" / "empty_mask.png", LEFT * 0)
    with pytest.warns(UserWarning, match=r"2 images have no mask.*bare\.jpg, empty\.jpg"):
        assert list(areas(tmp_path)) == ["date:date/0.jpg"]
    (tmp_path / "date" / "0_mask.png").unlink()
    with pytest.raises(DatasetError, match="no image with a mask in it; expected <class>/<image>"):
        read_class_folders(tmp_path)


def test_a_mask_drawn_on_the_stored_pixels_of_a_turned_photograph(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    save(tmp_path / "date" / "0.png", pixels, exif=exif)
    save(tmp_path / "date" / "0_mask.png", LEFT)
    content, root = read_class_folders(tmp_path)
    coco = CocoFile.read(content)
    reference = references_from_coco(coco, root, category_map(coco))[0]
    crop = crop_reference(reference, 12)
    np.testing.assert_allclose(crop.image.numpy().transpose(1, 2, 0) * 255, pixels[9:21, 4:16], atol=0.01)
    assert crop.mask.sum() == 100


def test_a_mask_of_another_size_is_brought_to_the_image(tmp_path: Path) -> None:
    write_image(tmp_path / "date" / "0.jpg", (120, 160))
    save(tmp_path / "date" / "0_mask.png", LEFT)
    content, root = read_class_folders(tmp_path)
    coco = CocoFile.read(content)
    reference = references_from_coco(coco, root, category_map(coco))[0]
    assert isinstance(reference.segmentation, dict)
    assert segmentation_to_mask(reference.segmentation, (120, 160)).sum() == 400


class TestMaskPictures:
    def test_two_values_are_one_instance(self, tmp_path: Path) -> None:
        for values in (LEFT, LEFT * 255, LEFT * 7, (LEFT * 255)[..., None].repeat(3, 2), LEFT.astype(bool)):
            found = read_mask_instances(save(tmp_path / "m.png", values))
            assert [mask.sum() for mask in found] == [100]

    def test_an_empty_picture_has_none(self, tmp_path: Path) -> None:
        assert read_mask_instances(save(tmp_path / "m.png", LEFT * 0)) == []

    def test_void_is_no_instance(self, tmp_path: Path) -> None:
        values = LEFT + 2 * RIGHT
        values[0] = 255
        assert [m.sum() for m in read_mask_instances(save(tmp_path / "m.png", values))] == [100, 400]

    def test_a_palette_picture_is_an_index(self, tmp_path: Path) -> None:
        picture = Image.fromarray(LEFT * 40 + RIGHT * 17)
        picture.putpalette(list(range(256)) * 3)
        picture.save(tmp_path / "m.png")
        assert [m.sum() for m in read_mask_instances(tmp_path / "m.png")] == [400, 100]

    def test_sixteen_bits_are_an_index(self, tmp_path: Path) -> None:
        values = LEFT.astype(np.uint16) * 300 + RIGHT * np.uint16(70)
        assert [m.sum() for m in read_mask_instances(save(tmp_path / "m.png", values))] == [400, 100]

    def test_colours_are_instances(self, tmp_path: Path) -> None:
        values = np.dstack([LEFT * 255, RIGHT * 255, LEFT * 0])
        assert sorted(m.sum() for m in read_mask_instances(save(tmp_path / "m.png", values))) == [100, 400]

    def test_a_soft_mask_is_cut_at_half(self, tmp_path: Path) -> None:
        soft = np.zeros((60, 80), dtype=np.uint8)
        soft[10:20, 5:15] = 255
        soft[9, 5:15], soft[20, 5:15] = 100, 200
        assert [m.sum() for m in read_mask_instances(save(tmp_path / "m.png", soft))] == [110]

    def test_a_coloured_photograph_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="colours, most of them on edges"):
            read_mask_instances(write_image(tmp_path / "photo.png"))


def test_several_classes_and_instances_in_one_image(tmp_path: Path) -> None:
    for name, mask in (("date", LEFT), ("fig", RIGHT)):
        write_image(tmp_path / name / "0.jpg")
        save(
            tmp_path / name / "0_mask.png",
            mask + 2 * np.roll(mask, 15, 1) + 3 * np.roll(mask, -15, 0) * (mask == 0),
        )
    content, root = read_class_folders(tmp_path)
    coco = CocoFile.read(content)
    found = references_from_coco(coco, root, category_map(coco))
    assert len({(reference.label, reference.slot) for reference in found}) == len(found) == 6
