"""Split files of the few-shot benchmarks: TFA folders, the CD-FSOD layout, lists of image and mask."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from no_time_to_train.dataset.coco.file import CocoFile, load_json
from no_time_to_train.dataset.readers.image_folders import CocoContent
from no_time_to_train.errors import DatasetError, did_you_mean

TFA_NAME = re.compile(r"full_box_(?P<shots>\d+)shot_(?P<name>.+)_trainval\.json")


@dataclass(frozen=True)
class CdFsodFiles:
    """One data set of CD-FSOD.

    Attributes:
        references: ``annotations/<k>_shot.json``; images in ``reference_images``.
        test: ``annotations/test.json``; images in ``test_images``.
    """

    references: Path
    reference_images: Path
    test: Path
    test_images: Path


def cd_fsod_files(root: str | Path, name: str, shots: int) -> CdFsodFiles:
    """Locate the files of ``<root>/<Name>/{train,test,annotations}``.

    Raises:
        DatasetError: no such data set or number of shots; the message names what there is.
    """
    root = Path(root)
    folder = root / name
    if not (folder / "annotations").is_dir():
        known = sorted(path.parent.name for path in root.glob("*/annotations"))
        raise DatasetError(
            f"{root}: no CD-FSOD data set {name!r}{did_you_mean(name, known)} (it has {', '.join(known)})"
        )
    references = folder / "annotations" / f"{shots}_shot.json"
    if not references.is_file():
        known = sorted(path.name for path in references.parent.glob("*_shot.json"))
        raise DatasetError(f"{references}: no such file; there are {', '.join(known)}")
    return CdFsodFiles(references, folder / "train", folder / "annotations" / "test.json", folder / "test")


def read_tfa_folder(folder: str | Path, shots: int | None = None) -> CocoContent:
    """Join the per-class files of a TFA split (``full_box_<k>shot_<class>_trainval.json``) into one.

    Args:
        shots: which of several numbers of shots; None when there is only one. Files of other names are
            taken when none has a TFA name.
    """
    files = sorted(Path(folder).glob("*.json"))
    named = [(match, path) for path in files if (match := TFA_NAME.fullmatch(path.name))]
    if named:
        numbers = sorted({int(match["shots"]) for match, _ in named})
        wanted = shots if shots is not None else numbers[0] if len(numbers) == 1 else None
        if wanted not in numbers:
            raise DatasetError(f"{folder}: has files for {numbers} shots; say which, got {shots}")
        files = [path for match, path in named if int(match["shots"]) == wanted]
    return join_coco_files(files)


def join_coco_files(files: Sequence[str | Path]) -> CocoContent:
    """Join annotation files that share their ids: an image or annotation in several counts once.

    Raises:
        DatasetError: no file, or one id stands for different images or categories.
    """
    if not files:
        raise DatasetError("no annotation files to join")
    content: CocoContent = {"info": {}, "licenses": [], "images": [], "annotations": [], "categories": []}
    for path in files:
        part = load_json(path)
        if not isinstance(part, dict):
            raise DatasetError(f"{path}: not a COCO annotation file")
        for key in ("images", "annotations", "categories"):
            content[key] += part.get(key) or []
    joined = CocoFile.read({**content, "annotations": []}, warn=False)
    first_images = {record["id"]: record for record in reversed(content["images"])}
    first_annotations = {
        record.get("id", -index): record
        for index, record in reversed(list(enumerate(content["annotations"], 1)))
    }
    return {
        **content,
        "images": [first_images[image_id] for image_id in joined.images],
        "annotations": list(reversed(list(first_annotations.values()))),
        "categories": joined.categories,
    }


def read_image_mask_list(path: str | Path, root: str | Path = ".") -> list[tuple[Path, Path]]:
    """Read a list of ``image mask`` pairs, as COCO-20i has it; paths relative to ``root``."""
    pairs = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise DatasetError(f"{path}, line {number}: expected an image and a mask, got {line[:80]!r}")
        pairs.append((Path(root) / words[0], Path(root) / words[1]))
    return pairs
