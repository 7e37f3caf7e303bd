"""Masks from boxes and points, on generated scenes with the nano weights."""

from __future__ import annotations

import numpy as np
import pytest
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


@pytest.mark.parametrize("size", [(128, 384), (384, 128)])
def test_marks_on_oblong_pictures_are_scaled_along_their_own_axes(size: tuple[int, int]) -> None:
    """Two discs: with x and y swapped, or one scale for both, a mark meets the other one or the ground."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    centres = torch.tensor([[40.0, 90.0], [size[1] - 40.0, size[0] - 40.0]])
    truth = torch.stack([(x - cx) ** 2 + (y - cy) ** 2 < 28**2 for cx, cy in centres.tolist()])
    image = np.full((*size, 3), 40, np.uint8)
    image[truth[0]], image[truth[1]] = (200, 80, 60), (70, 90, 210)
    sam = build_sam2("sam2_nano", None)
    assert (overlap(masks_from_boxes(sam, image, mask_boxes(truth)), truth) > 0.7).all()
    assert (overlap(masks_from_points(sam, image, centres), truth) > 0.7).all()


def test_no_prompts_give_no_masks() -> None:
    sam = build_sam2("sam2_nano", None)
    image = np.zeros((30, 40, 3), np.uint8)
    assert masks_from_boxes(sam, image, torch.zeros(0, 4)).shape == (0, 30, 40)
    assert masks_from_points(sam, image, torch.zeros(0, 2)).shape == (0, 30, 40)
