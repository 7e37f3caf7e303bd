"""Files as people have them: the rows of the table in ``docs/own-pictures.md``.

One picture of 400 x 300 with an ellipse; what is read must lie on it, or be left out with a reason.
"""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from no_time_to_train.dataset.annotation_frames import reference_mask
from no_time_to_train.dataset.coco.file import CocoFile
from no_time_to_train.dataset.readers.detect import list_targets, read_annotated
from no_time_to_train.dataset.references.crops import read_reference_image
from no_time_to_train.dataset.references.given import references_in
from no_time_to_train.errors import DatasetError
from no_time_to_train.masks.rle import encode_mask, json_rle

H, W = 300, 400
Y, X = np.mgrid[:H, :W]
ANGLES = np.linspace(0, 2 * np.pi, 180, endpoint=False)
OUTLINE = np.stack([150 + 60 * np.cos(ANGLES), 100 + 40 * np.sin(ANGLES)], 1)
OBJECT = ((X + 0.5 - 150) / 60) ** 2 + ((Y + 0.5 - 100) / 40) ** 2 < 1
PICTURE = np.where(OBJECT[..., None], np.array([200, 40, 40]), np.array([30, 60, 90])).astype(np.uint8)
BOX = [90.0, 60.0, 120.0, 80.0]
FLAT = OUTLINE.ravel().tolist()
RLE = json_rle(encode_mask(OBJECT))
RUNS = np.diff(np.flatnonzero(np.diff(OBJECT.T.ravel(), prepend=~OBJECT[0, 0], append=~OBJECT[-1, -1])))
COUNTS = [int(run) for run in RUNS]
BY_ROWS = [
    int(run)
    for run in np.diff(np.flatnonzero(np.diff(OBJECT.ravel(), prepend=~OBJECT[0, 0], append=~OBJECT[-1, -1])))
]


def picture(folder: Path, name: str = "a.png", orientation: int = 1) -> Path:
    """Our picture; turned ones are stored so that they show it."""
    folder.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(PICTURE)
    if orientation > 1:
        back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
        turner = stored.copy()
        turner.getexif()[0x0112] = back
        stored = ImageOps.exif_transpose(turner)
    stored.save(folder / name, exif=exif.tobytes())
    return folder / name


def coco(folder: Path, image: dict[str, Any] | None = None, **fields: Any) -> Path:
    annotation = {"id": 7, "image_id": 1, "category_id": 2, "bbox": BOX, "iscrowd": 0, **fields}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": W, "height": H, **(image or {})}],
        "annotations": [{key: value for key, value in annotation.items() if value is not ...}],
        "categories": [{"id": 2, "name": "date"}],
    }
    (folder / "x.json").write_text(json.dumps(content))
    return folder / "x.json"


def shape(kind: str, points: Any, **more: Any) -> dict[str, Any]:
    return {"label": "date", "shape_type": kind, "points": points, "group_id": None, **more}


def labelme(folder: Path, *shapes: Any, **more: Any) -> Path:
    content = {"shapes": list(shapes), "imagePath": "a.png", "imageWidth": W, "imageHeight": H, **more}
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


