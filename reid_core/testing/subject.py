"""A component under test, with what it is built from and called with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from reid_core.catalog import Catalog, Offer
from reid_core.component import Component, Names, Params, declared
from reid_core.declared_values import Declared
from reid_core.errors import ParamsError, ReidError
from reid_core.params.messages import read_params, validate

BATCH = 8
"""Images of a batch that nothing else is said of."""

USUAL = (0, 1, -1)
"""Values of a column that nothing else is said of, one of them unknown."""

Column = int | Sequence[int | str]
"""The number of values of a column, or the values that occur."""

Read = TypeVar("Read")


@dataclass(frozen=True)
class Case:
    """What a component needs that differs from what is usual.

    Attributes:
        size: (height, width): of the images of a backbone, in pixels; of the map of a head, in
            cells; of the images of an augmentation, in pixels.
        tokens: Tokens that a head's feature map has, 0 for none.
        maps: Further maps that it has, by the stage's name: (channels, height, width).
        aux: Shapes of values of heads behind the image, by name; default: ``()``, one number.
        columns: Of columns of the images, by name: the number of values, or the values that
            occur, -1 or ``""`` among them for what is unknown; for an evaluator also these by
            split. Default: 0 and 1, and where data sets are read also -1.
        extras: What extras of the images are, by name, ``"mask"`` or ``"text"``; default: masks.
        streams: Views of streams that an objective takes, by the stream's name.
        context: Keywords for ``build`` that take the place of the usual ones.
    """

    size: tuple[int, int] | None = None
    tokens: int = 0
    maps: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    aux: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    columns: Mapping[str, Column | Mapping[str, Column]] = field(default_factory=dict)
    extras: Mapping[str, Literal["mask", "text"]] = field(default_factory=dict)
    streams: Mapping[str, int] = field(default_factory=dict)
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

    def declared(self, what: str) -> tuple[str, ...]:
        """Return names that the component declares for its params, e.g. its ``"columns"``."""
        return declared(cast(Names, getattr(self.component, what)), self.params)

    def columns(
        self,
        count: int,
        names: Sequence[str] | None = None,
        split: str = "",
        usual: Column = USUAL,
    ) -> Declared[np.ndarray]:
        """Return columns as data sets have them, ``(count,)``; default: those it declares.

        They do not go by identity: images of one person have several values.
        """
        found = {}
        for name in self.declared("columns") if names is None else names:
            given = self.case.columns.get(name, usual)
            given = given.get(split, usual) if isinstance(given, Mapping) else given
            values = np.arange(given) if isinstance(given, int) else np.array(given)
            rng = np.random.default_rng(len(name))
            found[name] = values[rng.integers(len(values), size=count)]
        return self._declared(found, "columns")

    def coded_columns(self, count: int) -> Declared[Tensor]:
        """Return the same columns numbered, as ``Batch`` has them."""
        found = {}
        for name, values in self.columns(count, usual=(0, 1)).items():
            unknown = values == ("" if values.dtype.kind == "U" else -1)
            codes = np.unique(values, return_inverse=True)[1].astype(np.int64)
            found[name] = torch.from_numpy(np.where(unknown, -1, codes))
        return self._declared(found, "columns")

    def extras(self, count: int, size: tuple[int, int]) -> Declared[Tensor | list[str]]:
        """Return the extras that the component declares, as ``Batch`` has them."""
        found: dict[str, Tensor | list[str]] = {}
        for name in self.declared("extras"):
            mask = np.random.default_rng(0).integers(0, 256, (count, *size), dtype=np.uint8)
            is_text = self.case.extras.get(name) == "text"
            texts = [f"a text about image {i}" for i in range(count)]
            found[name] = texts if is_text else torch.from_numpy(mask)
        return self._declared(found, "extras")

    def _declared(self, found: Mapping[str, Read], field: str) -> Declared[Read]:
        """Return values as a training hands them over: a miss says what to declare."""
        return Declared(found, found, field, type(self.component).__name__)

    def read(self, model: type[Read], **beside: Any) -> Read:
        """Return the component as an entry of params, e.g. a ``LossEntry``.

        Args:
            model: The entry's type.
            **beside: What stands beside the params in the entry.
        """
        raw = {"name": self.offer.qualified_name, "params": dict(self.given), **beside}
        found: Read = read_params(cast(Any, model), raw, self.catalog)
        return found


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


def trained_well(module: nn.Module) -> None:
    """Expect that every parameter that is trained has a gradient, and a finite one."""
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    bare = [name for name, p in trained.items() if p.grad is None]
    expect(not bare, f"no gradient: {', '.join(bare)}")
    found = {name: p.grad for name, p in trained.items() if p.grad is not None}
    wrong = [name for name, gradient in found.items() if not gradient.isfinite().all()]
    expect(not wrong, f"not finite: {', '.join(wrong)}")


@contextmanager
def told_of(what: str) -> Iterator[None]:
    """Say in a failure what it is about."""
    try:
        yield
    except (AssertionError, ReidError) as error:
        raise AssertionError(f"{what}: {error}") from error


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
