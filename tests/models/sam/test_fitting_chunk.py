"""Out of memory: fewer prompts at a time, one warning, the same masks."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from no_time_to_train.models.proposals.point_grid import PointGrid
from no_time_to_train.models.sam.backend import Sam2Backend
from no_time_to_train.models.sam.prompts import DecodedMasks
from no_time_to_train.weights.sam2_models import SAM2_SIZES
from tests.models.tiny import generator, random_sam


class SmallMemory(Sam2Backend):
    """A real SAM 2 that refuses more than ``room`` prompts at a time, as an accelerator does."""

    room = 0
    asked: list[int]

    def _decode_fast(self, *args: Any) -> tuple[list[DecodedMasks], int]:
        chunk = args[-1]
        self.asked.append(chunk)
        if chunk > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super()._decode_fast(*args)


@pytest.fixture(scope="module")
def sam() -> Sam2Backend:
    return random_sam()


@pytest.fixture
def small(sam: Sam2Backend) -> SmallMemory:
    small = SmallMemory(SAM2_SIZES["nano"])
    small.load_state_dict(sam.state_dict())
    small.asked = []
    return small


def test_the_chunk_is_halved_until_it_fits_and_stays_so(
    sam: Sam2Backend, small: SmallMemory, caplog: pytest.LogCaptureFixture
) -> None:
    embedding = sam.encode(torch.rand(1, 3, 512, 512, generator=generator(1)))[0]
    small.room = 5
    propose = PointGrid(4, 16, min_iou=-1.0)
    with caplog.at_level(logging.WARNING, logger="no_time_to_train"):
        first, second = propose(small, embedding), propose(small, embedding)
        small.room = 2
        propose(small, embedding)
    assert small.asked == [16, 8, 4, 4, 4, 2]
    expected = PointGrid(4, 16, min_iou=-1.0)(sam, embedding)
    for found in (first, second):
        assert torch.equal(found.logits, expected.logits)
        assert found.prompts.tolist() == expected.prompts.tolist()
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory with 16 prompts at a time; 4 from here on"
    ]


def test_a_memory_too_small_for_one_prompt_is_an_error(sam: Sam2Backend, small: SmallMemory) -> None:
    embedding = sam.encode(torch.rand(1, 3, 512, 512, generator=generator(1)))[0]
    with pytest.raises(torch.cuda.OutOfMemoryError):
        PointGrid(2, 4)(small, embedding)
    assert small.asked == [4, 2, 1]
