"""What a plugin offers: frozen records that declare a name, its params and how to build it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeGuard, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from reid_core.errors import ReidError, name_list


class Params(BaseModel):
    """Base of every component's params: unknown keys are refused, instances are read-only.

    Give every field a type, a default unless it is required, a range and a
    ``description`` that states the unit; ``reid schema`` prints them.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True, strict=True
    )

    @model_validator(mode="after")
    def _no_nul(self) -> Params:
        """Refuse the character that ends a name for the system; deeper models look themselves."""
        for name, value in self:
            parts = value if isinstance(value, list | tuple | dict) else (value,)
            if any(isinstance(part, str) and "\0" in part for part in parts):
                raise ValueError(
                    f"'{name}' holds the character NUL, which no name and no path can have"
                )
        return self


PathText = Annotated[str, Field(min_length=1, json_schema_extra={"format": "path"})]
"""A param that names a file or a folder: weights files do not repeat it, and another place is
no other data. Also within a type, such as ``PathText | None`` or ``list[PathText]``."""


def is_path(field: FieldInfo) -> bool:
    """Return whether a field of a params model holds file names, by themselves or within a type."""
    extras = [field.json_schema_extra, *_extras_within(field.annotation)]
    return any(isinstance(extra, dict) and extra.get("format") == "path" for extra in extras)


def _extras_within(annotation: Any) -> Iterator[Any]:
    """Yield what the annotated types within a type add to the JSON Schema."""
    for part in get_args(annotation):
        if isinstance(part, FieldInfo):
            yield part.json_schema_extra
        yield from _extras_within(part)


def is_params(annotation: object) -> TypeGuard[type[Params]]:
    """Say whether an annotation is a model of params; ``list[Model]`` is none."""
    # In Python 3.10, list[int] passes for a class.
    if not isinstance(annotation, type) or get_args(annotation):
        return False
    return issubclass(annotation, Params)


@dataclass(frozen=True, kw_only=True)
class Component:
    """One thing that params.json can name.

    Attributes:
        name: The word used in params.json.
        params: The pydantic model of its ``params`` object.
        build: ``build(params, **context)``; it receives only the context keywords that
            its signature names. The kind's hook spec lists the keywords there are.
        summary: One line for ``reid plugins`` and the component table.
        reference: Paper or arXiv id, or an empty string.
    """

    name: str
    build: Callable[..., Any]
    params: type[Params] = Params
    summary: str
    reference: str = ""

    def takes(self, keyword: str) -> bool:
        """Say whether ``build`` asks for a keyword of its kind, such as ``num_pids``."""
        return keyword in inspect.signature(self.build).parameters


Names = tuple[str, ...] | Callable[[Any], tuple[str, ...]]
"""Names that a component declares: always the same ones, or a function of its checked params."""


def declared(names: Names, params: Params) -> tuple[str, ...]:
    """Return the names that a component declares for some params."""
    return names(params) if callable(names) else names


@dataclass(frozen=True, kw_only=True)
class BackboneComponent(Component):
    """A backbone and what it looks at beside the image.

    Attributes:
        side: Columns of an image that it receives beside its pixels, e.g. ``("camid",)``.
    """

    side: Names = ()


@dataclass(frozen=True, kw_only=True)
class LossComponent(Component):
    """A loss and what the core must hand to it.

    Attributes:
        role: Branches that the loss takes when its params entry names none:
            ``"id"`` branches feed classifiers, ``"metric"`` branches feed distances.
        on: Default input: ``"feature"`` (before the neck's BN) or ``"embedding"`` (after).
        normalize: Default for L2-normalising that input.
        needs: ``"classifier"``: logits and the weight of the branch's linear layer;
            ``"pairs"``: it compares images of one identity and of several, and sees the batch
            of all processes; ``"batch"``: it sees that batch, whoever is on the images.
        reads: Names of the heads' values that it needs, e.g. ``("uc",)``.
        columns: Columns of the images that it reads, e.g. ``("clothes",)``.
        extras: Likewise of what is packed beside an image, e.g. ``("mask",)``.
    """

    role: Literal["id", "metric"]
    on: Literal["feature", "embedding"] = "feature"
    normalize: bool = False
    needs: frozenset[Literal["classifier", "pairs", "batch"]] = frozenset()
    reads: Names = ()
    columns: Names = ()
    extras: Names = ()


@dataclass(frozen=True, kw_only=True)
class SamplerComponent(Component):
    """A sampler and what it looks at beside labels, cameras and sources.

    Attributes:
        columns: Columns of the images, e.g. ``("clothes",)``.
    """

    columns: Names = ()


@dataclass(frozen=True, kw_only=True)
class ObjectiveComponent(Component):
    """An objective and what it reads of the images.

    Attributes:
        columns: Columns that ``Batch.columns`` has for it, e.g. ``("clothes",)``.
        extras: Likewise in ``Batch.extras``, e.g. ``("mask",)``.
        needs: ``("classifier",)``: logits of every branch that can be classified, also where no
            loss needs them.
        streams: Names in ``data.streams`` whose batches it reads in ``Step.streams``.
    """

    needs: Names = ()
    streams: Names = ()
    columns: Names = ()
    extras: Names = ()


