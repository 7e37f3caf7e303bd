"""Every kind of image file becomes (H, W, 3) uint8 RGB, or one sentence."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from no_time_to_train.dataset import images
from no_time_to_train.dataset.images import as_rgb_array, read_image, read_image_size
from no_time_to_train.errors import DatasetError
from tests.dataset.samples import write_image

GREY = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8) * 5


def png_of(pixels: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file


def save_turned(path: Path, pixels: np.ndarray, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    picture = Image.fromarray(np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])).convert(mode)
    picture.save(tmp_path / f"x.{suffix}", **({"quality": 95} if suffix == "jpg" else {}))
    found = read_image(tmp_path / f"x.{suffix}")
    assert found.shape == (6, 8, 3)
    assert found.dtype == np.uint8
    assert found.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_more_than_8_bits_are_stretched_whatever_their_type_could_hold(tmp_path: Path, bits: int) -> None:
    ramp = np.arange(10_000).reshape(100, 100)
    Image.fromarray((ramp * (2.0**bits - 1) / 9999).astype(np.uint16)).save(tmp_path / "x.png")
    found = read_image(tmp_path / "x.png")[..., 1].astype(float)
    assert (found.min(), found.max()) == (0, 255)
    assert np.abs(found - ramp / 9999 * 255).max() < 2.1 + 255 / 2**bits
    array = np.asarray(Image.open(tmp_path / "x.png")).astype(np.uint16)
    np.testing.assert_array_equal(as_rgb_array(array)[..., 1], found)  # the same in Python
    np.testing.assert_array_equal(as_rgb_array(Image.open(tmp_path / "x.png"))[..., 1], found)


def test_8_bits_stay_as_they_are(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "8.png")
    np.testing.assert_array_equal(read_image(tmp_path / "8.png")[..., 1], GREY)


def test_float_images_are_fractions_or_stretched(tmp_path: Path) -> None:
    Image.fromarray((GREY / 255).astype(np.float32)).save(tmp_path / "fractions.tif")
    Image.fromarray(GREY.astype(np.float32) * 7).save(tmp_path / "counts.tif")
    Image.fromarray(np.where(GREY == 5, np.nan, GREY).astype(np.float32)).save(tmp_path / "bad.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "fractions.tif")[..., 0], GREY)
    assert (
        np.abs(read_image(tmp_path / "counts.tif")[..., 0].astype(float) - GREY * (255 / GREY.max())).max()
        < 2
    )
    with pytest.raises(DatasetError, match=r"bad\.tif.*not finite"):
        read_image(tmp_path / "bad.tif")


def test_the_first_page_of_several_is_read_and_said(tmp_path: Path) -> None:
    pages = [Image.new("L", (8, 6), value) for value in (10, 200)]
    pages[0].save(tmp_path / "x.tif", save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match=r"x\.tif: has 2 pages, of which the first is read"):
        assert read_image(tmp_path / "x.tif")[0, 0, 0] == 10


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_annotations_belong_to_the_picture_as_shown(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Of a size that says nothing, too: the sides of 2, 3 and 4 are those of the stored pixels."""
    stored = np.zeros((40, 60), dtype=np.uint8)
    stored[4:12, 6:20] = 200
    path = save_turned(tmp_path / f"x.{suffix}", np.dstack([stored] * 3), orientation)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("L"))
    for stated in (None, shown.shape):
        found = read_image(path, stated)
        assert found.shape[:2] == shown.shape == read_image_size(path, stated)
        np.testing.assert_array_equal(found[..., 0] > 100, shown > 100)
    np.testing.assert_array_equal(as_rgb_array(Image.open(path))[..., 0] > 100, shown > 100)


