"""Other people's translators: asked about every params file, and their faults kept apart."""

import json

import pytest

from reid_core import ReidError, TranslatorComponent, hookimpl
from reid_core.contracts import Translation
from reid_core.discovery import load_catalog
from reid_core.errors import ParamsError
from reid_core.params.load import load_eval_params, load_run_params


class Metric:
    """A translator of a system whose files say ``recipe`` and ``passes``."""

    def recognises(self, raw, kind):
        return "recipe" in raw if kind == "run" else "score" in raw

    def translate(self, raw, kind, source):
        if kind == "eval":
            return Translation({"run": raw["score"]}, ("score: became run",))
        if not isinstance(raw.get("passes"), int):
            raise ParamsError(source, ["passes: required, but missing"])
        params = {**raw["recipe"]}
        params["train"] = {**params["train"], "epochs": raw["passes"]}
        return Translation(params, ("passes: became train.epochs",))


def plugin_of(translator, name="metric", **changes):
    """Return a plugin that offers an object as a translator."""
    fields = {"build": lambda params: translator, "system": "metric-zoo", "summary": "Zoo's files"}

    class Plugin:
        @hookimpl
        def reid_translator(self):
            return [TranslatorComponent(name=name, **(fields | changes))]

    return Plugin()


def broken(**methods):
    """Return a translator with some methods replaced."""
    return type("Broken", (Metric,), {name: staticmethod(m) for name, m in methods.items()})()


@pytest.fixture
def write(tmp_path):
    """A function: a file with a JSON value."""

    def to_file(value):
        path = tmp_path / "p.json"
        path.write_text(json.dumps(value))
        return path

    return to_file


def problems_of(load, path, catalog, overrides=()):
    with pytest.raises(ParamsError) as caught:
        load(path, catalog, overrides)
    return caught.value.problems


# ---- one that works ---------------------------------------------------------------------


def test_a_third_partys_vocabulary_is_translated_with_its_notes(write, tiny_params, capsys):
    catalog = load_catalog([plugin_of(Metric())])
    path = write({"recipe": tiny_params, "passes": 7})
    loaded = load_run_params(path, catalog)
    assert loaded.params.train.epochs == 7
    assert loaded.translation.notes == ("passes: became train.epochs",)
    assert capsys.readouterr().out == (
        f"{path}: written for metric-zoo; translated:\n  passes: became train.epochs\n"
    )


def test_overrides_come_after_the_translation(write, tiny_params):
    catalog = load_catalog([plugin_of(Metric())])
    path = write({"recipe": tiny_params, "passes": 7})
    loaded = load_run_params(path, catalog, ["train.epochs=9"])
    assert loaded.params.train.epochs == 9
    assert loaded.translation.params["train"]["epochs"] == 7


def test_eval_params_are_translated_too(write):
    catalog = load_catalog([plugin_of(Metric())])
    assert load_eval_params(write({"score": "runs/a"}), catalog).run == "runs/a"


def test_a_file_of_ours_passes_every_translator(write, tiny_params, capsys):
    catalog = load_catalog([plugin_of(Metric())])
    assert load_run_params(write(tiny_params), catalog).translation is None
    assert capsys.readouterr().out == ""


def test_the_problems_of_the_file_are_the_translators_and_those_of_its_text(tmp_path):
    catalog = load_catalog([plugin_of(Metric())])
    path = tmp_path / "p.json"
    path.write_text('{"recipe": {}, "recipe": {}}')
    assert problems_of(load_run_params, path, catalog) == [
        "recipe: given twice; keep one",
        "passes: required, but missing",
    ]


def test_a_translation_that_is_wrong_is_checked_as_ours(write, tiny_params):
    catalog = load_catalog([plugin_of(Metric())])
    path = write({"recipe": tiny_params, "passes": 0})
    assert problems_of(load_run_params, path, catalog) == ["train.epochs: must be >= 1, got 0"]


