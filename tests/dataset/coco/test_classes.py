"""Classes are chosen by name or id; their index is the rank of the id."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from no_time_to_train.dataset.coco.class_splits import COCO_CLASSES, METAINFO
from no_time_to_train.dataset.coco.classes import categories_by_id, choose_categories
from no_time_to_train.errors import DatasetError

FRUITS = [{"id": 9, "name": "fig"}, {"id": 2, "name": "date"}, {"id": 5, "name": "hazelnut"}]


def test_the_index_is_the_rank_of_the_id_whatever_the_order() -> None:
    names = ["fig", "hazelnut", "date"]
    expected = choose_categories(FRUITS, names)
    assert expected.ids == (2, 5, 9)
    assert expected.names == ("date", "hazelnut", "fig")
    for seed in range(5):
        random.Random(seed).shuffle(names)
        assert choose_categories(FRUITS, names) == expected
    assert choose_categories(FRUITS) == expected
    assert choose_categories(FRUITS, ["fig", "date"]).index_of == {2: 0, 9: 1}


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(DatasetError, match=r"'hazelnuts' is not in x\.json; did you mean 'hazelnut'\?"):
        choose_categories(FRUITS, ["hazelnuts"], source="x.json")


def test_ids_serve_as_names() -> None:
    assert choose_categories(FRUITS, ["9", 2]).names == ("date", "fig")


def test_string_ids_sort_by_value() -> None:
    categories = [{"id": key, "name": f"n{key}"} for key in ("10", "b", "9", "a")]
    assert choose_categories(categories).ids == ("9", "10", "a", "b")


def test_two_categories_of_one_name_stay_apart() -> None:
    categories = [{"id": 1, "name": "cell"}, {"id": 5, "name": "cell"}, {"id": 3, "name": "dot"}]
    assert choose_categories(categories, ["cell"]).names == ("cell (id 1)", "cell (id 5)")


def test_cat_names_win_over_the_split() -> None:
    categories = [{"id": index, "name": name} for index, name in enumerate(COCO_CLASSES, 1)]
    assert choose_categories(categories, ["dog"], "few_shot_classes").names == ("dog",)


def test_a_split_that_the_file_does_not_have() -> None:
    with pytest.raises(DatasetError, match=r"20 classes, of which x\.json lacks 20 .*date.* in cat_names"):
        choose_categories(FRUITS, class_split="few_shot_classes", source="x.json")
    with pytest.raises(DatasetError, match="unknown class_split 'few_shot_clases'; did you mean"):
        choose_categories(FRUITS, class_split="few_shot_clases")


def test_a_file_without_categories() -> None:
    with pytest.raises(DatasetError, match="lists no categories"):
        choose_categories([])


def test_by_id() -> None:
    assert categories_by_id(FRUITS, [9, 2], "x").names == ("date", "fig")
    with pytest.raises(DatasetError, match=r"\[4\] are not in x"):
        categories_by_id(FRUITS, [4], "x")


def test_lvis_splits_go_by_frequency() -> None:
    categories = [{"id": i, "name": f"c{i}", "frequency": "fcr"[i % 3]} for i in range(1, 7)]
    assert choose_categories(categories, class_split="lvis_rare").ids == (2, 5)
    assert choose_categories(categories, class_split="lvis_minival_common").ids == (1, 4)
    assert len(choose_categories(categories, class_split="lvis")) == 6
    with pytest.raises(DatasetError, match="needs the 'frequency'"):
        choose_categories(FRUITS, class_split="lvis_frequent")


def test_coco_names_are_those_of_the_official_file(shared: Path) -> None:
    content = json.loads((shared / "data/coco-mini/annotations/instances.json").read_text())
    ordered = sorted(content["categories"], key=lambda category: category["id"])
    assert tuple(category["name"] for category in ordered) == COCO_CLASSES


def test_splits_follow_their_rules() -> None:
    novel = METAINFO["few_shot_classes"]
    assert (len(COCO_CLASSES), len(novel)) == (80, 20)
    assert novel[:3] == ("person", "bicycle", "car")
    assert novel[-3:] == ("potted plant", "dining table", "tv")
    folds = [METAINFO[f"coco_semantic_split_{fold}"] for fold in (1, 2, 3, 4)]
    assert [len(fold) for fold in folds] == [20] * 4
    assert sorted(name for fold in folds for name in fold) == sorted(COCO_CLASSES)
    assert folds[0][:3] == ("person", "airplane", "boat")
    assert METAINFO["pascal_voc_split_2"] == ("aeroplane", "bottle", "cow", "horse", "sofa")