def yolo(folder: Path, *lines: str, yaml: str = "names: [date]\n") -> Path:
    (folder / "data.yaml").write_text(yaml)
    (folder / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def voc(folder: Path, box: Any = (91, 61, 211, 141), name: str = "a.png", label: str = "date") -> Path:
    keys = ("xmin", "ymin", "xmax", "ymax")
    corners = "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, box, strict=True))
    (folder / "a.xml").write_text(
        f"<annotation><filename>{name}</filename><size><width>{W}</width><height>{H}</height></size>"
        f"<object><name>{label}</name><bndbox>{corners}</bndbox></object></annotation>"
    )
    return folder / "a.xml"


def cvat(folder: Path, shapes: str) -> Path:
    (folder / "x.xml").write_text(
        "<annotations><meta><job><labels><label><name>date</name></label></labels></job></meta>"
        f'<image id="0" name="a.png" width="{W}" height="{H}">{shapes}</image></annotations>'
    )
    return folder / "x.xml"


def studio(
    folder: Path, kind: str, value: dict[str, Any], image: str = "/data/upload/1/0a1b2c3d-a.png"
) -> Path:
    result = {"type": kind, "value": value | {kind: ["date"]}, "original_width": W, "original_height": H}
    task = {
        "id": 1,
        "data": {"image": "/data/upload/1/0a1b2c3d-a.png"},
        "annotations": [{"result": [result]}],
    }
    (folder / "tasks.json").write_text(json.dumps([task]))
    return folder / "tasks.json"


def fractions(values: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in (np.reshape(values, (-1, 2)) / (W, H)).ravel())


def embedded(part: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(part.astype(np.uint8) * 255).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def mask_png(folder: Path) -> Path:
    (folder / "date").mkdir()
    (folder / "a.png").rename(folder / "date" / "a.png")
    Image.fromarray(OBJECT).save(folder / "date" / "a_mask.png")
    return folder


CENTRE = "0.375 0.333333 0.3 0.266667"
XYS = " ".join(f"0.4 0.3 {number % 3}" for number in range(17))
POINTS = ";".join(f"{x:.2f},{y:.2f}" for x, y in OUTLINE)
CROP = OBJECT[60:140, 90:210]
CROP_RUNS = np.diff(np.flatnonzero(np.diff(CROP.ravel(), prepend=~CROP[0, 0], append=~CROP[-1, -1])))
CVAT_RLE = ",".join(map(str, CROP_RUNS.tolist()))
SMALL = np.stack([150 + 30 * np.cos(ANGLES), 100 + 30 * np.sin(ANGLES)], 1)
TURNED = [[150, 60], [210, 100], [150, 140], [90, 100]]

Maker = Callable[[Path], Path]
MASKS: dict[str, Maker] = {
    "COCO polygon": lambda f: coco(f, segmentation=[FLAT]),
    "COCO flat polygon": lambda f: coco(f, segmentation=FLAT),
    "COCO polygon of pairs": lambda f: coco(f, segmentation=[OUTLINE.tolist()]),
    "COCO one polygon of pairs": lambda f: coco(f, segmentation=OUTLINE.tolist()),
    "COCO polygon of x and y": lambda f: coco(f, segmentation=[[{"x": x, "y": y} for x, y in OUTLINE]]),
    "COCO polygon of texts": lambda f: coco(f, segmentation=[[str(value) for value in FLAT]]),
    "COCO compressed code": lambda f: coco(f, segmentation=RLE),
    "COCO plain code": lambda f: coco(f, segmentation={"size": [H, W], "counts": COUNTS}),
    "COCO code as Python prints it": lambda f: coco(
        f, segmentation={"size": [H, W], "counts": str(RLE["counts"].encode())}
    ),
    "COCO code row by row, with its box": lambda f: coco(f, segmentation={"size": [H, W], "counts": BY_ROWS}),
    "COCO frame of half the size": lambda f: coco(
        f, {"width": W // 2, "height": H // 2}, segmentation=[(OUTLINE / 2).ravel().tolist()], bbox=...
    ),
    "COCO percent-encoded name": lambda f: coco(f, {"file_name": "pics%2Fa.png"}, segmentation=[FLAT]),
    "COCO name in capitals": lambda f: coco(f, {"file_name": "A.PNG"}, segmentation=[FLAT]),
    "COCO name with backslashes": lambda f: coco(f, {"file_name": "D:\\pics\\a.png"}, segmentation=[FLAT]),
    "COCO flags as texts": lambda f: coco(f, segmentation=[FLAT], iscrowd="0"),
    "labelme polygon": lambda f: labelme(f, shape("polygon", OUTLINE.tolist())),
    "labelme polygon in halves": lambda f: labelme(
        f,
        shape("polygon", OUTLINE[:91].tolist(), group_id=3),
        shape("polygon", [*OUTLINE[90:].tolist(), OUTLINE[0].tolist()], group_id=3),
    ),
    "labelme polygon with a line in its group": lambda f: labelme(
        f, shape("polygon", OUTLINE.tolist(), group_id=1), shape("line", [[1, 2], [3, 4]], group_id=1)
    ),
    "labelme frame of half the size": lambda f: labelme(
        f, shape("polygon", (OUTLINE / 2).tolist()), imageWidth=W // 2, imageHeight=H // 2
    ),
    "labelme mask": lambda f: labelme(f, shape("mask", [[90, 60], [209, 139]], mask=embedded(CROP))),
    "labelme imageData": lambda f: _only_image_data(f),
    "YOLO polygon": lambda f: yolo(f, f"0 {fractions(OUTLINE)}"),
    "YOLO polygon with a score": lambda f: yolo(f, f"0 {fractions(OUTLINE)} 0.93"),
    "YOLO polygon of a tracker": lambda f: yolo(f, f"0 {fractions(OUTLINE)} 0.93 17"),
    "YOLO with a byte order mark": lambda f: yolo(f, f"\ufeff0 {fractions(OUTLINE)}"),
    "YOLO names by number": lambda f: yolo(
        f, f"3 {fractions(OUTLINE)}", yaml="names: {'1': fig, '3': date}\n"
    ),
    "CVAT polygon": lambda f: cvat(f, f'<polygon label="date" points="{POINTS}" z_order="0"/>'),
    "CVAT mask": lambda f: cvat(
        f, f'<mask label="date" left="90" top="60" width="120" height="80" rle="{CVAT_RLE}"/>'
    ),
    "CVAT ellipse": lambda f: cvat(f, '<ellipse label="date" cx="150" cy="100" rx="60" ry="40"/>'),
    "CVAT ellipse, turned": lambda f: cvat(
        f, '<ellipse label="date" cx="150" cy="100" rx="40" ry="60" rotation="90"/>'
    ),
    "Label Studio polygon": lambda f: studio(
        f, "polygonlabels", {"points": (OUTLINE / (W, H) * 100).tolist(), "closed": True}
    ),
    "folder of masks": mask_png,
}
BOXES: dict[str, Maker] = {
    "COCO box": lambda f: coco(f),
    "COCO box with a 2-point polygon": lambda f: coco(f, segmentation=[[1, 2, 3, 4]]),
    "labelme rectangle": lambda f: labelme(f, shape("rectangle", [[90, 60], [210, 140]])),
    "labelme rectangle, corners reversed": lambda f: labelme(f, shape("rectangle", [[210, 140], [90, 60]])),
    "labelme rectangle of four corners": lambda f: labelme(
        f, shape("rectangle", [[90, 60], [210, 60], [210, 140], [90, 140]])
    ),
    "YOLO box": lambda f: yolo(f, f"0 {CENTRE}"),
    "YOLO box with a score": lambda f: yolo(f, f"0 {CENTRE} 0.9"),
    "YOLO box of a tracker": lambda f: yolo(f, f"0 {CENTRE} 0.9 12"),
    "YOLO pose": lambda f: yolo(f, f"0 {CENTRE} {XYS}"),
    "YOLO pose of x and y": lambda f: yolo(
        f, f"0 {CENTRE} 0.4 0.3 0.5 0.4", yaml="names: [date]\nkpt_shape: [2, 2]\n"
    ),
    "VOC": lambda f: voc(f),
    "VOC, corners reversed": lambda f: voc(f, (211, 141, 91, 61)),
    "VOC name with backslashes": lambda f: voc(f, name="C:\\pics\\a.png"),
    "VOC without a name": lambda f: voc(f, name=""),
    "CVAT box": lambda f: cvat(f, '<box label="date" xtl="90" ytl="60" xbr="210" ybr="140"/>'),
    "Label Studio rectangle": lambda f: studio(
        f, "rectanglelabels", {"x": 22.5, "y": 20, "width": 30, "height": 80 / 3, "rotation": 0}
    ),
}
AREAS: dict[str, tuple[Maker, float]] = {
    "labelme circle": (lambda f: labelme(f, shape("circle", [[150, 100], [180, 100]])), np.pi * 900),
    "labelme rotation": (lambda f: labelme(f, shape("rotation", TURNED)), 4800),
    "labelme rectangle, turned": (lambda f: labelme(f, shape("rectangle", TURNED)), 4800),
    "CVAT box, turned": (
        lambda f: cvat(f, '<box label="date" xtl="110" ytl="80" xbr="190" ybr="120" rotation="30"/>'),
        3200,
    ),
}
SPOTS: dict[str, Maker] = {
    "labelme point": lambda f: labelme(f, shape("point", [[150, 100]])),
    "labelme points in a group": lambda f: labelme(
        f, shape("point", [[150, 100]], group_id=1), shape("point", [[160, 90]], group_id=1)
    ),
    "CVAT points": lambda f: cvat(f, '<points label="date" points="150,100;160,90"/>'),
    "Label Studio key point": lambda f: studio(f, "keypointlabels", {"x": 37.5, "y": 100 / 3, "width": 1}),
}
LEFT_OUT: dict[str, tuple[Maker, str]] = {
    "COCO null": (lambda f: coco(f, segmentation=[[1, 2, None, 4, 5, 6]]), "not finite|not numbers"),
    "COCO NaN": (lambda f: coco(f, segmentation=[[1, 2, float("nan"), 4, 5, 6]]), "not finite"),
    "COCO Infinity": (lambda f: coco(f, segmentation=[[1, 2, float("inf"), 4, 5, 6]]), "not finite"),
    "COCO 1e9": (lambda f: coco(f, segmentation=[[1, 2, 1e9, 4, 5, 6]]), "far outside of its image"),
    "COCO 1e400": (lambda f: coco(f, segmentation=[[1, 2, 10**400, 4, 5, 6]]), "not numbers|not finite"),
    "COCO texts": (lambda f: coco(f, segmentation=[["a"] * 6]), "not numbers"),
    "COCO odd count": (lambda f: coco(f, segmentation=[FLAT[:-1]]), "odd count"),
    "COCO polygon in fractions": (
        lambda f: coco(f, segmentation=[(OUTLINE / (W, H)).ravel().tolist()]),
        "in fractions",
    ),
    "COCO box in fractions": (lambda f: coco(f, bbox=[0.2, 0.2, 0.3, 0.3]), "in fractions"),
    "COCO box of corners reversed": (
        lambda f: coco(f, bbox=[210, 140, -120, -80]),
        r"\(x, y, width, height\)",
    ),
    "COCO box of three": (lambda f: coco(f, bbox=[1, 2, 3]), "3 numbers where 4"),
    "COCO code of size [W, H]": (
        lambda f: coco(f, segmentation={"size": [W, H], "counts": COUNTS}),
        "drawn on 300x400, while the image is 400x300",
    ),
    "COCO code too short": (
        lambda f: coco(f, segmentation={"size": [H, W], "counts": COUNTS[:-2]}),
        "code for .* pixels with a size of 400x300",
    ),
    "COCO code too long": (
        lambda f: coco(f, segmentation={"size": [H, W], "counts": [*COUNTS, 9]}),
        "code for .* pixels with a size",
    ),
    "COCO code negative": (
        lambda f: coco(f, segmentation={"size": [H, W], "counts": [-5, H * W + 5]}),
        "negative length",
    ),
    "COCO code damaged": (
        lambda f: coco(f, segmentation={"size": [H, W], "counts": RLE["counts"][:-3] + "~~~"}),
        "damaged run-length code",
    ),
    "COCO code cut": (
        lambda f: coco(f, segmentation={"size": [H, W], "counts": RLE["counts"][:9]}),
        "damaged|code for",
    ),
    "COCO code without a size": (lambda f: coco(f, segmentation={"counts": COUNTS}), "without a size"),
    "COCO code elsewhere than its box": (
        lambda f: coco(f, bbox=[300, 200, 50, 50], segmentation=RLE),
        "outside of its box",
    ),
    "COCO crowd": (lambda f: coco(f, segmentation=RLE, iscrowd=1), "crowds"),
    "COCO unknown image": (lambda f: coco(f, image_id=9), "images that are not listed"),
    "labelme line": (
        lambda f: labelme(f, shape("line", [[1, 2], [30, 40]])),
        "'line', which enclose",
    ),
    "labelme linestrip": (
        lambda f: labelme(f, shape("linestrip", [[1, 2], [30, 40], [50, 9]])),
        "'linestrip', which enclose nothing",
    ),
    "labelme polygon of two": (lambda f: labelme(f, shape("polygon", [[1, 2], [30, 40]])), "with 2 points"),
    "labelme outside": (
        lambda f: labelme(f, shape("polygon", [[500, 2], [530, 40], [560, 9]])),
        "outside of their image",
    ),
    "labelme rectangle outside": (
        lambda f: labelme(f, shape("rectangle", [[500, 2], [530, 40]])),
        "outside of their image",
    ),
    "labelme point outside": (lambda f: labelme(f, shape("point", [[500, 2]])), "points outside"),
    "labelme mask that is none": (
        lambda f: labelme(f, shape("mask", [[1, 2], [3, 4]], mask="zzz")),
        "masks that are no PNG",
    ),
    "labelme frame of another shape": (
        lambda f: labelme(f, shape("polygon", OUTLINE.tolist()), imageWidth=H, imageHeight=W),
        "drawn on 300x400, while the image is 400x300",
    ),
    "YOLO in pixels": (lambda f: yolo(f, "0 150 100 120 80"), "values in pixels"),
    "YOLO class -1": (lambda f: yolo(f, f"-1 {CENTRE}"), "class -1"),
    "YOLO words": (lambda f: yolo(f, "date 1 2 3 4"), "not numbers"),
    "YOLO two numbers": (lambda f: yolo(f, "0 0.5 0.5"), "2 numbers, where"),
    "YOLO NaN": (lambda f: yolo(f, "0 0.5 nan 0.5 0.5"), "not finite"),
    "YOLO huge": (lambda f: yolo(f, "0 " + "1e300 " * 8), "values in pixels"),
    "YOLO triangle or tracker": (lambda f: yolo(f, f"0 {CENTRE} 0.9 1"), "a triangle and a tracker"),
    "VOC in fractions": (lambda f: voc(f, (0.2, 0.2, 0.5, 0.5)), "in fractions"),
    "VOC without a number": (lambda f: voc(f, ("", 1, 2, 3)), "not numbers"),
    "CVAT polyline": (lambda f: cvat(f, '<polyline label="date" points="1,2;3,4"/>'), "'polyline', which"),
    "CVAT mask outside": (
        lambda f: cvat(f, '<mask label="date" left="390" top="1" width="20" height="1" rle="5,15"/>'),
        "leave their image",
    ),
    "Label Studio brush": (lambda f: studio(f, "brushlabels", {"rle": [1, 2]}), "'brushlabels'"),
}
REFUSED: dict[str, tuple[object, str]] = {
    "VIA project": ({"_via_img_metadata": {}}, "a project of VIA, which is not read; export it as COCO"),
    "VIA": ({"a.png123": {"filename": "a.png", "regions": []}}, "annotations of VIA"),
    "Datumaro": ({"info": {}, "categories": {}, "items": []}, "a Datumaro file"),
    "panoptic": ({"images": [], "annotations": [{"segments_info": []}]}, "a panoptic COCO file"),
    "CreateML": ([{"image": "a.png", "annotations": []}], "annotations of CreateML"),
    "Supervisely": ({"objects": [], "size": {}}, "annotations of Supervisely"),
    "GeoJSON": ({"type": "FeatureCollection", "features": []}, "a GeoJSON file"),
    "results": ([{"image_id": 1, "category_id": 1, "score": 1}], "a list, as results files are"),
    "categories of words": (
        {"images": [], "annotations": [], "categories": ["date"]},
        "'categories' must be a list of records",
    ),
    "a word": ("date", "no 'images' in it"),
}


def _only_image_data(folder: Path) -> Path:
    data = base64.b64encode((folder / "a.png").read_bytes()).decode()
    (folder / "a.png").unlink()
    return labelme(folder, shape("polygon", OUTLINE.tolist()), imageData=data)


def one_reference(source: Path, images: Path | None = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (found,) = references_in(source, images=images)
    assert found.class_name == "date"
    image = read_reference_image(found.sample)
    np.testing.assert_array_equal(image, PICTURE)
    return found.sample


def check_on_the_object(reference: Any) -> None:
    mask = reference_mask(reference, (H, W))
    assert mask is not None
    assert (mask & OBJECT).sum() / (mask | OBJECT).sum() > 0.98


@pytest.mark.parametrize("kind", MASKS)
def test_masks_lie_on_the_object(tmp_path: Path, kind: str) -> None:
    picture(tmp_path)
    check_on_the_object(one_reference(MASKS[kind](tmp_path)))


@pytest.mark.parametrize("kind", BOXES)
def test_boxes_are_those_of_the_object(tmp_path: Path, kind: str) -> None:
    picture(tmp_path)
    reference = one_reference(BOXES[kind](tmp_path))
    assert not reference.has_mask
    assert reference.box == pytest.approx(BOX, abs=0.01)


@pytest.mark.parametrize("kind", AREAS)
def test_other_areas(tmp_path: Path, kind: str) -> None:
    picture(tmp_path)
    make, area = AREAS[kind]
    mask = reference_mask(one_reference(make(tmp_path)), (H, W))
    assert mask is not None
    assert mask[100, 150]
    assert mask.sum() == pytest.approx(area, rel=0.03)


@pytest.mark.parametrize("kind", SPOTS)
def test_points_lie_on_the_object(tmp_path: Path, kind: str) -> None:
    picture(tmp_path)
    reference = one_reference(SPOTS[kind](tmp_path))
    assert (reference.box, reference.has_mask) == (None, False)
    assert reference.point == pytest.approx((150, 100))


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_has_no_meaning_is_left_out_with_its_reason(tmp_path: Path, kind: str) -> None:
    picture(tmp_path)
    make, reason = LEFT_OUT[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DatasetError, match=reason) as caught:
            references_in(make(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", REFUSED)
def test_other_formats_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    content, said = REFUSED[kind]
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=said):
        read_annotated(path)


def test_one_odd_annotation_does_not_stop_the_others(tmp_path: Path) -> None:
    picture(tmp_path)
    path = coco(tmp_path, segmentation=[FLAT])
    content = json.loads(path.read_text())
    odd = [{"id": 8, "segmentation": [[1, 2, None, 4, 5, 6]]}, {"id": 9, "segmentation": [FLAT], "bbox": "x"}]
    content["annotations"] += [{**content["annotations"][0], **change} for change in odd]
    path.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="1 of 3 annotations left out: coordinates"):
        coco_file = CocoFile.read(path)
    assert [annotation.id for annotation in coco_file.annotations] == [7, 9]


@pytest.mark.parametrize(
    "kind", ["COCO polygon", "labelme polygon", "YOLO polygon", "CVAT polygon", "folder of masks"]
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_annotations_of_turned_pictures_are_as_shown(tmp_path: Path, kind: str, orientation: int) -> None:
    picture(tmp_path, orientation=orientation)
    check_on_the_object(one_reference(MASKS[kind](tmp_path)))


@pytest.mark.parametrize("kind", [*MASKS, *BOXES])
def test_images_may_lie_elsewhere_for_every_reader(tmp_path: Path, kind: str) -> None:
    if kind in ("folder of masks", "labelme imageData"):
        pytest.skip("the images are part of it")
    (tmp_path / "here").mkdir()
    picture(tmp_path / "there")
    source = (MASKS | BOXES)[kind](tmp_path / "here")
    if kind.startswith("YOLO"):
        (source / "labels").mkdir()
        (source / "a.txt").rename(source / "labels" / "a.txt")
    one_reference(source, images=tmp_path / "there")


def test_pictures_that_are_not_read_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"x")
    (tmp_path / "b.DNG").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"no image in it; images of formats .*1 \.dng, 1 \.heic"):
        list_targets(tmp_path)
    picture(tmp_path)
    with pytest.warns(UserWarning, match=r"passed over \(1 \.dng, 1 \.heic\)"):
        assert [target.file_name for target in list_targets(tmp_path)] == ["a.png"]


def test_targets_from_patterns_home_and_several_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("one/a.png", "one/b.png", "two/a.png"):
        picture(tmp_path / name.split("/")[0], name.split("/")[1])
    names = [target.file_name for target in list_targets("~/one")]
    assert names == ["a.png", "b.png"]
    assert [target.file_name for target in list_targets(str(tmp_path / "*/a.png"))] == [
        "one/a.png",
        "two/a.png",
    ]
    both = list_targets([tmp_path / "one", tmp_path / "two" / "a.png"])
    assert [target.file_name for target in both] == ["one/a.png", "one/b.png", "two/a.png"]
    with pytest.raises(DatasetError, match="no such image or folder"):
        list_targets([tmp_path / "one", tmp_path / "three"])


def test_a_mask_of_a_picture_that_no_machine_holds_is_refused(tmp_path: Path) -> None:
    picture(tmp_path)
    text = '<mask label="date" rle="0, 6" left="1" top="1" width="3" height="2"/>'
    path = cvat(tmp_path, text)
    path.write_text(
        path.read_text().replace(f'width="{W}" height="{H}"', 'width="1000000" height="1000000"', 1)
    )
    with pytest.raises(DatasetError, match="no image in it that has a name and a size"):
        read_annotated(path)


def test_a_box_of_cvat_turns_clockwise(tmp_path: Path) -> None:
    picture(tmp_path)
    box = '<box label="date" xtl="110" ytl="90" xbr="190" ybr="110" rotation="30"/>'
    (found,) = references_in(cvat(tmp_path, box))
    mask = reference_mask(found.sample, (H, W))
    assert mask is not None
    down_right = 150 + 30 * np.cos(np.pi / 6), 100 + 30 * np.sin(np.pi / 6)  # y points down
    assert mask[round(down_right[1]), round(down_right[0])]
    assert not mask[round(200 - down_right[1]), round(down_right[0])]
