"""Every installed component keeps the contract of its kind: the checks of ``reid_core.testing``."""

import dataclasses

import pytest

import dataset_folders
from cases import installed_cases
from reid_core.hookspecs import KINDS
from reid_core.testing import Case, Subject, checks_of

TERMS = ("logits", "features", "distances", "similarities")
PARAMS = {
    "backbone": {"pretrained": "none"},
    "objective": {"teacher": "runs/first", "terms": {n: {"weight": 1.0} for n in TERMS}},
}
"""Params that components of a kind take where they know them."""


@pytest.fixture(scope="session")
def network(catalog):
    """A real backbone: some heads copy the last stage of a ResNet."""
    offer = catalog.offer("backbone", "resnet18")
    return offer.build(offer.component.params.model_validate({"pretrained": "none"}))


@pytest.fixture
def subject_of(catalog, network, tmp_path):
    """A function from a case to what the checks look at."""

    def make(case):
        known = case.component.params.model_fields
        given = {k: v for k, v in PARAMS.get(case.kind, {}).items() if k in known}
        if case.kind == "dataset":
            given = dataset_folders.params_of(case.name, tmp_path / "data")
        needs = Case()
        if case.kind == "head":
            needs = Case(context={"backbone": network, "in_channels": network.out_channels})
        return Subject(case.offer, catalog, given, needs)

    return make


def checks():
    """Yield every component with every check of its kind."""
    for case in installed_cases():
        for check in checks_of(case.kind):
            yield pytest.param(case, check, id=f"{case}-{check.__name__}")


@pytest.mark.parametrize(("case", "check"), list(checks()))
def test_the_component_keeps_its_contract(case, check, subject_of):
    check(subject_of(case))


def test_every_kind_that_stands_on_data_or_the_network_has_checks_of_its_own():
    bare = {kind for kind in KINDS if checks_of(kind) == checks_of("")}
    assert bare == {"command", "translator"}


def test_a_case_can_be_given_as_its_fields():
    fields = {field.name for field in dataclasses.fields(Case)}
    assert fields == {"size", "tokens", "maps", "aux", "columns", "extras", "streams", "context"}
