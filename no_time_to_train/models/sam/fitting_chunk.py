"""As many prompts at a time as the accelerator's memory has room for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

log = logging.getLogger(__name__)

Decoded = TypeVar("Decoded")


class FittingChunk:
    """How many prompts go through at a time, halved whenever the accelerator's memory is too small for them.

    The smaller number stays for the images to come; the first time it is said, in one warning.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        self._said = False

    def decode(self, decode: Callable[[int], Decoded], chunk: int) -> Decoded:
        """Call ``decode`` with at most ``chunk`` prompts at a time, and with half as many until it fits.

        Raises:
            torch.cuda.OutOfMemoryError: one prompt alone does not fit.
        """
        size = chunk if self.limit is None else min(chunk, self.limit)
        while True:
            try:
                found = decode(size)
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                # Retried outside of this block: the error's frames hold the tensors that filled the memory.
                size, self.limit = max(1, size // 2), max(1, size // 2)
            else:
                self._say(chunk)
                return found
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _say(self, chunk: int) -> None:
        if self.limit is not None and not self._said:
            self._said = True
            log.warning("out of memory with %d prompts at a time; %d from here on", chunk, self.limit)
