"""Check params: every problem of the file in one run, each with its path."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from reid_core.catalog import Catalog
from reid_core.component import Params
from reid_core.errors import ParamsError
from reid_core.params.cross_checks import eval_cross_checks, run_cross_checks
from reid_core.params.entries import AugmentationEntry, entries_of
from reid_core.params.json_file import Raw
from reid_core.params.messages import Model, validate
from reid_core.params.schema import DatasetEntry, EvalParams, ModelParams, RunParams

Further = Callable[[Mapping[str, Any]], Iterable[str]]
"""Yields further problems of sections by name: of all that are right, with their components."""


def check_run_params(
    raw: Raw, catalog: Catalog, source: str, further: Further = lambda sections: ()
) -> RunParams:
    """Check the params of a run and fill in every default.

    Args:
        raw: The JSON object; it is not changed.
        catalog: Whose components it may name.
        source: Name for messages, usually the file's path.
        further: What else is looked at.

    Returns:
        The params, each component's own defaults filled in.

    Raises:
        ParamsError: With all problems found.
    """
    params = _checked(RunParams, raw, catalog, source, run_cross_checks, further)
    return params.model_copy(update={"plugins": _versions(params)})


def check_model_params(raw: Raw, catalog: Catalog, source: str) -> ModelParams:
    """Check the sections of a weights file that make the network, and no others."""
    sections = {key: raw[key] for key in _NetworkParams.model_fields if key in raw}
    return _checked(_NetworkParams, sections, catalog, source, lambda sections, catalog: ())


class _NetworkParams(ModelParams):
    """A network as its weights file describes it; it may need no preprocessing."""

    augmentation: list[AugmentationEntry]


def check_eval_params(
    raw: Raw, catalog: Catalog, source: str, further: Further = lambda sections: ()
) -> EvalParams:
    """Check the params of an evaluation; see ``check_run_params``."""
    return _checked(EvalParams, raw, catalog, source, eval_cross_checks, further)


def _checked(
    model: type[Model],
    raw: Raw,
    catalog: Catalog,
    source: str,
    cross_checks: Callable[[Mapping[str, Any], Catalog], Iterable[str]],
    further: Further = lambda sections: (),
) -> Model:
    """Check the sections and every component that they name; fill in all defaults."""
    problems: list[str] = []
    params = validate(model, raw, problems, catalog)
    form = params
    if params is None:
        # Beside mistakes in the components' params, what the form as a whole says.
        of_form: list[str] = []
        form = validate(model, raw, of_form, shown=catalog)
        problems += [problem for problem in of_form if problem not in problems]
    sections = dict(_sections_of_right_form(model, raw) if form is None else form)
    problems += cross_checks(sections, catalog)
    right = _sections_of_right_form(model, raw, catalog) if params is None else params
    problems += further(dict(right))
    if params is None or problems:
        raise ParamsError(source, problems)
    return params


def _sections_of_right_form(
    model: type[Params], raw: Raw, catalog: Catalog | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield the sections that are right on their own, by name, when others are not.

    Without a catalog their entries are not looked up: what fits with what can be said beside a
    mistake in params.
    """
    for name, field in model.model_fields.items():
        if name in raw:
            with suppress(ValidationError):
                section: TypeAdapter[Any] = TypeAdapter(cast(Any, field.annotation))
                yield name, section.validate_json(json.dumps(raw[name]), context=catalog)


def check_dataset_entry(raw: Raw, catalog: Catalog, source: str) -> DatasetEntry:
    """Check one dataset entry that stands alone, as ``reid pack --dataset`` makes it."""
    problems: list[str] = []
    entry = validate(DatasetEntry, raw, problems, catalog)
    if entry is None:
        raise ParamsError(source, problems)
    return entry


def _versions(params: RunParams) -> dict[str, str]:
    """Return the distributions that the params use, with their versions."""
    offers = [entry.offer for entry in entries_of(params)]
    return dict(sorted({offer.distribution: offer.version for offer in offers}.items()))
