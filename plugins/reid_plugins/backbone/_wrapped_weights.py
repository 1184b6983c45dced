"""Find a backbone's state dict in what other programs save: wrapped, prefixed, with a head beside.

Nothing is taken in silence: what was unwrapped and what was left out is said, and a file in which
two networks would fit is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from reid_core import ReidError
from reid_core.errors import name_list

State = Mapping[str, Tensor]

WRAPPERS = ("state_dict", "model", "model_state_dict")
"""Names under which training programs keep the state dict in a checkpoint."""

PREFIXES = ("module.", "model.", "base.", "backbone.")
"""What wrapping modules put before a parameter's name, also one after the other."""

HEADS = ("fc", "classifier", "head", "heads", "bottleneck", "bnneck", "neck")
"""Parts that may stand beside a backbone's own and are no part of it."""


def find_state(content: Any, wanted: Collection[str], source: str) -> tuple[State, list[str]]:
    """Return the state dict of a network in what a file holds, and lines that say how.

    Args:
        content: What was read.
        wanted: Names of the network's parameters and buffers, without its classifier.
        source: The file, for messages.

    Raises:
        ReidError: There is no state dict, or more than one that could be meant.
    """
    state, wrappers = _unwrapped(content, source)
    prefix = _prefix(state, wanted, source)
    inside = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    own = {name: tensor for name, tensor in inside.items() if name.split(".")[0] not in HEADS}
    lines = []
    if wrappers or prefix:
        how = [f"'{wrapper}' of the file" for wrapper in wrappers]
        how += [f"the names that begin with '{prefix}'"] if prefix else []
        lines.append(f"{source}: taken from {', '.join(how)}")
    parts = Counter(_part(name) for name in state if not name.startswith(prefix)) + Counter(
        prefix + name.split(".")[0] for name in inside.keys() - own.keys()
    )
    if parts:
        shown = ", ".join(f"{count} of {part}" for part, count in sorted(parts.items()))
        lines.append(f"{source}: left out tensors: {shown}")
    return own, lines


def _part(name: str) -> str:
    """Return the first word of a parameter's name, behind what wraps every name."""
    words = name.split(".")
    return ".".join(words[:2]) if f"{words[0]}." in PREFIXES else words[0]


def _unwrapped(content: Any, source: str) -> tuple[State, list[str]]:
    """Return the innermost state dict and the names that lead to it."""
    names: list[str] = []
    while isinstance(content, Mapping):
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return content, names
        inner = [name for name in WRAPPERS if isinstance(content.get(name), Mapping)]
        if len(inner) > 1:
            raise ReidError(f"{source} holds several state dicts: {name_list(inner)}; save one")
        if not inner:
            break
        names.append(inner[0])
        content = content[inner[0]]
    raise ReidError(
        f"{source} is not a state dict: a dict from parameter name to tensor, or such a dict under "
        f"{name_list(WRAPPERS)}"
    )


def _prefix(state: State, wanted: Collection[str], source: str) -> str:
    """Return what stands before the network's names: where the most of them are found.

    Raises:
        ReidError: Two places have all that is wanted.
    """
    found = Counter({"": 0})
    for name in state:
        prefix, rest = "", name
        while True:
            found[prefix] += rest in wanted
            first = rest.partition(".")[0] + "."
            if first not in PREFIXES:
                break
            prefix, rest = prefix + first, rest.removeprefix(first)
    (best, count), *others = found.most_common()
    rivals = [prefix for prefix, as_many in others if count and as_many == count]
    if rivals:
        places = name_list(f"'{prefix}'" for prefix in (best, *rivals))
        raise ReidError(
            f"{source} holds more than one such network, under names that begin with {places}; "
            "save the one that is meant"
        )
    return best
