"""Entries of the params that choose something by name: they find it, check its params, build it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Generic, TypeVar, cast

from pydantic import (
    BaseModel,
    Field,
    FieldSerializationInfo,
    PrivateAttr,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    ValidationInfo,
    field_serializer,
    field_validator,
)
from pydantic_core import PydanticKnownError

from reid_core.boundary import Origin
from reid_core.catalog import Catalog, Offer
from reid_core.component import (
    AugmentationComponent,
    BackboneComponent,
    Component,
    DistanceComponent,
    Names,
    ObjectiveComponent,
    Params,
    PostprocessComponent,
    SamplerComponent,
    ScheduleComponent,
    declared,
)
from reid_core.errors import ReidError


class NamedParams(Params):
    """A choice by name whose params have a model of their own.

    Validation takes the catalog as its context (``read_params``). Without one only the form of an
    entry is checked: its params stay as they were given.
    """

    name: str
    params: Params = Field(
        default={}, validate_default=True, description="Params of the component."
    )

    @classmethod
    def params_model(cls, name: str, catalog: Catalog) -> type[Params]:
        """Return the model of the params that belong to a name."""
        raise NotImplementedError

    @classmethod
    def read(cls, name: str, given: dict[str, Any], catalog: Catalog) -> Params:
        """Make the params that belong to a name, from an object as read from JSON."""
        return cls.params_model(name, catalog).model_validate_json(json.dumps(given))

    @field_validator("params", mode="wrap")  # the field's own type, Params, has no keys
    @classmethod
    def _typed(cls, given: Any, handler: Any, info: ValidationInfo) -> Any:
        """Check the params with the model that belongs to the name; its errors keep their place."""
        if not isinstance(given, dict):
            raise PydanticKnownError("dict_type")
        if info.context is None or "name" not in info.data:
            return given
        return cls.read(info.data["name"], given, info.context)

    @field_serializer("params")
    def _whole(self, params: Any, info: FieldSerializationInfo) -> Any:
        """Write all fields of the model that the params have, or what was given."""
        return params.model_dump(mode=info.mode) if isinstance(params, Params) else params


ComponentT = TypeVar("ComponentT", bound=Component, covariant=True)


class Entry(NamedParams, Generic[ComponentT]):
    """A component by name with its params; once checked, it builds itself."""

    kind: ClassVar[str]
    name: str = Field(
        description="Name of the component; 'distribution:name' picks one of two and is what "
        "resolved params have."
    )
    _offer: Offer | None = PrivateAttr(default=None)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        """Return the name in its one form: with a distribution only where two offer it."""
        if info.context is None:
            return name
        try:
            offer: Offer = info.context.offer(cls.kind, name)
        except ReidError as error:
            raise ValueError(str(error)) from None
        bare = offer.component.name
        is_unique = len(info.context.offers_of(cls.kind, bare)) == 1
        return bare if is_unique else offer.qualified_name

    @field_serializer("name")
    def _qualified(self, name: str) -> str:
        """Write the name with its distribution: a package installed later cannot take it away."""
        return name if self._offer is None else self._offer.qualified_name

    @classmethod
    def params_model(cls, name: str, catalog: Catalog) -> type[Params]:
        """Return the component's own model."""
        return catalog.component(cls.kind, name).params

    @classmethod
    def read(cls, name: str, given: dict[str, Any], catalog: Catalog) -> Params:
        """Make the component's params.

        Raises:
            ValueError: Its plugin declares a model that cannot work.
        """
        try:
            return super().read(name, given, catalog)
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            offer, first_line = catalog.offer(cls.kind, name), str(error).partition("\n")[0]
            raise ValueError(f"{offer} declares params that cannot work: {first_line}") from None

    def model_post_init(self, context: Any) -> None:
        """Keep what the name stands for."""
        self._offer = None if context is None else context.offer(self.kind, self.name)

    @property
    def offer(self) -> Offer:
        """Return the component with its distribution."""
        assert self._offer is not None, "an entry that was checked without a catalog"
        return self._offer

    @property
    def component(self) -> ComponentT:
        """Return what the name stands for."""
        return cast(ComponentT, self.offer.component)

    def build(self, **context: Any) -> Any:
        """Build the component with the context that its kind offers; see ``Offer.build``."""
        return self.offer.build(self.params, **context)

    def names(self, what: str, known: Sequence[str] | None = None) -> tuple[str, ...]:
        """Return the names that the component declares for its params.

        Args:
            what: A field of the component, such as ``"columns"``.
            known: The names there are; None: any name may be declared.

        Raises:
            PluginError: It fails, or declares something else than names that there are.
        """
        names: Names = getattr(self.component, what)
        with self.origin.calling(f"when it was asked for its {what}"):
            found: Any = declared(names, self.params)
        are_names = isinstance(found, tuple) and all(isinstance(n, str) and n for n in found)
        if not are_names or (known is not None and not set(found) <= set(known)):
            of = f" out of {', '.join(known)}" if known else ""
            raise self.origin.fault(f"declares {what} {found!r}; expected a tuple of names{of}")
        return cast("tuple[str, ...]", found)

    @property
    def origin(self) -> Origin:
        """Return where the component comes from, for the boundary around its calls."""
        return self.offer.origin

    @property
    def bare_name(self) -> str:
        """Return the component's name without the distribution that may stand before it."""
        return self.name.rpartition(":")[2]


class BackboneEntry(Entry[BackboneComponent]):
    """A backbone."""

    kind = "backbone"


class SamplerEntry(Entry[SamplerComponent]):
    """A sampler."""

    kind = "sampler"


class ScheduleEntry(Entry[ScheduleComponent]):
    """A schedule."""

    kind = "schedule"


class ObjectiveEntry(Entry[ObjectiveComponent]):
    """An objective."""

    kind = "objective"


class CallbackEntry(Entry[Component]):
    """Something that happens between epochs."""

    kind = "callback"


class LoggerEntry(Entry[Component]):
    """Where the lines of metrics.jsonl also go."""

    kind = "logger"


class AugmentationEntry(Entry[AugmentationComponent]):
    """An image operation."""

    kind = "augmentation"


class DistanceEntry(Entry[DistanceComponent]):
    """A distance."""

    kind = "distance"


class PostprocessEntry(Entry[PostprocessComponent]):
    """A step between features and ranking."""

    kind = "postprocess"


def numbered_names(entries: Sequence[Entry[Any]]) -> list[str]:
    """Return the entries' bare names; the second of a name becomes ``name_2``, and so on."""
    names = [entry.bare_name for entry in entries]
    counts = [names[: position + 1].count(name) for position, name in enumerate(names)]
    return [n if count == 1 else f"{n}_{count}" for n, count in zip(names, counts, strict=True)]


def entries_of(value: Any) -> Iterator[Entry[Any]]:
    """Yield everything in some params that names a component, in the order of the sections."""
    if isinstance(value, Entry):
        yield value
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from entries_of(getattr(value, name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from entries_of(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from entries_of(item)
