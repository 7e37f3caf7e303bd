"""A mask picture means the same by path, from Pillow and as an array, or is refused in a sentence."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from no_time_to_train.dataset.readers.mask_images import read_mask_instances
from no_time_to_train.errors import DatasetError

SIZE = (75, 100)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]


def disc(x: int, y: int, radius: int) -> np.ndarray:
    return (X - x) ** 2 + (Y - y) ** 2 < radius**2


ONE = disc(40, 35, 20)
OTHERS = (disc(15, 15, 10), disc(80, 20, 12), disc(70, 60, 9))


def ids(*values: int) -> np.ndarray:
    """The three discs, each in its value."""
    canvas = np.zeros(SIZE, dtype=np.int64)
    for value, mask in zip(values, OTHERS, strict=True):
        canvas[mask] = value
    return canvas


def palette(values: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    picture = Image.fromarray(values.astype(np.uint8))
    picture.putpalette([channel for colour in colours for channel in colour])
    return picture


def soft(sigma: float) -> np.ndarray:
    return np.rint(ndimage.gaussian_filter(ONE * 255.0, sigma)).astype(np.uint8)


def rgba(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.dstack([np.broadcast_to(colour, (*SIZE, 3)), alpha * 255]).astype(np.uint8)


def jpeg() -> Image.Image:
    file = io.BytesIO()
    Image.fromarray((ONE * 255).astype(np.uint8)).save(file, "JPEG", quality=75)
    return Image.open(file)


VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
NOISE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3))
WHITE_ON_BLACK = (ONE * 255).astype(np.uint8)
RED = np.array([255, 0, 0])
SINGLE: dict[str, object] = {
    "bool array": ONE,
    "bool tensor": torch.from_numpy(ONE),
    "0 and 1": ONE.astype(np.uint8),
    "0 and 255": WHITE_ON_BLACK,
    "0 and 255 of int64": ONE * 255,
    "0.0 and 1.0": ONE.astype(np.float32),
    "0.0 and 255.0": ONE * 255.0,
    "probabilities": np.where(ONE, 0.9, 0.2),
    "probabilities of torch": torch.from_numpy(np.where(ONE, 0.9, 0.2)),
    "one bit": Image.fromarray(ONE),
    "anti-aliased": soft(0.7),
    "blurred": soft(2),
    "JPEG": jpeg(),
    "16 bits": (ONE * 65535).astype(np.uint16),
    "black and white palette": palette(ONE, (0, 0, 0), (255, 255, 255)),
    "white and black palette": palette(~ONE, (255, 255, 255), (0, 0, 0)),
    "GIF": Image.fromarray(WHITE_ON_BLACK).convert("P"),
    "VOC palette": palette(np.where(ONE, 2, 0), *VOC),
    "VOC palette with void": palette(
        np.where(ONE, 2, np.where(disc(40, 35, 23), 255, 0)), *VOC, *[(224, 224, 192)] * 252
    ),
    "viridis": palette(ONE, (68, 1, 84), (253, 231, 37)),
    "RGB grey": np.dstack([WHITE_ON_BLACK] * 3),
    "RGB bool": np.dstack([ONE] * 3),
    "RGB red": (ONE[..., None] * RED).astype(np.uint8),
    "RGB red with a soft edge": (soft(1)[..., None] / 255 * RED).astype(np.uint8),
    "(H, W, 1)": WHITE_ON_BLACK[..., None],
    "RGBA, opaque": rgba(WHITE_ON_BLACK[..., None], np.ones(SIZE)),
    "black on transparent": rgba(np.zeros(3), ONE),
    "white on transparent": rgba(np.full(3, 255), ONE),
    "cut-out photograph": rgba(NOISE, ONE),
    "grey with alpha": Image.fromarray(rgba(np.full(3, 255), ONE)).convert("LA"),
}
SEVERAL: dict[str, object] = {
    "1, 2, 3": ids(1, 2, 3).astype(np.uint8),
    "1, 2, 4": ids(1, 2, 4).astype(np.uint8),
    "85, 170, 255": ids(85, 170, 255).astype(np.uint8),
    "1, 2, 3 and void": np.where(disc(40, 65, 6), 255, ids(1, 2, 3)).astype(np.uint8),
    "labels of int64": ids(1, 2, 3),
    "labels beyond 8 bits": ids(7, 300, 70_000),
    "16 bits": ids(1, 300, 65_535).astype(np.uint16),
    "32 bits": Image.fromarray(ids(1, 300, 70_000).astype(np.int32)),
    "VOC palette": palette(ids(1, 2, 3), *VOC),
    "colours": np.array([[0, 0, 0], [9, 0, 250], [90, 0, 0], [200, 9, 9]])[ids(1, 2, 3)].astype(np.uint8),
    "(N, H, W)": np.stack(OTHERS),
    "(N, H, W) of 0 and 255": (np.stack(OTHERS) * 255).astype(np.uint8),
    "(N, H, W) of torch": torch.from_numpy(np.stack(OTHERS)).float(),
}


def faces(given: object, folder: Path) -> list[object]:
    """A mask as it is, and where it is a picture, as a file, from Pillow and as an array."""
    if isinstance(given, np.ndarray):
        grey = given.ndim == 2 and given.dtype in (np.uint8, np.uint16, bool)
        if grey or (given.dtype == np.uint8 and given.shape[-1] in (3, 4)):
            given = Image.fromarray(given)
    if not isinstance(given, Image.Image):
        return [given]
    path = folder / f"mask.{'tif' if given.mode == 'I' else 'png'}"
    given.save(path)
    array = [] if given.mode in ("P", "LA") else [np.asarray(given)]
    return [given, path, str(path), *array]


@pytest.mark.parametrize("kind", SINGLE)
def test_one_object(tmp_path: Path, kind: str) -> None:
    for face in faces(SINGLE[kind], tmp_path):
        (found,) = read_mask_instances(face)  # type: ignore[arg-type]
        assert found.dtype == bool
        assert (found & ONE).sum() / (found | ONE).sum() > 0.98


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_objects(tmp_path: Path, kind: str) -> None:
    for face in faces(SEVERAL[kind], tmp_path):
        found = read_mask_instances(face)  # type: ignore[arg-type]
        assert len(found) == 3
        if kind == "colours":
            found = sorted(found, key=lambda mask: [(mask & one).any() for one in OTHERS], reverse=True)
        for mask, expected in zip(found, OTHERS, strict=True):
            np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.where(disc(40, 35, 25), 128, 0) + 127 * ONE, "128 and 255 can be two objects"),
        (NOISE.astype(np.uint8), "one colour per instance"),
        (np.random.default_rng(0).integers(0, 100, SIZE).astype(np.uint8), "grey values, neither"),
        (np.where(ONE, 3.5, 0), r"probabilities in \[0, 1\]"),
        (np.where(ONE, 3.5, -2), r"probabilities in \[0, 1\]"),
        (np.full(SIZE, np.nan), r"probabilities in \[0, 1\]"),
        (-ONE.astype(int), "numbers from 0 on"),
        (np.zeros((3, 4, 5, 6)), r"must be \(H, W\)"),
        (np.array("no mask"), r"must be \(H, W\)"),
        (np.zeros((0, 4)), r"must be \(H, W\)"),
    ],
)
def test_what_can_be_read_in_two_ways_or_none_is_refused(given: np.ndarray, said: str) -> None:
    with pytest.raises(DatasetError, match=said) as caught:
        read_mask_instances(given, "m.png")
    assert str(caught.value).startswith("m.png: ")


def test_an_empty_picture_has_no_instances() -> None:
    for empty in (np.zeros(SIZE, bool), np.zeros(SIZE, np.uint8), Image.new("RGBA", (9, 9))):
        assert not any(mask.any() for mask in read_mask_instances(empty))


MODES: list[Callable[[np.ndarray], object]] = [
    lambda values: values.astype(np.uint8),
    lambda values: values.astype(np.uint16) * 255,
    lambda values: values / 255,
    lambda values: values - 3.0,
    lambda values: Image.fromarray(values.astype(np.uint8)).convert("P"),
    lambda values: Image.fromarray(np.dstack([values] * 4).astype(np.uint8)),
    lambda values: np.dstack([values] * 3),
    lambda values: values > 100,
]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), mode=st.integers(0, len(MODES) - 1), height=st.integers(0, 9))
def test_any_array_is_read_or_refused(seed: int, mode: int, height: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, rng.choice([2, 5, 256]), (height + (mode in (4, 5)), rng.integers(1, 9)))
    try:
        found = read_mask_instances(MODES[mode](values))  # type: ignore[arg-type]
    except DatasetError:
        return
    assert all(mask.dtype == bool and mask.ndim == 2 for mask in found)


def test_a_small_file_of_many_large_masks_is_refused(tmp_path: Path) -> None:
    values = np.arange(1, 201, dtype=np.uint16).repeat(20)[:, None].repeat(4000, 1)  # 200 bars
    Image.fromarray(values).save(tmp_path / "m.png")
    assert (tmp_path / "m.png").stat().st_size < 200_000
    with pytest.raises(DatasetError, match="200 objects in 4000x4000 pixels, more than fit in memory"):
        read_mask_instances(tmp_path / "m.png")


def test_masks_of_probabilities_in_a_stack_are_cut_at_half_of_white() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    first, second = read_mask_instances(np.stack([ramp, ramp[:, ::-1]]))
    assert first[0].tolist() == [value >= 128 for value in range(256)]
    assert second[0].tolist() == [value >= 128 for value in reversed(range(256))]
