"""A training is one process; loads no torch, so that many that are started end at once."""

from __future__ import annotations

from collections.abc import Mapping

from reid_core.errors import ReidError


def is_one_of_several(environment: Mapping[str, str]) -> bool:
    """Refuse to train as one of several processes, as ``torchrun`` and others start them.

    Args:
        environment: Of the process: ``WORLD_SIZE``, ``RANK`` and ``LOCAL_RANK`` say how many there
            are and which this one is.

    Returns:
        Whether this process should end without a word, because the first one speaks.

    Raises:
        ReidError: There are several, and this is the first one.
    """
    size = _number(environment.get("WORLD_SIZE"), 1)
    if size <= 1:
        return False
    if _number(environment.get("RANK", environment.get("LOCAL_RANK")), 0):
        return True
    raise ReidError(
        f"WORLD_SIZE is {size}: this is one of {size} processes, as torchrun starts them, and a "
        "training runs in one process as yet; start it with: reid train, or with one process "
        "(torchrun --nproc-per-node 1)"
    )


def _number(text: str | None, otherwise: int) -> int:
    """Return a number of the environment; what is none counts as not given."""
    return int(text) if text and text.strip().isdecimal() else otherwise
