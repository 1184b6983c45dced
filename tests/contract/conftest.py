"""One argument per kind: a test that takes ``head`` runs once for every head installed.

The argument is a ``Case``.
"""

import random

import numpy as np
import pytest
import torch

from cases import cases_of
from reid_core.hookspecs import KINDS


def pytest_generate_tests(metafunc):
    """A test that is parametrised by a kind itself goes through those cases alone."""
    marks = list(metafunc.definition.iter_markers("parametrize"))
    for kind in KINDS:
        if kind in metafunc.fixturenames and not any(mark.args[0] == kind for mark in marks):
            metafunc.parametrize(kind, cases_of(kind))


@pytest.fixture(autouse=True)
def in_one_thread(one_thread):
    """All of these tensors are small."""


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
