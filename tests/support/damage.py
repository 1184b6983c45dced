"""Damage to files: one wrong bit, a cut; what is read must be an error or the same."""

import io
import json
import random

import numpy as np

from reid_core import ReidError
from reid_core.checksums import KEY, bytes_checksum, signed


def flips(data, count=None, seed=0):
    """Yield copies of bytes with one wrong bit: every one, or ``count`` of them by chance."""
    bits = range(8 * len(data))
    for bit in bits if count is None else random.Random(seed).sample(bits, count):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def cuts(data, step=1):
    """Yield every beginning of bytes, or one in ``step``."""
    yield from (data[:length] for length in range(0, len(data), step))


def outcomes(path, damaged, read, expected, errors=ReidError):
    """Write damaged bytes in turn; return how many gave the error and how many the same.

    Args:
        path: The file.
        damaged: Its contents.
        read: Returns what is read, comparable.
        expected: What the whole file holds.
        errors: What counts as the error.

    Returns:
        Counts of ``"error"``, ``"same"`` and ``"changed"``.
    """
    counts = {"error": 0, "same": 0, "changed": 0}
    for content in damaged:
        path.write_bytes(content)
        try:
            found = read(path)
        except errors:
            counts["error"] += 1
        else:
            counts["same" if found == expected else "changed"] += 1
    return counts


def comparable(arrays):
    """Return arrays by name as what can be compared with ``==``."""
    return {n: (a.dtype.str, a.shape, a.tobytes()) for n, a in arrays.items()}


def rewrite_json(path, **changes):
    """Change a signed JSON object and sign it again; ``...`` leaves a fact out."""
    facts = json.loads(path.read_text()) | changes
    path.write_text(
        json.dumps(signed({n: f for n, f in facts.items() if f is not ... and n != KEY}))
    )


def rewrite_scores(path, change):
    """Change the arrays of saved scores by a function and sign them again.

    Args:
        path: The npz file.
        change: Receives the arrays by name and returns them.
    """
    buffer = io.BytesIO()
    with np.load(path) as arrays:
        np.savez(buffer, **change(dict(arrays)))
    path.write_bytes(buffer.getbuffer())
    rewrite_json(path.with_suffix(".json"), arrays_checksum=bytes_checksum(buffer.getbuffer()))
