"""The catalog: what is found, how a plugin's fault is reported, how a name is looked up."""

import subprocess
import sys

import pytest

from reid_core import (
    AugmentationComponent,
    BackboneComponent,
    Component,
    EvaluatorComponent,
    LossComponent,
    Params,
    PostprocessComponent,
    ReidError,
    ScheduleComponent,
    hookimpl,
)
from reid_core.catalog import Catalog, Offer
from reid_core.discovery import OFF_SWITCH, isolated_catalog, load_catalog
from reid_core.errors import did_you_mean, name_list
from reid_core.hookspecs import COMPONENT_TYPES, KINDS

SUPCON = """
from reid_core import LossComponent, hookimpl

def build(params, *, dim):
    return "{word} supcon"

@hookimpl
def reid_loss():
    return [LossComponent(name="{name}", build=build, summary="contrasts", role="metric")]
"""


def supcon(word="a", name="supcon"):
    return SUPCON.format(word=word, name=name)


def loss(name="supcon", **changes):
    fields = {"build": lambda params: None, "summary": "contrasts", "role": "metric"} | changes
    return LossComponent(name=name, **fields)


def plugin_of(result):
    """Return a plugin whose loss hook returns, or raises, what is given."""

    class Plugin:
        @hookimpl
        def reid_loss(self):
            if isinstance(result, BaseException):
                raise result
            return result

    return Plugin()


def faults_of(distribution):
    return [f for f in load_catalog().faults if f.distribution == distribution]


def only_cause(faults):
    (fault,) = faults
    assert "\n" not in str(fault)
    return fault.cause


# ---- what is found ----------------------------------------------------------------------


def test_every_built_in_plugin_loads_and_every_kind_has_one(catalog):
    assert [f for f in catalog.faults if f.distribution == "reid-core"] == []
    ours = {o.kind for o in catalog.offers if o.distribution == "reid-core"}
    assert ours == set(KINDS)


def test_every_call_makes_a_catalog_of_its_own(install_plugin):
    first, second = load_catalog(), load_catalog()
    assert first is not second
    assert first.offers is not second.offers
    install_plugin("reid-fresh", {"reid_fresh_plugin": supcon()})
    assert "supcon" not in [o.component.name for o in first.offers + second.offers]
    assert load_catalog().component("loss", "reid-fresh:supcon").summary == "contrasts"


def test_an_installed_plugin_is_found_with_distribution_and_version(install_plugin):
    install_plugin("reid-found", {"reid_found_plugin": supcon(name="finder")}, version="2.5")
    offer = load_catalog().offer("loss", "finder")
    assert (offer.distribution, offer.version) == ("reid-found", "2.5")
    assert str(offer) == "loss 'finder' of reid-found 2.5"


def test_an_object_can_be_a_plugin_beside_the_installed_ones():
    found = load_catalog([plugin_of([loss("mine")])])
    assert found.offer("loss", "mine").distribution == "local"
    assert "triplet" in found.names("loss")


def test_an_isolated_catalog_holds_only_what_it_is_given():
    found = isolated_catalog(plugin_of([loss("b"), loss("a")]))
    assert [str(o) for o in found.offers] == ["loss 'a' of local 0", "loss 'b' of local 0"]
    assert found.faults == []


def test_offers_are_in_the_order_of_kinds_then_names(catalog):
    keys = [(KINDS.index(o.kind), o.component.name) for o in catalog.offers]
    assert keys == sorted(keys)
    assert catalog.names("backbone") == sorted(set(catalog.names("backbone")))


@pytest.mark.parametrize("value", ["1", "yes"])
def test_the_switch_keeps_third_parties_out(install_plugin, monkeypatch, value):
    install_plugin("reid-off", {"reid_off_plugin": supcon()})
    install_plugin("reid-off-bad", {"reid_off_bad_plugin": "1 / 0"})
    monkeypatch.setenv(OFF_SWITCH, value)
    found = load_catalog()
    assert {o.distribution for o in found.offers} == {"reid-core"}
    assert found.faults == []
    assert "reid_off_bad_plugin" not in sys.modules


@pytest.mark.parametrize("value", ["", "0"])
def test_an_empty_switch_or_0_lets_third_parties_in(install_plugin, monkeypatch, value):
    install_plugin("reid-on", {"reid_on_plugin": supcon(name="on_supcon")})
    monkeypatch.setenv(OFF_SWITCH, value)
    assert load_catalog().offer("loss", "on_supcon").distribution == "reid-on"


