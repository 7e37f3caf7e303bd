"""Masks from boxes and points, on generated scenes with the nano weights."""

from __future__ import annotations

import numpy as np
import torch

from no_time_to_train.masks.ops import mask_boxes
from no_time_to_train.models.sam.build import build_sam2
from no_time_to_train.models.sam.marked_masks import masks_from_boxes, masks_from_points
from no_time_to_train.scenes import draw_classes, draw_scene
from no_time_to_train.scenes.composition import SceneStyle


def overlap(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    shared = (first & second).flatten(1).sum(1)
    return shared / (first | second).flatten(1).sum(1)


def test_boxes_and_points_give_masks_of_the_objects_they_mark() -> None:
    generator = np.random.default_rng(5)
    classes = draw_classes(generator, "test", 4)
    scene = draw_scene(generator, classes, SceneStyle(size=256), split="test")
    truth = torch.from_numpy(np.asarray(scene.masks)).bool()
    sam = build_sam2("sam2_nano", None)
    boxes = mask_boxes(truth)
    found = masks_from_boxes(sam, scene.image, boxes)
    assert found.shape == truth.shape
    assert overlap(found, truth).median() > 0.5
    centres = torch.stack([torch.nonzero(mask).float().mean(0).flip(0) for mask in truth])
    assert masks_from_points(sam, scene.image, centres).shape == truth.shape


def test_no_prompts_give_no_masks() -> None:
    sam = build_sam2("sam2_nano", None)
    image = np.zeros((30, 40, 3), np.uint8)
    assert masks_from_boxes(sam, image, torch.zeros(0, 4)).shape == (0, 30, 40)
    assert masks_from_points(sam, image, torch.zeros(0, 2)).shape == (0, 30, 40)
