"""The components of the installed catalog, one by one, as contract tests go through them."""

import functools
from dataclasses import dataclass

import pytest

from reid_core.catalog import Offer
from reid_core.component import Component, Params, call_build
from reid_core.discovery import load_catalog

MINIMAL_PARAMS = {
    ("dataset", "image_folder"): {"root": "people"},
    ("dataset", "manifest"): {"file": "people.csv"},
    ("dataset", "market1501"): {"root": "Market-1501"},
    ("objective", "distillation"): {
        "teacher": "runs/first",
        "terms": {"distances": {"weight": 1.0}},
    },
}
"""Params of components that have required ones."""


@dataclass(frozen=True)
class Case:
    """A component of the installed catalog."""

    offer: Offer

    @property
    def kind(self) -> str:
        return self.offer.kind

    @property
    def component(self) -> Component:
        return self.offer.component

    @property
    def name(self) -> str:
        return self.offer.component.name

    @property
    def minimal(self) -> dict:
        return MINIMAL_PARAMS.get((self.kind, self.name), {})

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}"

    def params(self, **given) -> Params:
        """Return the component's params: the minimal ones and those given."""
        return self.component.params.model_validate({**self.minimal, **given})

    def build(self, params=None, **context):
        """Build the component as the core does."""
        return call_build(self.component, params or self.params(), **context)


@functools.cache
def installed_cases():
    """Return every component that is installed."""
    return [Case(offer) for offer in load_catalog().offers]


def cases_of(kind, where=lambda case: True):
    """Return the cases of a kind that are of a sort, of which there is one at least, as params."""
    found = [case for case in installed_cases() if case.kind == kind and where(case)]
    assert found, f"no {kind} is left to be tested"
    return [pytest.param(case, id=str(case)) for case in found]