@dataclass(frozen=True, kw_only=True)
class AugmentationComponent(Component):
    """An image operation and where in the pipeline it stands.

    Attributes:
        stage: What it works on, in this order: ``"pil"`` an RGB ``PIL.Image``, ``"tensor"`` a
            float32 ``(3, H, W)`` tensor, ``"batch"`` the ``(B, 3, H, W)`` tensor of a batch.
        use: ``"train"``: augmentation, which preprocessing leaves out; ``"both"``:
            preprocessing, which is written into the weights file; ``"test"``: preprocessing that
            training leaves out.
        extras: What it does where masks stand beside an image: ``"keeps"``, it moves no pixel;
            ``"moves"``, it is called with a ``Sample`` and moves them too; None: it does not
            say, and a training that reads masks refuses it.
    """

    stage: Literal["pil", "tensor", "batch"]
    use: Literal["train", "test", "both"] = "train"
    extras: Literal["keeps", "moves"] | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduleComponent(Component):
    """A schedule and whether it follows the scores of the training.

    Attributes:
        reads_scores: It looks at the history; a training that is never scored refuses it.
    """

    reads_scores: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluatorComponent(Component):
    """An evaluator and what it reads.

    Attributes:
        splits: Splits of the target that it scores, e.g. ``("query", "gallery")``.
        outputs: Arrays per image that it reads, of ``"embedding"``, ``"feature"`` and
            ``"logits"``.
        aux: Names of values of the heads that it reads, e.g. ``("visibility",)``.
        columns: Columns of the images that it reads, e.g. ``("clothes",)``.
        cameras: Splits whose images have a match only under another known camera; users are told
            of their images without one.
        distance: Name of the distance that images are compared by where an entry names none;
            None for evaluators that compare none.
    """

    splits: Names
    outputs: Names = ("embedding",)
    aux: Names = ()
    columns: Names = ()
    cameras: Names = ()
    distance: str | None = None


@dataclass(frozen=True, kw_only=True)
class DistanceComponent(Component):
    """A distance and what it reads beside the vector that the evaluator ranks by.

    Attributes:
        aux: Names of values of the heads, e.g. ``("uc",)``.
        columns: Columns of the images, e.g. ``("time",)``.
    """

    aux: Names = ()
    columns: Names = ()


@dataclass(frozen=True, kw_only=True)
class PostprocessComponent(Component):
    """A step between features and ranking, and where it stands.

    Attributes:
        stage: ``"features"`` changes the vectors, ``"distances"`` what is ranked by; all
            of the first come before all of the second.
        splits: Splits that it reads beside those of the evaluator, e.g. ``("multi_query",)``.
        first: It starts from the vectors, so that no step may change distances before it.
    """

    stage: Literal["features", "distances"]
    splits: tuple[str, ...] = ()
    first: bool = False


@dataclass(frozen=True, kw_only=True)
class TranslatorComponent(Component):
    """A translator and whose params files it reads.

    Attributes:
        system: The other system, as messages name it.
    """

    system: str


def call_build(
    component: Component,
    params: Params,
    owner: str = "",
    offered: Collection[str] | None = None,
    /,
    **context: Any,
) -> Any:
    """Build a component, passing only the context keywords that its signature names.

    Args:
        component: What to build.
        params: Its checked params.
        owner: Its kind, name and distribution, for the message; default: its name.
        offered: The keywords that its kind offers, to tell a caller's omission from a mistake of
            the plugin; None: not known.
        **context: Keywords of the kind.

    Returns:
        What the component's ``build`` returns.

    Raises:
        ReidError: ``build`` requires a keyword that is not given; the message names the
            component, and who must give it or do without it.
    """
    parameters = list(inspect.signature(component.build).parameters.values())[1:]
    by_keyword = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    required = {
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    if missing := required - (by_keyword & context.keys()):
        raise ReidError(f"{owner or repr(component.name)} {_lack(missing, offered, context)}")
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return component.build(params, **context)
    return component.build(params, **{k: v for k, v in context.items() if k in by_keyword})


def _lack(missing: set[str], offered: Collection[str] | None, given: Iterable[str]) -> str:
    """Say who must do something about keywords that ``build`` requires and does not get."""
    if offered is None:
        return f"cannot be built: it asks for {name_list(missing)}, and gets {name_list(given)}"
    if unknown := missing.difference(offered):
        return (
            f"cannot be built: it asks for {name_list(unknown)}; its kind offers "
            f"{name_list(offered)}; its plugin must be corrected or updated"
        )
    wanted = ", ".join(f"{name}=..." for name in sorted(missing))
    return f"cannot be built without {name_list(missing)}; give {wanted}"
