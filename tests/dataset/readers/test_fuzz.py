"""No input makes a traceback, a signal or more than 2 GB; what is drawn is what is read, or refused."""

from __future__ import annotations

import resource
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from no_time_to_train.dataset.annotation_frames import reference_mask
from no_time_to_train.dataset.readers.detect import read_annotated
from no_time_to_train.dataset.references.crops import crop_reference
from no_time_to_train.dataset.references.given import references_in
from no_time_to_train.errors import DatasetError
from no_time_to_train.evaluation.coco_ap import evaluate_coco
from no_time_to_train.masks.rle import segmentation_to_rle
from no_time_to_train.results import RLE
from tests.dataset.readers import test_own_pictures as own
from tools.fuzz.damage import ODD_VALUES, damaged

MOST_KILOBYTES = 2 * 2**20
STEADY = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "COCO polygon": (own.MASKS["COCO polygon"], "x.json"),
    "COCO code": (own.MASKS["COCO compressed code"], "x.json"),
    "COCO plain code": (own.MASKS["COCO plain code"], "x.json"),
    "labelme": (own.MASKS["labelme polygon in halves"], "a.json"),
    "labelme mask": (own.MASKS["labelme mask"], "a.json"),
    "labelme imageData": (own.MASKS["labelme imageData"], "a.json"),
    "Label Studio": (own.MASKS["Label Studio polygon"], "tasks.json"),
    "Label Studio rectangle": (own.BOXES["Label Studio rectangle"], "tasks.json"),
    "YOLO": (own.MASKS["YOLO polygon"], "a.txt"),
    "YOLO box": (own.BOXES["YOLO box"], "a.txt"),
    "YOLO yaml": (own.BOXES["YOLO pose of x and y"], "data.yaml"),
    "VOC": (own.BOXES["VOC"], "a.xml"),
    "CVAT": (own.MASKS["CVAT polygon"], "x.xml"),
    "CVAT mask": (own.MASKS["CVAT mask"], "x.xml"),
}


def use(source: Path) -> None:
    """Read references and make their masks; anything but our own sentence fails the test."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # other tests of this process may need much
    with warnings.catch_warnings(), suppress(DatasetError):
        warnings.simplefilter("ignore")
        for found in references_in(source)[:5]:
            if found.sample.has_mask:
                crop_reference(found.sample, 16)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KILOBYTES


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files(kind: str, tmp_path: Path) -> None:
    own.picture(tmp_path)
    make, name = FILES[kind]
    source = make(tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    for number in range(40):
        path.write_bytes(damaged(whole, Random(f"{kind}/{number}")))
        use(source)


@STEADY
@given(content=st.binary(max_size=200), suffix=st.sampled_from(["json", "xml", "yaml"]))
def test_any_bytes_as_a_file(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{suffix}"
        path.write_bytes(content)
        use(path)


def test_deeply_nested_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[" * 200_000)
    with pytest.raises(DatasetError, match="not a json file"):
        read_annotated(tmp_path / "x.json")


@STEADY
@given(data=st.data())
def test_results_with_odd_values_are_scored_or_refused(data: st.DataObject) -> None:
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "width": own.W, "height": own.H}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": own.BOX, "segmentation": own.RLE}],
        "categories": [{"id": 2, "name": "date"}],
    }
    row: dict[str, Any] = {
        "image_id": 1,
        "category_id": 2,
        "bbox": own.BOX,
        "score": 0.5,
        "segmentation": own.RLE,
    }
    row[data.draw(st.sampled_from(["bbox", "segmentation"]))] = deepcopy(
        data.draw(st.sampled_from(ODD_VALUES))
    )
    with warnings.catch_warnings(), suppress(DatasetError):
        warnings.simplefilter("ignore")
        evaluate_coco(truth, [row])


NUMBER = st.one_of(st.floats(-1000, 1000), st.floats(), st.integers(-(10**12), 10**12), st.none())


@settings(STEADY, max_examples=200)
@given(
    value=st.one_of(
        st.lists(st.lists(NUMBER, max_size=12), max_size=3),
        st.lists(NUMBER, max_size=12),
        st.fixed_dictionaries(
            {
                "size": st.lists(st.integers(-3, 60), min_size=2, max_size=2),
                "counts": st.one_of(
                    st.lists(NUMBER, max_size=9), st.text(max_size=40), st.binary(max_size=40)
                ),
            }
        ),
    )
)
def test_any_numbers_are_a_mask_or_refused(value: Any) -> None:
    try:
        rle: RLE = segmentation_to_rle(value, (40, 50))
    except DatasetError:
        return
    assert coco_mask.decode(rle).shape == tuple(rle["size"])


@settings(STEADY, max_examples=25)
@given(
    kind=st.sampled_from(["coco", "code", "labelme", "yolo", "cvat", "studio", "mask"]),
    x=st.floats(40, 360),
    y=st.floats(40, 260),
    a=st.floats(15, 39),
    b=st.floats(15, 39),
    orientation=st.integers(1, 8),
)
def test_what_is_drawn_is_what_is_read(
    kind: str, x: float, y: float, a: float, b: float, orientation: int
) -> None:
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    outline = np.stack([x + a * np.cos(angles), y + b * np.sin(angles)], 1)
    drawn = ((own.X + 0.5 - x) / a) ** 2 + ((own.Y + 0.5 - y) / b) ** 2 < 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own.picture(folder, orientation=orientation)
        source = folder
        if kind == "coco":
            source = own.coco(folder, segmentation=[outline.ravel().tolist()], bbox=...)
        elif kind == "code":
            source = own.coco(folder, segmentation=own.json_rle(own.encode_mask(drawn)), bbox=...)
        elif kind == "labelme":
            source = own.labelme(folder, own.shape("polygon", outline.tolist()))
        elif kind == "yolo":
            own.yolo(folder, f"0 {own.fractions(outline)}")
        elif kind == "cvat":
            points = ";".join(f"{px:.2f},{py:.2f}" for px, py in outline)
            source = own.cvat(folder, f'<polygon label="date" points="{points}"/>')
        elif kind == "studio":
            per_cent = (outline / (own.W, own.H) * 100).tolist()
            source = own.studio(folder, "polygonlabels", {"points": per_cent})
        else:
            Image.fromarray(drawn).save(folder / "a_mask.png")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (found,) = references_in(source)
        mask = reference_mask(found.sample, (own.H, own.W))
        assert mask is not None
        assert (mask & drawn).sum() / mask.sum() >= 0.98  # on the object
        assert (mask & drawn).sum() / (mask | drawn).sum() > 0.97  # and all of it; the border is worth 3 %
