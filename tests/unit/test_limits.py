"""Every number of the params has an upper bound or a reason for none; what is accepted is built."""

from __future__ import annotations

import copy
import inspect
import types
import typing

import annotated_types
import pydantic
import pytest

from reid_core import ReidError
from reid_core.discovery import load_catalog
from reid_core.params.schema import EvalParams, RunParams
from reid_core.params.validation import check_run_params
from reid_core.runs.checks import check_without_data

ARITHMETIC = (
    "a factor, rate, margin or temperature: it sizes nothing, and a training whose numbers it "
    "drives to infinity is stopped by the step and the loss"
)
UNBOUNDED = dict.fromkeys(
    (
        *("scale", "init_std", "weight", "lr", "lr_backbone", "lr_loss", "lr_scale"),
        *("weight_decay", "temperature", "margin", "start", "end", "rate", "positive_margin"),
        *("negative_margin", "gamma", "alpha", "beta", "epsilon", "lower_norm", "upper_norm"),
        *("strength", "lower", "upper", "factor", "brightness", "contrast", "saturation", "std"),
        *("aspect", "threshold", "power", "min_delta"),
    ),
    ARITHMETIC,
)
"""Floats without an upper bound, by name."""
HANDED_ON = {("loss:metric_learning", "params")}
"""Numbers that another package checks: the options of pytorch-metric-learning's classes."""

CATALOG = load_catalog()
OURS = [offer for offer in CATALOG.offers if offer.distribution == "reid-core"]


def numbers(annotation, facts=()):
    """Yield the number types of an annotation, each with what is required of it."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        spread = [f for m in more for f in getattr(m, "metadata", [m])]
        yield from numbers(inner, (*facts, *spread))
    elif origin in (typing.Union, types.UnionType):
        for one in typing.get_args(annotation):
            yield from numbers(one, facts)
    elif origin is not None and origin is not typing.Literal:
        for one in typing.get_args(annotation):
            yield from numbers(one)
    elif annotation in (int, float) or is_model(annotation):
        yield annotation, facts


def is_model(annotation):
    return inspect.isclass(annotation) and issubclass(annotation, pydantic.BaseModel)


def fields(model, where, seen):
    """Yield (where, name, type, requirements) of every number of a model and those within."""
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        for found, facts in numbers(field.annotation, tuple(field.metadata)):
            if is_model(found):
                yield from fields(found, where, seen)
            else:
                yield where, name, found, facts


def every_number():
    seen = set()
    yield from fields(RunParams, "run", seen)
    yield from fields(EvalParams, "eval", seen)
    for offer in OURS:
        yield from fields(offer.component.params, f"{offer.kind}:{offer.component.name}", seen)


def highest(facts):
    """Return the largest value that is accepted; None without a bound."""
    for fact in facts:
        if isinstance(fact, annotated_types.Le):
            return fact.le
        if isinstance(fact, annotated_types.Lt):
            return fact.lt - 1
    return None


def test_every_number_has_an_upper_bound_or_a_reason_for_none():
    found = list(every_number())
    assert len(found) > 100
    missing = [
        (where, name)
        for where, name, kind, facts in found
        if highest(facts) is None
        and (where, name) not in HANDED_ON
        and not (kind is float and name in UNBOUNDED)
    ]
    assert missing == []


def test_no_reason_is_kept_for_what_is_gone():
    names = {name for _, name, kind, facts in every_number() if highest(facts) is None}
    assert set(UNBOUNDED) <= names


# ---- what is accepted can be built ------------------------------------------------------


SECTIONS = {"head": list, "loss": list, "sampler": dict, "schedule": dict, "augmentation": list}

EXTREMES = [
    (offer.kind, offer.component.name, name, highest(facts))
    for offer in OURS
    if offer.kind in SECTIONS
    for _, name, kind, facts in fields(offer.component.params, "", set())
    if kind is int and offer.component.name != "metric_learning"
]


def with_component(tiny_params, kind, name, params):
    """Return params that have one component of a kind."""
    raw = copy.deepcopy(tiny_params)
    entry = {"name": name, "params": params}
    if kind == "augmentation":
        entries = [e for e in raw["augmentation"] if e["name"] != name]
        place = 0 if name == "resize" else 1
        raw["augmentation"] = [*entries[:place], entry, *entries[place:]]
    elif SECTIONS[kind] is list:
        raw[kind] = [entry]
    else:
        raw[kind] = entry
    return raw


@pytest.mark.parametrize(("kind", "name", "param", "value"), EXTREMES)
def test_the_largest_accepted_value_builds_or_is_one_message(
    tiny_params, tiny_catalog, kind, name, param, value
):
    params = {"P": {"K": 1}, "K": {"P": 1}}.get(param, {})
    params[param] = [value] if param == "shares" else value
    raw = with_component(tiny_params, kind, name, params)
    message = ""
    try:
        check_without_data(check_run_params(raw, tiny_catalog, "p.json"), tiny_catalog)
    except ReidError as error:
        message = str(error)
    assert "failed" not in message
    assert "memory" not in message
    assert "Traceback" not in message


@pytest.mark.parametrize(("kind", "name", "param", "value"), EXTREMES)
def test_one_more_is_refused_by_its_name(tiny_params, tiny_catalog, kind, name, param, value):
    more = [value + 1] if param == "shares" else value + 1
    raw = with_component(tiny_params, kind, name, {param: more})
    with pytest.raises(ReidError, match=rf"{kind}.*{param}.*{value}"):
        check_run_params(raw, tiny_catalog, "p.json")


def test_a_batch_is_bounded_by_both_of_its_numbers(tiny_params, tiny_catalog):
    raw = {**tiny_params, "sampler": {"name": "class_balanced", "params": {"P": 1024, "K": 17}}}
    with pytest.raises(
        ReidError, match=r"P x K, the images of a batch, must be <= 16384, got 1024 x 17"
    ):
        check_run_params(raw, tiny_catalog, "p.json")


def test_drawn_images_are_bounded_in_all(tiny_params, tiny_catalog):
    raw = copy.deepcopy(tiny_params)
    raw["data"]["train"][0]["params"] |= {"train_identities": 100_000, "train_images": 1000}
    with pytest.raises(ReidError, match="at most 2000000 images are drawn"):
        check_run_params(raw, tiny_catalog, "p.json")