# ---- two for one file -------------------------------------------------------------------


def test_a_file_that_two_recognise_is_refused_with_both_names(write, tiny_params, capsys):
    catalog = load_catalog([plugin_of(Metric()), plugin_of(Metric(), "other")])
    path = write({"recipe": tiny_params, "passes": 7})
    assert problems_of(load_run_params, path, catalog) == [
        "recognised by translator 'metric' of local 0 and translator 'other' of local 0; "
        "uninstall one, or keep all but the built-in plugins out with REID_CORE_NO_THIRD_PARTY=1"
    ]
    assert capsys.readouterr().out == ""


# ---- broken ones ------------------------------------------------------------------------


ASKED = "failed when it was asked about the file"


def raises(*arguments):
    raise KeyError("img\nh")


@pytest.mark.parametrize("load", [load_run_params, load_eval_params])
def test_a_translator_that_raises_is_named_with_its_distribution_and_its_line(load, write):
    catalog = load_catalog([plugin_of(broken(translate=raises))])
    (line,) = problems_of(load, write({"recipe": {}, "score": ""}), catalog)
    kind = "run" if load is load_run_params else "eval"
    assert line.startswith(
        f"translator 'metric' of local 0 failed on the {kind} params: KeyError: 'img\\nh' "
        f"(test_translators.py:{raises.__code__.co_firstlineno + 1}); "
    )


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "returned a NoneType; expected a Translation with params of a dict"),
        ({"train": {}}, "returned a dict; expected a Translation with params of a dict"),
        (Translation([]), "returned a list; expected a Translation with params of a dict"),
        (Translation({"a": [{1}]}), "returned params that are not JSON: a.0 is a set"),
        (Translation({1: {}}), "returned params that are not JSON: params has the key 1"),
        (Translation({}, "note"), "returned notes 'note'; expected a tuple of strings"),
        (Translation({}, (1,)), "returned notes (1,); expected a tuple of strings"),
    ],
)
def test_an_answer_that_is_no_translation_is_the_translators_fault(answer, text, write):
    catalog = load_catalog([plugin_of(broken(translate=lambda *arguments: answer))])
    (line,) = problems_of(load_run_params, write({"recipe": {}}), catalog)
    assert line.startswith(f"translator 'metric' of local 0 {text}")


def test_a_mistake_that_a_translator_reports_in_its_own_words_stays_as_it_is(write):
    def refuses(*arguments):
        raise ReidError("recipe: ask the zoo")

    catalog = load_catalog([plugin_of(broken(translate=refuses))])
    with pytest.raises(ReidError, match=r"^recipe: ask the zoo$"):
        load_run_params(write({"recipe": {}}), catalog)


@pytest.mark.parametrize(
    ("changes", "translator", "text"),
    [
        ({}, broken(recognises=raises), f"{ASKED}: KeyError: 'img\\nh' ("),
        ({}, None, f"{ASKED}: AttributeError: 'NoneType' object has no attribute 'recognises'"),
        ({"build": lambda params: 1 / 0}, None, "failed while it was built: ZeroDivisionError: "),
        ({"build": lambda params, *, zoo: 1}, None, "cannot be built: it asks for zoo"),
        ({}, broken(recognises=lambda *_: 1), "returned 1 from 'recognises'; expected True or F"),
    ],
)
def test_a_translator_that_cannot_be_asked_stands_in_nobodys_way(
    changes, translator, text, write, tiny_params, capsys
):
    catalog = load_catalog([plugin_of(translator, **changes)])
    assert load_run_params(write(tiny_params), catalog).translation is None
    assert capsys.readouterr().out == ""
    tiny_params["train"]["epochs"] = 0
    problem, fault = problems_of(load_run_params, write(tiny_params), catalog)
    assert problem == "train.epochs: must be >= 1, got 0"
    assert fault.startswith(f"translator 'metric' of local 0 {text}")
