"""The callbacks of a run: when they are called, what they may do, and what is kept of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch

from reid_core.boundary import Origin
from reid_core.contracts import Callback, CallbackContext, Scores
from reid_core.errors import did_you_mean, name_list
from reid_core.params.entries import CallbackEntry, numbered_names
from reid_core.params.schema import RunParams

MOMENTS = ("before_epoch", "after_epoch", "after_evaluation")
"""Methods of a callback that are called in the course of a run."""

ContextOf = Callable[[str, Origin, bool], CallbackContext]
"""``(name of the callback, whose it is, it may relabel) -> what it may look at and do``."""


class Callbacks:
    """The callbacks of the params, each called inside the boundary around its plugin."""

    def __init__(self, entries: Sequence[CallbackEntry], num_images: int) -> None:
        """Build them.

        Args:
            entries: The params' ``callback`` section.
            num_images: Training images.

        Raises:
            ReidError: One cannot be built, or defines nothing that is ever called.
        """
        self._built: list[tuple[str, Origin, Any]] = []
        for name, entry in zip(numbered_names(entries), entries, strict=True):
            callback = entry.build(name=name, num_images=num_images)
            _check_callback(callback, entry.origin)
            self._built.append((name, entry.origin, callback))

    def before_epoch(self, context_of: ContextOf) -> None:
        """Call what comes before an epoch; here images may be relabelled."""
        for name, origin, callback in self._with("before_epoch"):
            with origin.calling("before an epoch"):
                callback.before_epoch(context_of(name, origin, True))

    def after_epoch(self, context_of: ContextOf) -> str:
        """Call what comes after an epoch; return the first callback that ends the training."""
        return self._ended_by(
            "after_epoch", lambda name, origin: (context_of(name, origin, False),)
        )

    def after_evaluation(self, context_of: ContextOf, results: Mapping[str, Scores]) -> str:
        """Call what looks at scores; return the first callback that ends the training."""
        # Each gets results of its own, whatever the others do to theirs.
        return self._ended_by(
            "after_evaluation",
            lambda name, origin: (context_of(name, origin, False), deepcopy(results)),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what the checkpoint keeps of every callback, by its name.

        Raises:
            PluginError: A state holds what a checkpoint cannot be read back with.
        """
        states = {}
        for name, origin, callback in self._with("state_dict"):
            with origin.calling("when its state was asked for"):
                state = callback.state_dict()
            _check_state(state, origin, "state_dict()")
            states[name] = state
        return states

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Give every callback its state back."""
        for name, origin, callback in self._with("load_state_dict"):
            if name in states:
                with origin.calling("when it was given its state back"):
                    callback.load_state_dict(states[name])

    def _ended_by(self, moment: str, arguments: Callable[[str, Origin], tuple[Any, ...]]) -> str:
        """Call every callback, also those after one that ends the training."""
        ended_by = ""
        for name, origin, callback in self._with(moment):
            with origin.calling(moment.replace("_", " ")):
                ends = getattr(callback, moment)(*arguments(name, origin))
            if ends is not None and not isinstance(ends, bool):
                raise origin.fault(f"returned {ends!r} from {moment}; expected True, False or None")
            if ends and not ended_by:
                ended_by = name
        return ended_by

    def _with(self, method: str) -> list[tuple[str, Origin, Any]]:
        return [part for part in self._built if callable(getattr(part[2], method, None))]


def check_callbacks(params: RunParams) -> None:
    """Build the callbacks of some params and ask for their state, before there is any image."""
    Callbacks(params.callback, num_images=1).state_dict()


def _check_callback(callback: object, origin: Origin) -> None:
    """Refuse a callback that would never be called, or would lose its state.

    Raises:
        PluginError: It is one of these.
    """
    own = [name for name in MOMENTS if _defines(callback, name)]
    for name, _ in inspect.getmembers(type(callback), callable):
        if name.startswith(("before_", "after_", "on_")) and name not in MOMENTS:
            hint = did_you_mean(name, MOMENTS)
            raise origin.fault(
                f"defines '{name}', which is never called{hint} (called are {name_list(MOMENTS)})"
            )
    for name in own:
        _check_signature(getattr(callback, name), name, origin)
    if not own:
        raise origin.fault(f"was built as {callback!r}, which defines none of {name_list(MOMENTS)}")
    if _defines(callback, "state_dict") != _defines(callback, "load_state_dict"):
        raise origin.fault("defines one of 'state_dict' and 'load_state_dict'; it needs both")


def _check_signature(method: Callable[..., Any], name: str, origin: Origin) -> None:
    """Refuse a method that cannot be called as it will be: after hours, in the worst case.

    Raises:
        PluginError: It takes other arguments.
    """
    arguments = ("context", "results") if name == "after_evaluation" else ("context",)
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError:
        raise origin.fault(
            f"defines {name}{inspect.signature(method)}; it is called with ({', '.join(arguments)})"
        ) from None


def _defines(callback: object, name: str) -> bool:
    """Return whether a callback has a method of its own, not that of the base class."""
    found = getattr(type(callback), name, None) or getattr(callback, name, None)
    return callable(found) and found is not getattr(Callback, name)


def _check_state(state: Any, origin: Origin, place: str) -> None:
    """Refuse a state that a checkpoint, which runs no code, could not be read back with.

    Raises:
        PluginError: It holds something else than tensors, numbers, strings and containers.
    """
    if isinstance(state, Mapping):
        inner: Iterable[tuple[str, Any]] = ((f"{place}[{k!r}]", v) for k, v in state.items())
        for key in state:
            _check_state(key, origin, f"a key of {place}")
    elif isinstance(state, list | tuple):
        inner = ((f"{place}[{i}]", v) for i, v in enumerate(state))
    elif state is None or type(state) in (bool, int, float, str) or type(state) is torch.Tensor:
        return
    else:
        raise origin.fault(
            f"keeps a {type(state).__name__} in {place}; expected tensors, numbers, strings, lists "
            "and dicts (torch.from_numpy(array) makes a tensor)"
        )
    for where, value in inner:
        _check_state(value, origin, where)
