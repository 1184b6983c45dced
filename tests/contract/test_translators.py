"""Translators: each knows its own files and nobody else's, and changes nothing that it reads."""

import copy
import json
from pathlib import Path

import pytest

from reid_core.contracts import Translation
from reid_core.errors import ParamsError
from reid_core.params.load import load_eval_params, load_run_params

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tests" / "unit"
SAMPLES = {
    ("reid_lite", "run"): UNIT / "reid_lite_params.json",
    ("reid_lite", "eval"): UNIT / "reid_lite_eval_params.json",
}
"""A file of each built-in translator's system that is right, by its name and kind."""

KINDS_OF_PARAMS = ("run", "eval")
GARBAGE = [None, True, 0, 7, -0.5, "", "word", [], [1, [2]], {}, {"a": [{"b": None}]}]


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(params=KINDS_OF_PARAMS)
def sample(request, translator):
    """The kind of a file and the file, of the translator's system."""
    path = SAMPLES.get((translator.name, request.param))
    if path is None:
        pytest.skip(f"no sample of the {request.param} params of {translator.name}")
    return request.param, read(path)


def outcome(translator, kind, raw):
    """Return the translation, or the error of a file that has problems."""
    try:
        return translator.build().translate(raw, kind, "old.json")
    except ParamsError as error:
        return error


def test_every_built_in_translator_has_a_sample(catalog):
    built_in = {
        offer.component.name
        for offer in catalog.offers
        if offer.kind == "translator" and offer.distribution == "reid-core"
    }
    assert built_in == {name for name, _ in SAMPLES}


def test_it_names_its_system_and_has_no_params(translator):
    assert translator.component.system
    assert translator.component.system in translator.component.summary
    assert translator.component.params.model_fields == {}


def test_it_recognises_its_own_file_as_what_it_is_for(translator, sample):
    kind, raw = sample
    built = translator.build()
    assert [k for k in KINDS_OF_PARAMS if built.recognises(raw, k)] == [kind]


def test_it_recognises_no_file_of_ours(translator):
    ours = sorted((ROOT / "params").glob("*.json"))
    assert ours
    for path in ours:
        for kind in KINDS_OF_PARAMS:
            assert not translator.build().recognises(read(path), kind), path


def test_it_recognises_no_translation_again(translator, sample):
    kind, raw = sample
    translated = translator.build().translate(raw, kind, "old.json").params
    for other in KINDS_OF_PARAMS:
        assert not translator.build().recognises(translated, other)


def test_it_recognises_no_garbage(translator):
    for value in GARBAGE:
        for raw in ({}, {"": value}, {"a": value, "b": {"c": value}}, {"train": value}):
            for kind in KINDS_OF_PARAMS:
                assert not translator.build().recognises(raw, kind), raw


def test_the_translation_is_json_with_notes_of_one_line(translator, sample):
    kind, raw = sample
    translation = translator.build().translate(raw, kind, "old.json")
    assert isinstance(translation, Translation)
    assert json.loads(json.dumps(translation.params, allow_nan=False)) == translation.params
    assert isinstance(translation.notes, tuple)
    assert [note for note in translation.notes if "\n" in note or ": " not in note] == []


def test_the_input_is_left_alone(translator, sample):
    kind, raw = sample
    before = copy.deepcopy(raw)
    built = translator.build()
    built.recognises(raw, kind)
    translation = built.translate(raw, kind, "old.json")
    assert raw == before
    spoil(translation.params)
    assert raw == before
    assert built.translate(raw, kind, "old.json") != translation


def spoil(node):
    """Change every list and object of a JSON value."""
    for value in list(node.values() if isinstance(node, dict) else node):
        if isinstance(value, dict | list):
            spoil(value)
    if isinstance(node, dict):
        node["spoilt"] = True
    else:
        node.append("spoilt")


def test_garbage_in_any_place_is_a_problem_of_the_file_or_means_something(translator, sample):
    kind, raw = sample
    for key in raw:
        for value in GARBAGE:
            given = {**raw, key: value}
            before = copy.deepcopy(given)
            answer = outcome(translator, kind, given)
            assert isinstance(answer, Translation) or answer.source == "old.json"
            assert given == before


def test_an_unknown_key_is_a_problem(translator, sample):
    kind, raw = sample
    error = outcome(translator, kind, {**raw, "no_such_key": [1]})
    assert isinstance(error, ParamsError)
    assert [problem.partition(":")[0] for problem in error.problems] == ["no_such_key"]


def test_a_recognised_file_is_loaded_in_our_vocabulary(translator, sample, catalog, capsys):
    kind, _ = sample
    path = SAMPLES[translator.name, kind]
    if kind == "run":
        loaded = load_run_params(path, catalog)
        assert loaded.translation == outcome(translator, kind, read(path))
    else:
        # Its data has no place in the file.
        target = 'targets.a={"name": "synthetic_market"}'
        load_eval_params(path, catalog, [target])
    first, *notes = capsys.readouterr().out.splitlines()
    assert first == f"{path}: written for {translator.component.system}; translated:"
    assert notes == [f"  {note}" for note in outcome(translator, kind, read(path)).notes]
