"""The Python face: references in, instances out."""

from no_time_to_train.api.found import Instances
from no_time_to_train.api.segmenter import Segmenter

__all__ = ["Instances", "Segmenter"]
