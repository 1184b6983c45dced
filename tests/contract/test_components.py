"""What every component owes its users: words, described and checked params, one calling form."""

import inspect
import re

import pytest

from cases import installed_cases
from listing import for_each
from reid_core import Component, hookspecs
from reid_core.hookspecs import COMPONENT_TYPES, KINDS, build_keywords, hook_words

# ---- the catalog ------------------------------------------------------------------------


def test_every_plugin_loads(catalog):
    assert [str(fault) for fault in catalog.faults] == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_component_and_no_name_twice(catalog, kind):
    names = [offer.component.name for offer in catalog.offers if offer.kind == kind]
    assert names
    assert len(names) == len(set(names))


@pytest.mark.parametrize("kind", KINDS)
def test_every_hook_takes_no_arguments_and_states_its_build(kind):
    hook = getattr(hookspecs, f"reid_{kind}")
    assert not inspect.signature(hook).parameters
    assert hook_words(kind)[1].startswith("build(params")


# ---- words ------------------------------------------------------------------------------


@for_each(installed_cases)
def test_the_component_is_of_the_type_that_its_kind_declares(component):
    assert type(component.component) is COMPONENT_TYPES.get(component.kind, Component)


@for_each(installed_cases)
def test_the_module_says_what_it_is_in_one_line_and_offers_the_hook_of_its_kind(component):
    module = inspect.getmodule(component.component.build)
    first, *rest = inspect.getdoc(module).splitlines()
    assert first.endswith((".", ":"))
    assert not rest or rest[0] == ""
    assert callable(getattr(module, f"reid_{component.kind}"))


@for_each(installed_cases)
def test_a_reference_stands_in_the_docstring_and_networks_and_losses_have_one(component):
    reference = component.component.reference
    assert isinstance(reference, str)
    assert reference or component.kind not in ("backbone", "head", "loss")
    docstring = inspect.getdoc(inspect.getmodule(component.component.build))
    words = set(reference.replace(",", "").split()) - {"et", "al."}
    assert [word for word in words if word not in docstring] == []


def style_faults(summary, reference, docstring):
    """Yield what differs from the style of the built-in components' words."""
    if summary[:1].islower() or summary.endswith("."):
        yield "the summary begins with a lower-case letter or ends with a full stop"
    paragraphs = docstring.split("\n\n")
    at = [i for i, paragraph in enumerate(paragraphs) if "Reference:" in paragraph]
    if at not in ([], [len(paragraphs) - 1]):
        yield "'Reference:' stands elsewhere than in the last paragraph of the docstring"
    elif at and not paragraphs[-1].startswith("Reference: "):
        yield "no blank line stands before 'Reference:'"
    elif at and re.match(r"Reference: ([A-Z]\.-?)+ ", paragraphs[-1]):
        yield "a first name stands in the reference"
    elif reference and not at:
        yield "the docstring has no paragraph 'Reference:'"


def test_the_words_of_all_built_in_components_are_of_one_style(catalog):
    ours = [offer for offer in catalog.offers if offer.distribution == "reid-core"]
    assert ours
    for offer in ours:
        component = offer.component
        docstring = inspect.getdoc(inspect.getmodule(component.build))
        faults = list(style_faults(component.summary, component.reference, docstring))
        assert faults == [], offer


@pytest.mark.parametrize(
    ("summary", "docstring"),
    [
        ("words in lower case", "What.\n\nReference: Doe et al."),
        ("Words with a stop.", "What.\n\nReference: Doe et al."),
        ("Words", "What.\n\nMore.\nReference: Doe et al."),
        ("Words", "What.\n\nReference: Doe et al.\n\nMore."),
        ("Words", "What.\n\nReference: J. Doe et al."),
        ("Words", "What, as Doe et al. do."),
    ],
)
def test_the_search_for_another_style_finds_it(summary, docstring):
    assert len(list(style_faults(summary, "Doe et al.", docstring))) == 1


# ---- params -----------------------------------------------------------------------------


@for_each(installed_cases)
def test_params_without_required_fields_have_defaults_for_all(component):
    required = {n for n, f in component.component.params.model_fields.items() if f.is_required()}
    assert required == set(component.minimal), "MINIMAL_PARAMS of cases.py lists the required ones"


# ---- build ------------------------------------------------------------------------------


@for_each(installed_cases)
def test_build_takes_params_and_only_keywords_that_its_kind_offers(component):
    first, *context = inspect.signature(component.component.build).parameters.values()
    assert first.name == "params"
    assert {p.name for p in context} <= build_keywords(component.kind)
    assert all(p.kind is p.KEYWORD_ONLY for p in context)
