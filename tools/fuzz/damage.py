"""What files suffer: bytes lost, doubled and changed, values of another kind, and numbers that cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any

ODD_NUMBERS = [0, -1, 1, 0.5, 1e9, -1e9, 1e300, 10**400, float("nan"), float("inf"), 2**31, 2**63, 65_536]
ODD_VALUES: list[Any] = [
    *ODD_NUMBERS,
    None,
    True,
    "",
    "x",
    "0",
    "b'abc'",
    "~" * 40,
    "a" * 4000,
    "\x00",
    "\ud800",
    "..",
    "/dev/zero",
    [],
    {},
    [[]],
    [[[[1]]]],
    [None] * 6,
    [1, 2, 3, 4, 5, 6],
    [[1, 2], [3, 4], [5, 6]],
    [{"x": 1, "y": 2}] * 3,
    {"size": [2**20, 2**20], "counts": [2**40]},
    {"size": [60, 80], "counts": "o" * 99},
]
ODD_BYTES = [
    b"nan",
    b"-1",
    b"1e309",
    b"9" * 60,
    b"\x00",
    b"\xff\xfe",
    b"<",
    b"&x;",
    b"]",
    b"{",
    b":",
    b"",
    b"*a",
]


def damaged(content: bytes, random: Random) -> bytes:
    """The content with one to four faults, in its bytes or, of JSON, more often in its values."""
    if random.random() < 0.7:
        try:
            return _odd_values(json.loads(content), random)
        except ValueError:
            pass
    data = bytearray(content)
    for _ in range(random.randint(1, 4)):
        start = random.randint(0, len(data))
        end = min(len(data), start + random.choice((0, 1, 1, 4, 12, len(data))))
        kind = random.random()
        if kind < 0.4:
            data[start:end] = random.choice(ODD_BYTES)
        elif kind < 0.6:
            data[start:end] = random.randbytes(end - start)
        elif kind < 0.8:
            del data[start:end]
        else:
            data[start:start] = data[start:end]
    return bytes(data[:1_000_000])


def _odd_values(value: Any, random: Random) -> bytes:
    for _ in range(random.randint(1, 3)):
        way = random.choice([*places(value)] or [()])
        if not way:
            return json.dumps(random.choice(ODD_VALUES)).encode()
        inner = value
        for key in way[:-1]:
            inner = inner[key]
        if random.random() < 0.15:
            del inner[way[-1]]
        else:
            inner[way[-1]] = deepcopy(random.choice(ODD_VALUES))
    return json.dumps(value).encode()


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside of a JSON value; of a long list to the first three."""
    if way:
        yield way
    items = (
        value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    )
    for key, part in items:
        yield from places(part, (*way, key))