# ---- faults of a whole plugin -----------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        (
            "import no_such_module_here",
            "ModuleNotFoundError: No module named 'no_such_module_here'",
        ),
        ("raise ImportError('needs\\ntorch 9')", "ImportError: needs torch 9"),
        ("def (", "SyntaxError: invalid syntax (reid_bad_plugin.py, line 1)"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_reported_and_left_out(install_plugin, source, cause):
    install_plugin("reid-bad", {"reid_bad_plugin": source})
    found = load_catalog()
    assert "triplet" in found.names("loss")
    (fault,) = [f for f in found.faults if f.distribution == "reid-bad"]
    assert str(fault) == f"plugin 'reid-bad' of reid-bad 1.0: cannot be imported: {cause}"


def test_an_entry_point_without_its_module_or_attribute_is_reported(install_plugin):
    entries = {"lost": "reid_nowhere", "half": "reid_half_plugin:missing"}
    install_plugin("reid-lost", {"reid_half_plugin": ""}, entries)
    causes = [f.cause for f in faults_of("reid-lost")]
    assert causes == [
        "cannot be imported: ModuleNotFoundError: No module named 'reid_nowhere'",
        "cannot be imported: AttributeError: module 'reid_half_plugin' has no attribute 'missing'",
    ]


def test_ctrl_c_while_a_plugin_loads_is_not_swallowed(install_plugin):
    install_plugin("reid-slow", {"reid_slow_plugin": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        load_catalog()


def test_a_misspelt_hook_is_reported_with_the_right_name(install_plugin):
    install_plugin("reid-typo", {"reid_typo_plugin": supcon().replace("reid_loss", "reid_lossss")})
    cause = only_cause(faults_of("reid-typo"))
    assert cause.startswith("unknown hook 'reid_lossss'; did you mean 'reid_loss'? (hooks: reid_")
    assert "supcon" not in [
        o.component.name for o in load_catalog().offers if o.distribution == "reid-typo"
    ]


def test_a_hook_with_an_argument_is_reported_without_a_wrong_hint(install_plugin):
    source = supcon().replace("reid_loss()", "reid_loss(config)")
    install_plugin("reid-arg", {"reid_arg_plugin": source})
    cause = only_cause(faults_of("reid-arg"))
    assert "hookimpl definition: reid_loss(config)" in cause
    assert "{'config'} are declared in the hookimpl but can not be found in the hookspec" in cause
    assert "did you mean" not in cause


def test_a_forgotten_hookimpl_is_reported(install_plugin):
    install_plugin("reid-mute", {"reid_mute_plugin": supcon().replace("@hookimpl", "")})
    assert only_cause(faults_of("reid-mute")) == "offers nothing; is @hookimpl missing?"


@pytest.mark.parametrize("nothing", [None, []])
def test_a_hook_that_returns_nothing_is_reported(nothing):
    cause = only_cause(isolated_catalog(plugin_of(nothing)).faults)
    assert cause == "offers nothing: reid_loss must return a list of components"


@pytest.mark.parametrize(
    ("result", "got"),
    [
        ("triplet", "'triplet'"),
        (7, "7"),
        ([7], "7"),
        ({"name": loss()}, "{'name': LossComponent("),
        (loss(), "LossComponent(name='supcon'"),
        ([loss], "<function loss"),
        ([Component(name="x", build=print, summary="")], "Component(name='x'"),
    ],
)
def test_a_hook_that_returns_something_else_is_reported(result, got):
    cause = only_cause(isolated_catalog(plugin_of(result)).faults)
    assert cause.startswith(f"reid_loss must return a list of LossComponent, got {got}")


NO_NAME = (
    "reid_loss: name must be a word of letters, digits, '_', '-', '+' and '.', without ':' and no "
    "'.' first"
)


@pytest.mark.parametrize(
    ("component", "cause"),
    [
        (loss(""), f"{NO_NAME}, got ''"),
        (loss(None), f"{NO_NAME}, got None"),
        (loss("a:b"), f"{NO_NAME}, got 'a:b'"),
        (loss("../a"), f"{NO_NAME}, got '../a'"),
        (loss("a b"), f"{NO_NAME}, got 'a b'"),
        (loss(summary=None), "loss 'supcon': summary must be a string, got None"),
        (loss(build="it"), "loss 'supcon': build must be a function, got 'it'"),
        (loss(reference=5), "loss 'supcon': reference must be a string, got 5"),
        (
            loss(role="ids"),
            "loss 'supcon': role must be 'id' or 'metric', got 'ids'; did you mean 'id'?",
        ),
        (
            loss(on="features"),
            "loss 'supcon': on must be 'feature' or 'embedding', got 'features'; "
            "did you mean 'feature'?",
        ),
        (loss(normalize=1), "loss 'supcon': normalize must be True or False, got 1"),
        (
            loss(needs=frozenset({"pairs", "batches"})),
            "loss 'supcon': needs must be a set of 'classifier', 'pairs', 'batch', got "
            "frozenset({'pairs', 'batches'}); did you mean 'batch'?",
        ),
        (
            loss(needs="pairs"),
            "loss 'supcon': needs must be a set of 'classifier', 'pairs', 'batch', got 'pairs'",
        ),
        (
            loss(needs={1}),
            "loss 'supcon': needs must be a set of 'classifier', 'pairs', 'batch', got {1}",
        ),
        (
            loss(reads=["uc"]),
            "loss 'supcon': reads must be a tuple of names or a function, got ['uc']",
        ),
        (
            loss(columns=("",)),
            "loss 'supcon': columns must be a tuple of names or a function, got ('',)",
        ),
        (
            loss(params={}),
            "loss 'supcon': params must be a subclass of reid_core.Params, got {}",
        ),
        (
            loss(params=int),
            "loss 'supcon': params must be a subclass of reid_core.Params, got <class 'int'>",
        ),
    ],
)
def test_a_component_that_cannot_be_used_is_reported(component, cause):
    found = isolated_catalog(plugin_of([component]), plugin_of([loss("other")]))
    # Sets have no order.
    text = only_cause(found.faults).replace("{'batches', 'pairs'}", "{'pairs', 'batches'}")
    assert text == cause
    assert found.names("loss") == ["other"]


@pytest.mark.parametrize(
    "component",
    [
        loss(needs={"pairs"}),
        loss(needs=frozenset({"classifier", "batch"}), reads=lambda params: ("uc",)),
        loss(on="embedding", normalize=True, columns=("clothes",), extras=()),
    ],
)
def test_a_component_that_keeps_to_its_types_is_offered(component):
    assert isolated_catalog(plugin_of([component])).faults == []


@pytest.mark.parametrize(
    ("kind", "component", "cause"),
    [
        (
            "augmentation",
            AugmentationComponent(name="x", build=print, summary="", stage="pill"),
            "stage must be 'pil' or 'tensor' or 'batch', got 'pill'; did you mean 'pil'?",
        ),
        (
            "augmentation",
            AugmentationComponent(name="x", build=print, summary="", stage="pil", use=True),
            "use must be 'train' or 'test' or 'both', got True",
        ),
        (
            "augmentation",
            AugmentationComponent(name="x", build=print, summary="", stage="pil", extras="move"),
            "extras must be 'keeps' or 'moves' or None, got 'move'; did you mean 'moves'?",
        ),
        (
            "postprocess",
            PostprocessComponent(name="x", build=print, summary="", stage="distance"),
            "stage must be 'features' or 'distances', got 'distance'; did you mean 'distances'?",
        ),
        (
            "postprocess",
            PostprocessComponent(
                name="x", build=print, summary="", stage="features", splits="query"
            ),
            "splits must be a tuple of names, got 'query'",
        ),
        (
            "schedule",
            ScheduleComponent(name="x", build=print, summary="", reads_scores=0),
            "reads_scores must be True or False, got 0",
        ),
        (
            "evaluator",
            EvaluatorComponent(name="x", build=print, summary="", splits=(), distance=5),
            "distance must be a string or None, got 5",
        ),
        (
            "backbone",
            BackboneComponent(name="x", build=print, summary="", side="camid"),
            "side must be a tuple of names or a function, got 'camid'",
        ),
    ],
)
def test_a_word_that_a_component_must_not_declare_is_reported(kind, component, cause):
    class Plugin:
        pass

    def hook(self):
        return [component]

    hook.__name__ = f"reid_{kind}"
    setattr(Plugin, f"reid_{kind}", hookimpl(hook))
    found = isolated_catalog(Plugin())
    assert only_cause(found.faults) == f"{kind} 'x': {cause}"


@pytest.mark.parametrize("error", [RuntimeError("no\nluck"), SystemExit("no luck")])
def test_a_hook_that_raises_is_reported(error):
    cause = only_cause(isolated_catalog(plugin_of(error)).faults)
    assert cause == f"{type(error).__name__}: no luck"


def test_ctrl_c_in_a_hook_is_not_swallowed():
    with pytest.raises(KeyboardInterrupt):
        isolated_catalog(plugin_of(KeyboardInterrupt()))


def test_every_kind_refuses_a_plain_component_where_it_needs_more():
    for kind, expected in COMPONENT_TYPES.items():
        hook = hookimpl(lambda: [Component(name="x", build=print, summary="")])
        plugin = type("Plugin", (), {f"reid_{kind}": staticmethod(hook)})()
        cause = only_cause(isolated_catalog(plugin).faults)
        assert cause.startswith(f"reid_{kind} must return a list of {expected.__name__}, got ")


# ---- damaged and clashing installations -------------------------------------------------


def test_an_installation_without_metadata_is_reported_by_what_is_known(install_plugin):
    info = install_plugin("reid-torn", {"reid_torn_plugin": "1 / 0"})
    (info / "METADATA").unlink()
    (fault,) = faults_of("unknown")
    assert str(fault) == (
        "plugin 'reid-torn' of unknown unknown: "
        "cannot be imported: ZeroDivisionError: division by zero"
    )


def test_entry_points_that_cannot_be_parsed_are_reported(install_plugin):
    info = install_plugin("reid-garbled", {"reid_garbled_plugin": supcon()})
    (info / "entry_points.txt").write_text("[reid_core]\nno equals sign\n")
    (fault,) = faults_of("reid-garbled")
    assert str(fault).startswith("plugin 'entry_points.txt' of reid-garbled 1.0: cannot be read: ")
    assert load_catalog().offers


def test_unreadable_entry_points_of_a_stranger_do_no_harm(install_plugin):
    info = install_plugin("stranger", {"stranger_plugin": ""})
    (info / "entry_points.txt").write_bytes(b"\xff\xfe[reid_core]")
    assert faults_of("stranger") == []


def test_a_second_declaration_of_an_entry_point_is_reported(install_plugin):
    install_plugin(
        "reid-two", {"reid_two_plugin": supcon("the second")}, {"shared": "reid_two_plugin"}
    )
    install_plugin(
        "reid-one", {"reid_one_plugin": supcon("the first")}, {"shared": "reid_one_plugin"}
    )
    found = load_catalog()
    assert found.offer("loss", "reid-one:supcon").component.build(None, dim=1) == "the first supcon"
    (fault,) = [f for f in found.faults if f.distribution == "reid-two"]
    assert str(fault) == (
        "plugin 'shared' of reid-two 1.0: entry point 'shared' is already declared by reid-one; "
        "rename it"
    )


def test_a_built_in_keeps_its_entry_point_whoever_comes_first_on_the_path(install_plugin):
    install_plugin(
        "reid-thief", {"reid_thief_plugin": supcon()}, {"loss.triplet": "reid_thief_plugin"}
    )
    found = load_catalog()
    assert found.offer("loss", "triplet").distribution == "reid-core"
    cause = only_cause([f for f in found.faults if f.distribution == "reid-thief"])
    assert cause == "entry point 'loss.triplet' is already declared by reid-core; rename it"


def test_the_same_declaration_seen_twice_is_no_clash(install_plugin, tmp_path, monkeypatch):
    info = install_plugin("reid-same", {"reid_same_plugin": supcon(name="same")})
    clone = tmp_path / "clone" / info.name
    clone.mkdir(parents=True)
    for file in info.iterdir():
        (clone / file.name).write_bytes(file.read_bytes())
    monkeypatch.syspath_prepend(tmp_path / "clone")
    found = load_catalog()
    assert found.offer("loss", "same").distribution == "reid-same"
    assert [f for f in found.faults if f.distribution == "reid-same"] == []


def test_what_an_older_build_has_left_in_a_clone_hides_nothing(
    install_plugin, tmp_path, monkeypatch
):
    install_plugin("reid-moved", {"reid_moved_plugin": supcon(name="moved")})
    left = tmp_path / "clone" / "reid_moved.egg-info"
    left.mkdir(parents=True)
    (left / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: reid-moved\nVersion: 0.9\n")
    (left / "entry_points.txt").write_text("[reid_core]\nreid-moved = reid_where_it_was\n")
    monkeypatch.syspath_prepend(tmp_path / "clone")
    found = load_catalog()
    assert found.offer("loss", "moved").version == "1.0"
    assert [f for f in found.faults if f.distribution == "reid-moved"] == []


def test_two_offers_of_one_name_fail_only_where_the_name_is_used(install_plugin):
    install_plugin("reid-x", {"reid_x_plugin": supcon("x")})
    install_plugin("reid-y", {"reid_y_plugin": supcon("y")})
    found = load_catalog()
    assert not [f for f in found.faults if f.distribution in ("reid-x", "reid-y")]
    assert found.offer("loss", "triplet")
    with pytest.raises(ReidError) as caught:
        found.offer("loss", "supcon")
    assert str(caught.value).startswith("loss 'supcon' is offered more than once; write ")
    assert "'reid-x:supcon' or 'reid-y:supcon'" in str(caught.value)
    assert found.component("loss", "reid-y:supcon").build(None, dim=1) == "y supcon"


def test_a_built_in_name_offered_again_can_be_picked_by_distribution(install_plugin):
    install_plugin("reid-again", {"reid_again_plugin": supcon(name="triplet")})
    found = load_catalog()
    with pytest.raises(ReidError, match="'reid-again:triplet' or 'reid-core:triplet'"):
        found.offer("loss", "triplet")
    assert found.offer("loss", "reid-core:triplet").distribution == "reid-core"


def test_a_package_that_offers_one_name_twice_is_told_to_rename():
    found = isolated_catalog(plugin_of([loss(), loss("fine")]), plugin_of([loss()]))
    for name in ("supcon", "local:supcon"):
        with pytest.raises(ReidError) as caught:
            found.offer("loss", name)
        assert str(caught.value) == (
            "loss 'supcon' of local 0 is offered twice; the package must rename one of them"
        )
    assert found.offer("loss", "fine")


# ---- names ------------------------------------------------------------------------------


def test_a_name_of_a_package_that_is_not_there_says_so():
    found = isolated_catalog(plugin_of([loss(), loss("triplet")]))
    with pytest.raises(ReidError) as caught:
        found.offer("loss", "nobody:supcon")
    assert str(caught.value) == (
        "loss 'supcon' is of the package 'nobody', which is not installed here; install it, or "
        "choose another loss"
    )


@pytest.mark.parametrize("word", ["supcno", "SUPCON", "local:supcno"])
def test_an_unknown_name_is_answered_with_the_nearest_and_the_list(word):
    found = isolated_catalog(plugin_of([loss(), loss("triplet")]))
    with pytest.raises(ReidError) as caught:
        found.offer("loss", word)
    assert str(caught.value) == (
        f"unknown loss '{word}'; did you mean 'supcon'? (known: supcon, triplet)"
    )


def test_a_kind_without_components_says_so():
    with pytest.raises(ReidError) as caught:
        isolated_catalog().component("head", "global")
    assert str(caught.value) == "unknown head 'global' (known: none)"


def test_an_unknown_name_points_at_the_plugins_that_failed(install_plugin):
    install_plugin("reid-late", {"reid_late_plugin": "1 / 0"}, version="3.1")
    with pytest.raises(ReidError) as caught:
        load_catalog().offer("loss", "late_loss")
    assert "; plugins that failed to load: reid-late 3.1 (cannot be imported: ZeroDiv" in str(
        caught.value
    )


def test_a_name_of_one_distribution_points_at_the_faults_of_that_one(install_plugin):
    install_plugin("reid-late", {"reid_late_plugin": "1 / 0"})
    install_plugin("reid-worse", {"reid_worse_plugin": "1 / 0"})
    with pytest.raises(ReidError, match=r"failed to load: reid-late 1\.0 ") as caught:
        load_catalog().offer("loss", "reid-late:supcon")
    assert "reid-worse" not in str(caught.value)


def test_a_name_of_another_kind_is_unknown():
    found = isolated_catalog(plugin_of([loss("global")]))
    with pytest.raises(ReidError, match="unknown head 'global'"):
        found.offer("head", "global")


def test_hints_are_given_only_for_close_words():
    assert did_you_mean("p", ["P", "K"]) == "; did you mean 'P'?"
    assert did_you_mean("tripelt", ["triplet", "softmax"]) == "; did you mean 'triplet'?"
    assert did_you_mean("zebra", ["triplet", "softmax"]) == ""
    assert did_you_mean("zebra", []) == ""


def test_long_lists_of_names_are_cut():
    assert name_list(["b", "a"]) == "a, b"
    assert name_list([]) == "none"
    assert name_list("dcba", limit=2) == "a, b, ... (4 in all)"


def test_a_catalog_made_by_hand_serves_lookups():
    offer = Offer("loss", loss(params=Params), "mine", "1")
    assert Catalog([offer]).offer("loss", "mine:supcon") is offer


def test_plugins_are_loaded_by_nothing_but_a_call():
    code = "import reid_core.cli, sys; print([m for m in sys.modules if 'reid_plugins' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
