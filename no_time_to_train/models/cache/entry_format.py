"""How one entry of the cache is written: tensors, losslessly compressed, under a checksum."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

MAGIC = b"ntt-cache-1\n"
DIGEST = 16
"""Bytes of the checksum."""

LEVEL = 1
"""Of zlib: mantissas do not get smaller at a higher one, and everything takes longer."""


class DamagedEntryError(Exception):
    """An entry is cut off, changed, or no entry at all."""


def encode_entry(tensors: Mapping[str, Tensor]) -> bytes:
    """Pack tensors of any shape and dtype; every bit comes back."""
    described, body = [], []
    for name, tensor in tensors.items():
        values = tensor.detach().cpu().contiguous()
        described.append([name, str(values.dtype).removeprefix("torch."), list(values.shape)])
        raw = values.reshape(-1).view(torch.uint8).numpy()
        # First bytes together, then second bytes, …: signs and exponents repeat, so they get small.
        body.append(np.ascontiguousarray(raw.reshape(-1, values.element_size()).T).tobytes())
    packed = zlib.compress(json.dumps(described).encode() + b"\n" + b"".join(body), LEVEL)
    return MAGIC + _digest(packed) + packed


def decode_entry(entry: bytes) -> dict[str, Tensor]:
    """Unpack what :func:`encode_entry` made.

    Raises:
        DamagedEntryError: the checksum or the form is wrong.
    """
    start = len(MAGIC) + DIGEST
    if not entry.startswith(MAGIC) or entry[len(MAGIC) : start] != _digest(entry[start:]):
        raise DamagedEntryError("the checksum is wrong")
    content = zlib.decompress(entry[start:])
    head, _, _ = content.partition(b"\n")
    tensors, place = {}, len(head) + 1
    for name, kind, shape in json.loads(head):
        dtype = getattr(torch, kind)
        count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        planes = np.frombuffer(content, np.uint8, count, place).reshape(dtype.itemsize, -1)
        raw = torch.from_numpy(planes.T.copy().reshape(-1))
        tensors[name] = raw.view(dtype).reshape(shape)
        place += count
    return tensors


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST).digest()
