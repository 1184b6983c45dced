"""How files are damaged: bytes by accident, JSON by hand."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Data = bytes
Change = Callable[[Data, random.Random], Data]


def bit_flipped(data: Data, bit: int) -> Data:
    """Return the data with one bit turned."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def damaged(data: Data, rng: random.Random, others: Sequence[Data] = ()) -> Data:
    """Return the data as a bad disk, a cut transfer or a mix-up leaves them.

    Args:
        data: What is damaged.
        rng: Chooses how and where.
        others: Other files, parts of which may stand in this one.
    """
    changes = [_flip, _flip, _set_bytes, _cut, _zeros, _repeat, _remove, _add, _swap, _number]
    change = rng.choice(changes)
    if others and rng.random() < 0.1:
        other = rng.choice(others)
        at = _place(data, rng)
        return data[:at] + other[_place(other, rng) :]
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        data = change(data, rng)
    return data


def _place(data: Data, rng: random.Random) -> int:
    """Return a place; the ends, where headers and lists of contents stand, come up more often."""
    size = max(1, len(data))
    near = min(size, 200)
    return rng.choice((rng.randrange(size), rng.randrange(near), size - 1 - rng.randrange(near)))


def _flip(data: Data, rng: random.Random) -> Data:
    return bit_flipped(data, 8 * _place(data, rng) + rng.randrange(8)) if data else data


def _set_bytes(data: Data, rng: random.Random) -> Data:
    at, count = _place(data, rng), rng.choice((1, 2, 4, 8))
    return data[:at] + rng.randbytes(count) + data[at + count :]


def _number(data: Data, rng: random.Random) -> Data:
    """Write a number that lengths and sizes should not be."""
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, (1 << 8 * size) - 1, 1 << 8 * size - 1, rng.getrandbits(8 * size)))
    at = _place(data, rng)
    number = value.to_bytes(size, rng.choice(("little", "big")))
    return data[:at] + number + data[at + size :]


def _cut(data: Data, rng: random.Random) -> Data:
    return data[: _place(data, rng)]


def _zeros(data: Data, rng: random.Random) -> Data:
    at, count = _place(data, rng), rng.choice((16, 512, 4096))
    return data[:at] + bytes(min(count, len(data) - at)) + data[at + count :]


def _repeat(data: Data, rng: random.Random) -> Data:
    at, count = _place(data, rng), rng.choice((1, 16, 512))
    return data[: at + count] + data[at:]


def _remove(data: Data, rng: random.Random) -> Data:
    at, count = _place(data, rng), rng.choice((1, 16, 512))
    return data[:at] + data[at + count :]


def _add(data: Data, rng: random.Random) -> Data:
    return data + rng.randbytes(rng.choice((1, 16, 512)))


def _swap(data: Data, rng: random.Random) -> Data:
    one, two = sorted((_place(data, rng), _place(data, rng)))
    count = min(64, two - one)
    middle = data[one + count : two]
    return (
        data[:one]
        + data[two : two + count]
        + middle
        + data[one : one + count]
        + (data[two + count :])
    )


# ---- JSON -------------------------------------------------------------------------------

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e-300, 1e300, 2**31, 2**63, 10**30, -(2**64)),
    *(float("nan"), float("inf"), "", " ", "0", "null", "auto", "a" * 5000, "\x00", "\x1b[31m"),
    *("\ud800", "../../etc/passwd", "/dev/zero", "~nobody/x", "张三", "a\nb"),
    *([], {}, [[]], [{}], [None], {"": 0}, {"name": "softmax"}, {"name": None}, {"params": []}),
)
"""Values that stand where something else is expected."""


ODD = ("odd", "odd", "number", "elsewhere", "gone", "key", "twice", "deep")
PLAUSIBLE = ("number", "number", "number", "elsewhere", "gone", "twice")
"""Ways to change a place; after the second ones many params are still right."""


def json_changed(value: Any, rng: random.Random, ways: Sequence[str] = ODD) -> Any:
    """Return a JSON value in which one to three places are changed."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return rng.choice(ODD_VALUES)
        _change(places, rng, rng.choice(ways))
    return value


def json_text(value: Any) -> Data:
    """Return JSON as a file has it, lone surrogates and NaN included."""
    return json.dumps(value).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (holder, key or position) in a value."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _change(places: Sequence[tuple[Any, Any]], rng: random.Random, way: str) -> None:
    """Change one place in one way; where the way does not fit, put an odd value there."""
    if way == "number":
        numbers = [(h, k) for h, k in places if type(h[k]) in (int, float)]
        places = numbers or places
    holder, key = rng.choice(places)
    old = holder[key]
    if way == "gone":
        del holder[key]
    elif way == "number" and isinstance(old, int | float):
        changed = old * rng.choice((-1, 0, 1, 2, 10, 1000, 1e6, 0.1)) + rng.choice((0, 1, -1))
        holder[key] = int(changed) if isinstance(old, int) and rng.random() < 0.8 else changed
    elif way == "elsewhere":
        other, at = rng.choice(places)
        holder[key] = copy.deepcopy(other[at])
    elif way == "key" and isinstance(holder, dict):
        holder[_misspelt(str(key), rng)] = holder.pop(key)
    elif way == "twice" and isinstance(holder, list):
        holder.append(copy.deepcopy(old))
    elif way == "deep":
        for _ in range(rng.choice((1, 3, 100))):
            old = [old]
        holder[key] = old
    else:
        holder[key] = copy.deepcopy(rng.choice(ODD_VALUES))


def _misspelt(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word) + 1)
    return word[:at] + rng.choice(("", "x", "_", ".", " ", "\n", word)) + word[at + 1 :]
