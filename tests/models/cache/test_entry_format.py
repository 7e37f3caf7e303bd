"""Entries come back bit for bit, and any damage is noticed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from no_time_to_train.models.cache.entry_format import DamagedEntryError, decode_entry, encode_entry

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool)


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.integers(0, 5), max_size=3),
)
def test_tensors_come_back_bit_for_bit(seed: int, dtype: torch.dtype, shape: list[int]) -> None:
    draw = torch.Generator().manual_seed(seed)
    tensor = (torch.randn(shape, generator=draw) * 100).to(dtype)
    back = decode_entry(encode_entry({"one": tensor, "two": tensor.flatten()[:1]}))
    assert list(back) == ["one", "two"]
    assert back["one"].dtype == dtype
    assert torch.equal(back["one"], tensor)
    assert torch.equal(back["two"], tensor.flatten()[:1])


def test_special_numbers_keep_their_bits() -> None:
    odd = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
    back = decode_entry(encode_entry({"odd": odd}))["odd"]
    assert torch.equal(back.view(torch.int32), odd.view(torch.int32))


def test_a_tensor_that_is_a_view_of_another() -> None:
    whole = torch.arange(12).view(3, 4)
    assert torch.equal(decode_entry(encode_entry({"view": whole.T[1:]}))["view"], whole.T[1:])


@settings(deadline=None)
@given(place=st.integers(0, 10_000))
def test_one_flipped_bit_is_noticed(place: int) -> None:
    entry = bytearray(encode_entry({"a": torch.arange(40.0)}))
    entry[place % len(entry)] ^= 1
    with pytest.raises(DamagedEntryError):
        decode_entry(bytes(entry))


@pytest.mark.parametrize("length", [0, 5, 20, 40])
def test_a_cut_off_entry_is_noticed(length: int) -> None:
    with pytest.raises(DamagedEntryError):
        decode_entry(encode_entry({"a": torch.arange(40.0)})[:length])


def test_little_space_for_numbers_of_less_precision() -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    assert len(encode_entry({"a": values})) < 0.95 * 40_000
    assert len(encode_entry({"a": values.bfloat16().float()})) < 0.5 * 40_000
