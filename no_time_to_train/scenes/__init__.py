"""Generated scenes with exact masks: for trying out, for tests, and to train the nano weights."""

from no_time_to_train.scenes.classes import (
    GENERATOR_VERSION,
    PHOTO,
    ObjectClass,
    Scene,
    SceneStyle,
    draw_classes,
)
from no_time_to_train.scenes.composition import draw_scene
from no_time_to_train.scenes.demo import DemoDataset, write_demo_dataset
from no_time_to_train.scenes.shapes import SHAPE_FAMILIES, Split
from no_time_to_train.scenes.textures import TEXTURE_FAMILIES

__all__ = [
    "GENERATOR_VERSION",
    "PHOTO",
    "SHAPE_FAMILIES",
    "TEXTURE_FAMILIES",
    "DemoDataset",
    "ObjectClass",
    "Scene",
    "SceneStyle",
    "Split",
    "draw_classes",
    "draw_scene",
    "write_demo_dataset",
]
