"""One argument per kind: a test that takes ``head`` runs once for every head installed.

``component`` stands for the components of all kinds. The argument is a ``Case``.
"""

import functools
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from reid_core.catalog import Offer
from reid_core.component import Component, Params, call_build
from reid_core.discovery import load_catalog
from reid_core.hookspecs import KINDS

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

    def params(self, **given) -> Params:
        """Return the component's params: the minimal ones and those given."""
        return self.component.params.model_validate({**self.minimal, **given})

    def build(self, params=None, **context):
        """Build the component as the core does."""
        return call_build(self.component, params or self.params(), **context)


@functools.cache
def installed_catalog():
    return load_catalog()


def pytest_generate_tests(metafunc):
    for argument in ("component", *KINDS):
        if argument in metafunc.fixturenames:
            offers = [o for o in installed_catalog().offers if argument in ("component", o.kind)]
            cases = [Case(offer) for offer in offers]
            metafunc.parametrize(argument, cases, ids=[f"{c.kind}-{c.name}" for c in cases])


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors gain nothing from threads, which lose much time on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def untouched_global_generators():
    """Fail the test if it draws from the generators that the whole process shares."""


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Look at the generators around the call alone: between the phases they may be seeded."""
    if "untouched_global_generators" not in pyfuncitem.fixturenames:
        return (yield)
    before = generator_states()
    result = yield
    assert generator_states() == before, "a global random generator has been used"
    return result


def generator_states():
    return str(np.random.get_state()), random.getstate(), torch.get_rng_state().tolist()
