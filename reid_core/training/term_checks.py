"""What losses and objectives return: types and shapes in every step, numbers in a trial."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from reid_core.boundary import Origin
from reid_core.contracts import LossOutput, Term

ROUNDING = 1e-4
"""How far above 1 the mean of accuracies may come to be."""


def check_loss_output(
    output: Any, origin: Origin, place: str, *, attached: bool, device: torch.device
) -> None:
    """Check what a loss returned; no number is read, so that a GPU goes on.

    Args:
        output: It should be a ``LossOutput``.
        origin: Whose the loss is.
        place: When it was called, for the message.
        attached: What it was given depends on trained parameters, so its value must too.
        device: Where its input is.

    Raises:
        PluginError: It is none, or its parts are not what the contract says.
    """
    if not isinstance(output, LossOutput):
        raise origin.fault(f"returned {_text(output)}; expected a LossOutput", place)
    _check_parts(output, origin, place, "value", attached=attached, device=device)


def check_terms(
    terms: Any, origin: Origin, place: str, *, attached: bool, device: torch.device
) -> None:
    """Check what an objective returned; see ``check_loss_output``."""
    if not isinstance(terms, Mapping):
        raise origin.fault(f"returned {_text(terms)}; expected terms by name", place)
    for name, term in terms.items():
        if not isinstance(name, str) or not isinstance(term, Term):
            found = f"{name!r}: {_text(term)}"
            raise origin.fault(f"returned {found}; expected a Term by its name", place)
        weight: Any = term.weight
        if not isinstance(weight, Real) or not math.isfinite(weight):
            raise origin.fault(
                f"gave the term '{name}' the weight {_text(weight)}; expected a finite number",
                place,
            )
        what = f"the value of the term '{name}'"
        _check_parts(term, origin, place, what, attached=attached, device=device)


def check_loss_numbers(output: LossOutput, origin: Origin, place: str) -> None:
    """Check the numbers of what a loss returned, which ``check_loss_output`` has let through.

    Raises:
        PluginError: Value or a monitor is NaN or infinite, or the accuracy is none.
    """
    numbers = {"the value": output.value}
    numbers |= {f"the monitor '{name}'": number for name, number in output.monitors.items()}
    for what, number in numbers.items():
        if not torch.isfinite(number):
            raise origin.fault(
                f"returned {what} {number.item():g}; expected a finite number", place
            )
    if output.accuracy is not None and not is_accuracy(output.accuracy.item()):
        raise origin.fault(
            f"returned the accuracy {output.accuracy.item():g}; expected a number from 0 to 1",
            place,
        )


def is_accuracy(number: float) -> bool:
    """Return whether a number is from 0 to 1."""
    return 0 <= number <= 1 + ROUNDING


def untrained_modules(objective: object, origin: Origin) -> Iterator[nn.Module]:
    """Yield the sub-modules that an objective declares as not trained.

    Raises:
        PluginError: It names what is no sub-module of it.
    """
    names: Any = getattr(objective, "untrained", ())
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise origin.fault(f"declares untrained = {names!r}; expected a tuple of names")
    for name in names:
        part = getattr(objective, name, None)
        if not isinstance(objective, nn.Module) or not isinstance(part, nn.Module):
            raise origin.fault(
                f"declares '{name}' as untrained; expected the name of one of its sub-modules"
            )
        yield part


def _check_parts(
    output: LossOutput | Term,
    origin: Origin,
    place: str,
    what: str,
    *,
    attached: bool,
    device: torch.device,
) -> None:
    """Check value, monitors and accuracy."""
    value: Any = output.value
    if not isinstance(value, Tensor) or value.ndim != 0 or not value.is_floating_point():
        raise origin.fault(
            f"returned {_text(value)} as {what}; expected a 0-d floating-point tensor", place
        )
    if value.device != device:
        raise origin.fault(
            f"returned {what} on {value.device}; expected it on {device}, where its input is", place
        )
    if attached and not value.requires_grad:
        raise origin.fault(
            f"returned {what} without a gradient, so that it would train nothing; expected a value "
            "attached to the graph (what has nothing to say gives sum / count.clamp(min=1))",
            place,
        )
    monitors: Any = output.monitors
    if not isinstance(monitors, Mapping):
        raise origin.fault(
            f"returned {_text(monitors)} as monitors; expected numbers by name", place
        )
    for name, number in monitors.items():
        if not isinstance(name, str) or not _is_number(number):
            raise origin.fault(
                f"returned {_text(number)} as the monitor {name!r}; expected a 0-d tensor", place
            )
    if output.accuracy is not None and not _is_number(output.accuracy):
        raise origin.fault(
            f"returned {_text(output.accuracy)} as accuracy; expected a 0-d tensor or None", place
        )
    if output.accuracy is not None and "accuracy" in monitors:
        term = what.removeprefix("the value of ") if isinstance(output, Term) else "its value"
        raise origin.fault(
            f"gives an accuracy and a monitor named 'accuracy' for {term}; expected another name",
            place,
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 0 and not value.is_complex()


def _text(value: Any) -> str:
    """Describe a wrong value in a few words."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    if isinstance(value, bool | int | float | str | None):
        return repr(value)[:80]
    return f"a {type(value).__name__}"
