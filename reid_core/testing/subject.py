"""A component under test, with what it is built from and called with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reid_core.catalog import Catalog, Offer
from reid_core.component import Component, Params
from reid_core.errors import ParamsError
from reid_core.params.messages import validate

BATCH = 8
"""Images of a batch that nothing else is said of."""


@dataclass(frozen=True)
class Case:
    """What a component needs that differs from what is usual.

    Attributes:
        size: (height, width): of the images of a backbone, in pixels; of the map of a head, in
            cells; of the images of an augmentation, in pixels.
        tokens: Tokens that a head's feature map has, 0 for none.
        maps: Further maps that it has, by the stage's name: (channels, height, width).
        aux: Shapes of values of heads behind the image, by name; default: ``()``, one number.
        columns: Number of values of columns of the images, by name; default: 2.
        context: Keywords for ``build`` that take the place of the usual ones.
    """

    size: tuple[int, int] | None = None
    tokens: int = 0
    maps: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    aux: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    columns: Mapping[str, int] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """A component under test.

    Attributes:
        offer: The component and who offers it.
        catalog: Where it is from.
        given: Its params, as params.json would have them.
        case: What it needs.
    """

    offer: Offer
    catalog: Catalog
    given: Mapping[str, Any] = field(default_factory=dict)
    case: Case = field(default_factory=Case)

    @property
    def component(self) -> Component:
        """Return what is tested."""
        return self.offer.component

    @property
    def params(self) -> Params:
        """Return the checked params.

        Raises:
            ParamsError: They are wrong, or required ones are missing.
        """
        problems: list[str] = []
        params = validate(self.component.params, dict(self.given), problems, self.catalog)
        if params is None:
            raise ParamsError(f"params of {self.offer}", problems)
        return params

    def build(self, **context: Any) -> Any:
        """Build the component from its params; the case's keywords take the place of others."""
        return self.offer.build(self.params, **{**context, **self.case.context})

    def build_seeded(self, seed: int = 0, **context: Any) -> Any:
        """Build it with random weights that depend on a seed alone."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self.build(**context)

    def values_of_heads(self, names: tuple[str, ...], features: Tensor) -> dict[str, Tensor]:
        """Return values ``(B, ...)`` by name, made of vectors ``(B, d)`` so that gradients flow."""
        small = features.float().mean(dim=1).tanh() / 10
        shapes = {name: self.case.aux.get(name, ()) for name in names}
        return {
            name: small.reshape(-1, *[1] * len(shape)).expand(-1, *shape)
            for name, shape in shapes.items()
        }

    def columns(self, names: tuple[str, ...], count: int) -> dict[str, np.ndarray]:
        """Return columns ``(count,)`` int64 by name."""
        return {n: np.arange(count, dtype=np.int64) % self.case.columns.get(n, 2) for n in names}


def expect(condition: object, message: str) -> None:
    """Raise an AssertionError that says what was expected; unlike ``assert`` also under -O."""
    if not condition:
        raise AssertionError(message)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Return normally distributed float32 numbers that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def backward(value: Tensor) -> None:
    """Compute the gradients of a scalar."""
    value.backward()  # type: ignore[no-untyped-call]


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Expect that nobody draws from the generators that the whole process shares."""
    before = _generator_states()
    yield
    expect(
        _generator_states() == before,
        "a global random generator has been used; draw from the rng or the seed that is given",
    )


def _generator_states() -> tuple[str, object, list[int]]:
    return str(np.random.get_state()), random.getstate(), torch.get_rng_state().tolist()