def test_alpha_is_dropped_and_the_palette_looked_up(tmp_path: Path) -> None:
    rgba = np.dstack([GREY, GREY, GREY, np.full_like(GREY, 7)])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), rgba[..., :3])
    palette = Image.fromarray(np.zeros((2, 2), dtype=np.uint8)).convert("P")
    palette.putpalette([9, 8, 7] + [0] * 765)
    palette.save(tmp_path / "p.png", transparency=b"\x80")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(tmp_path / "p.png")[0, 0], [9, 8, 7])


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "x.gif")[0, 0], [255, 0, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    path = save_turned(tmp_path / "x.png", pixels, orientation)
    found = read_image(path)
    assert found.shape[:2] == read_image_size(path) == ((8, 6) if orientation >= 5 else (6, 8))
    turned = {1: pixels, 3: pixels[::-1, ::-1], 6: np.rot90(pixels, -1), 8: np.rot90(pixels)}
    if orientation in turned:
        np.testing.assert_array_equal(found, turned[orientation])


def test_annotations_drawn_on_the_stored_pixels_win_over_exif(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    path = save_turned(tmp_path / "x.png", pixels, 6)
    np.testing.assert_array_equal(read_image(path, stated_size=(6, 8)), pixels)
    assert read_image_size(path, (6, 8)) == (6, 8)
    assert read_image(path, stated_size=(8, 6)).shape == (8, 6, 3)
    assert read_image(path, stated_size=(1, 1)).shape == (8, 6, 3)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = write_image(tmp_path / "whole.jpg", (200, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.png").write_text("<html>403</html>")
    for name, message in (
        ("cut.jpg", "cannot be read as an image"),
        ("page.png", "not an image"),
        ("gone.png", "no such image file"),
        ("", "cannot be opened|no such"),
    ):
        with pytest.raises(DatasetError, match=message) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)


def test_urls_are_refused() -> None:
    with pytest.raises(DatasetError, match="download the file"):
        read_image("https://example.org/x.jpg")


def test_images_beyond_pillows_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DatasetError, match=r"x\.png.*too large"):
        read_image(tmp_path / "x.png")


def test_large_jpegs_come_reduced_when_that_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (800, 400), "green").save(tmp_path / "x.jpg")
    monkeypatch.setattr(images, "LARGE_PIXELS", 100_000)
    assert read_image(tmp_path / "x.jpg").shape == (400, 800, 3)
    assert read_image(tmp_path / "x.jpg", enough=100).shape == (100, 200, 3)
    assert read_image(tmp_path / "x.jpg", enough=300).shape == (400, 800, 3)


@pytest.mark.parametrize(
    "given",
    [
        GREY,
        GREY[..., None],
        np.dstack([GREY] * 3),
        np.dstack([GREY] * 4),
        np.dstack([GREY] * 3) / 255,
        torch.from_numpy(GREY)[None],
        torch.from_numpy(GREY).float().expand(3, -1, -1) / 255,
        Image.fromarray(GREY),
        np.stack([GREY] * 3),
        GREY.astype(int),
        png_of(GREY),
    ],
    ids=[
        "hw",
        "hw1",
        "hw3",
        "hw4",
        "float",
        "tensor 1hw",
        "float tensor 3hw",
        "pillow",
        "chw",
        "int",
        "bytes",
    ],
)
def test_images_given_in_python(given: object) -> None:
    np.testing.assert_array_equal(as_rgb_array(given), np.dstack([GREY] * 3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given", [np.zeros((2, 3, 5)), np.zeros(4), np.zeros((0, 4)), np.full((2, 2), 9.0), np.full((2, 2), -1)]
)
def test_what_is_no_image_is_refused(given: np.ndarray) -> None:
    with pytest.raises(DatasetError, match="image array must be"):
        as_rgb_array(given)


def test_one_hot_pixel_does_not_darken_a_picture_of_16_bits(tmp_path: Path) -> None:
    values = np.tile(np.arange(100, 1100, dtype=np.uint16), (10, 1))
    values[0, 0], values[5, 5] = 65_535, 0
    Image.fromarray(values).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png")[..., 0]
    assert found[1, -20:].min() > 240
    assert found[1, :20].max() < 15
