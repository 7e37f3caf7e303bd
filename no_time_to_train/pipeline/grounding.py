"""Boxes of whatever a few words name, by GroundingDINO (arXiv 2303.05499) of the package ``transformers``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from no_time_to_train.dataset.images import read_image
from no_time_to_train.dataset.samples import Target
from no_time_to_train.errors import CheckpointError, ConfigError, DatasetError
from no_time_to_train.pipeline.streams import AHEAD, Skips, read_ahead

FILES = ("*.json", "*.txt", "*.safetensors")


class GroundingDetector:
    """A text and an image in, boxes and scores out.

    Args:
        weights: folder with the files of ``save_pretrained``, or a name on the Hugging Face hub, whose files
            are fetched once into the cache of ``huggingface_hub``.
        prompt: what to look for, in lower case; several things have a full stop between them.

    Raises:
        ConfigError: the package transformers is missing, or an empty prompt.
        CheckpointError: the files cannot be fetched, or are no GroundingDINO, or not all of one.
    """

    def __init__(self, weights: str, prompt: str, device: torch.device) -> None:
        words = prompt.strip().lower().rstrip(". ")
        if not words:
            raise ConfigError(f"prompt must name something, such as object, got {prompt!r}")
        try:
            from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor
        except ImportError:
            raise ConfigError(
                "ntt propose needs the package transformers: pip install 'no-time-to-train[boxes]'"
            ) from None
        self.prompt, self.device = f"{words}.", device
        folder = weights if Path(weights).is_dir() else _fetched(weights)
        try:
            self._processor = GroundingDinoProcessor.from_pretrained(folder, local_files_only=True)
            loaded: Any = GroundingDinoForObjectDetection.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
        except Exception as error:  # each of its readers has errors of its own
            raise CheckpointError(
                f"{weights}: not read as a GroundingDINO ({str(error).splitlines()[0]}); give a folder as "
                f"save_pretrained writes it"
            ) from error
        network, about = loaded
        if about["missing_keys"]:  # transformers would draw them at random
            lacking = sorted(about["missing_keys"])
            raise CheckpointError(f"{weights}: {len(lacking)} tensors are missing, {lacking[0]} for one")
        self._network = network.to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, min_score: float) -> tuple[np.ndarray, np.ndarray]:
        """Boxes of an image, best first.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (N, 4) x1, y1, x2, y2 in pixels, inside of the image; (N,) scores in [0, 1], above ``min_score``.
        """
        height, width = image.shape[:2]
        own = image.copy()  # of a read file it is read-only, of which PyTorch warns
        given = self._processor(images=own, text=self.prompt, return_tensors="pt").to(self.device)
        (found,) = self._processor.post_process_grounded_object_detection(
            self._network(**given), given["input_ids"], threshold=min_score, target_sizes=[(height, width)]
        )
        boxes, scores = found["boxes"].float().cpu().numpy(), found["scores"].float().cpu().numpy()
        boxes = np.clip(boxes, 0, [width, height, width, height])
        order = np.argsort(-scores, kind="stable")
        order = order[(boxes[order, 2:] > boxes[order, :2]).all(axis=1)]
        return boxes[order], scores[order]


def propose_boxes(
    detector: GroundingDetector, targets: Iterable[Target], min_score: float, most: int, skips: Skips
) -> Iterator[list[dict[str, Any]]]:
    """COCO results of each target, for ``read_boxes``; ``image_id`` is its file name.

    Args:
        most: boxes of an image, the best.
    """
    for target, image in read_ahead(_read, targets, AHEAD):
        if isinstance(image, DatasetError):
            skips.skip(image)
            continue
        boxes, scores = detector(image, min_score)
        corners = zip(boxes[:most].tolist(), scores[:most].tolist(), strict=True)
        yield [
            {"image_id": target.file_name, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": s}
            for (x1, y1, x2, y2), s in corners
        ]


def _read(target: Target) -> tuple[Target, np.ndarray | DatasetError]:
    try:
        return target, read_image(Path(str(target.image)))
    except DatasetError as error:
        return target, error


def _fetched(name: str) -> str:
    """The folder of a repository on the hub, in the cache that all packages of Hugging Face share."""
    from huggingface_hub import snapshot_download

    try:
        return snapshot_download(name, allow_patterns=list(FILES))
    except Exception as error:
        raise CheckpointError(
            f"{name}: no such folder, and not to be had from the hub ({str(error).splitlines()[0]}); fetch "
            f"{', '.join(FILES)} of https://huggingface.co/{name} by hand, and give their folder"
        ) from error
