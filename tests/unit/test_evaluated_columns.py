"""Columns of the images, from files and stores to junk rules, distances and evaluators."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from parts import cosine
from reid_core import DistanceComponent, EvaluatorComponent, ReidError, hookimpl
from reid_core.cli import main
from reid_core.contracts import Features, NamedPart, Scores
from reid_core.errors import ParamsError
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.evaluation.rehearsal import check_targets
from reid_core.evaluation.run_evaluators import evaluate
from reid_core.evaluation.targets import Targets, target_entries
from reid_core.features.feature_files import save_features
from reid_core.files import user_path
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.storage.dataset_stores import Stores
from reid_evaluate.distances.distance_matrix import Cosine
from reid_plugins.evaluator.market_evaluate import MarketParams, build
from reid_plugins.toolkit.image_sets import image_set, keys, vectors

CHANGED = {"same": ["camid", "clothes"]}
"""The clothes-changing protocol of LTCC."""


def people(split, count=40, seed=0):
    """Images of five people in three outfits under three cameras; some facts are unknown."""
    rng = np.random.default_rng([seed, split == "query"])
    labels = rng.integers(0, 5, count)
    rows = np.eye(5, 8)[labels] + 0.4 * rng.standard_normal((count, 8))
    flags = np.zeros(count, dtype=bool)
    return Features(
        values={
            "embedding": rows.astype(np.float32),
            "aux.quality": rng.random(count).astype(np.float32),
        },
        pids=labels.astype(np.str_),
        camids=rng.integers(-1, 3, count),
        names=np.array([f"{split}/{i}" for i in range(count)]),
        junk=flags,
        distractor=flags.copy(),
        meta={"dataset": "people", "split": split},
        columns={"clothes": rng.choice(["", "red", "blue", "grey"], count)},
    )


@pytest.fixture
def splits():
    return {split: people(split) for split in ("query", "gallery")}


def score(splits, **params):
    checked = MarketParams.model_validate({"false_rates": [], "camera_pairs": False, **params})
    return build(checked, distance=cosine())(splits)


# ---- the junk rule ----------------------------------------------------------------------


def test_the_clothes_changing_protocol_counts_other_clothes_under_other_cameras(splits):
    query, gallery = splits.values()

    def differs(name):
        one, other = (f.camids if name == "camid" else f.columns[name] for f in (query, gallery))
        unknown = -1 if name == "camid" else ""
        known = (one != unknown)[:, None] & (other != unknown)[None, :]
        return known & (one[:, None] != other[None, :])

    same_pid = query.pids[:, None] == gallery.pids[None, :]
    expected = (same_pid & differs("camid") & differs("clothes")).sum(axis=1)
    found = score(splits, junk_rule=CHANGED).per_query["num_matches"]
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < score(splits).per_query["num_matches"].sum()


def test_the_rule_of_cameras_is_cross_camera_in_every_number(splits):
    by_column, by_name = score(splits, junk_rule={"same": ["camid"]}), score(splits)
    assert by_column.metrics == by_name.metrics
    for name, array in by_name.per_query.items():
        np.testing.assert_array_equal(by_column.per_query[name], array)


def test_card_and_protocol_say_the_rule(splits):
    rule = {"same": ["camid", "clothes"], "different": []}
    scores = score(splits, junk_rule=CHANGED, protocol="cuhk03")
    assert scores.protocol["junk_rule"] == rule
    assert scores.card["junk_rule"] == (
        "same camid, clothes: images of the query's pid are removed unless camid and clothes are "
        "known on both sides and all differ; images flagged junk are removed"
    )
    assert "single_shot_ranks" in scores.tables


def test_no_match_says_how_much_is_unknown(splits):
    gallery = splits["gallery"]
    bare = replace(gallery, columns={"clothes": np.full(len(gallery), "")})
    with pytest.raises(ReidError) as caught:
        score({**splits, "gallery": bare}, junk_rule=CHANGED)
    unknown = np.count_nonzero(splits["query"].columns["clothes"] == "") + 40
    assert "junk_rule 'same camid, clothes' leaves none of the 40 queries a match" in str(
        caught.value
    )
    assert f", {unknown} of 80 values of 'clothes' are unknown (empty)" in str(caught.value)
    assert str(caught.value).endswith("check the columns, or name fewer of them")


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({}, "or a column in 'same' or in 'different', got {}"),
        (
            {"same": ["time"], "different": ["time"]},
            "or column 'time' in one of 'same' and 'different' alone, got",
        ),
        ({"smae": ["camid"]}, "junk_rule.smae: unknown key; did you mean 'same'?"),
        ({"same": "camid"}, 'junk_rule.same: expected a list, got "camid"'),
        ({"same": [3]}, "junk_rule.same.0: expected a string, got 3"),
        ("crosscamera", "did you mean 'cross_camera'?"),
    ],
)
def test_a_wrong_rule_is_named_by_its_place(catalog, rule, text):
    entry = {"name": "market_evaluate", "params": {"junk_rule": rule}}
    with pytest.raises(ParamsError) as caught:
        check_eval_params({"features": {"query": "x"}, "evaluation": [entry]}, catalog, "test")
    assert text in str(caught.value)
    assert len(caught.value.problems) == 1


# ---- files ------------------------------------------------------------------------------


def saved(folder, splits, ending="npz"):
    for split, features in splits.items():
        save_features(folder / f"{split}.{ending}", features)
    return {split: str(folder / f"{split}.{ending}") for split in splits}


def query_saved(folder, splits):
    return saved(folder, {"query": splits["query"]})


def scored(catalog, features, *entries, **more):
    raw = {"features": features, "evaluation": list(entries), **more}
    return run_evaluation(check_eval_params(raw, catalog, "test"), catalog)


RANKING = {"name": "market_evaluate", "params": {"junk_rule": CHANGED, "camera_pairs": False}}


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_saved_features_have_their_columns(catalog, tmp_path, splits, ending):
    (result,) = scored(catalog, saved(tmp_path, splits, ending), RANKING)
    expected = score(splits, junk_rule=CHANGED, false_rates=[1e-4, 1e-3, 1e-2])
    assert result.scores.metrics == expected.metrics


def test_a_column_that_one_split_has_not_names_split_and_file(catalog, tmp_path, splits):
    bare = {**splits, "gallery": replace(splits["gallery"], columns={}, meta={})}
    files = saved(tmp_path, bare)
    with pytest.raises(ReidError) as caught:
        scored(catalog, files, RANKING)
    assert str(caught.value) == (
        "market_evaluate: the gallery split has no column 'clothes'; it has camid"
    )
    (result,) = scored(catalog, files, {"name": "market_evaluate"})
    assert result.scores.protocol["junk_rule"] == "cross_camera"


def test_compare_runs_tells_rules_apart(catalog, tmp_path, splits, capsys):
    files, folders = saved(tmp_path, splits), [tmp_path / "a", tmp_path / "b"]
    for folder, different in zip(folders, (["clothes"], []), strict=True):
        rule = {"same": ["camid"], "different": different}
        params = {"junk_rule": rule, "denominator": "all"}
        entry = {"name": "market_evaluate", "params": params}
        scored(catalog, files, entry, output_dir=str(folder))
    by_name = {"name": "market_evaluate", "params": {"denominator": "all"}}
    scored(catalog, files, by_name, output_dir=str(tmp_path / "c"))
    capsys.readouterr()
    assert main(["compare-runs", *map(str, folders)]) == 0
    assert 'junk_rule.different: ["clothes"] | []' in capsys.readouterr().out
    assert main(["compare-runs", str(folders[1]), str(tmp_path / "c")]) == 0
    out = capsys.readouterr().out
    assert 'junk_rule: {"same": ["camid"], "different": []} | cross_camera' in out
    assert "+0.0000 [+0.0000, +0.0000]" in out


# ---- distances and evaluators -----------------------------------------------------------


class Muddy(Cosine):
    """Puts images of the query's clothes behind, and images of low quality."""

    symmetric = False

    def prepare(self, vectors):
        assert set(vectors.aux) == {"quality"}
        assert set(vectors.columns) == {"clothes"}
        return super().prepare(vectors)

    def fill(self, query, gallery, out):
        super().fill(query, gallery, out)
        same = query.columns["clothes"][:, None] == gallery.columns["clothes"][None, :]
        out.add_(torch.from_numpy(same)).sub_(gallery.aux["quality"])


class Plugin:
    """Offers the distance ``muddy`` and the evaluator ``brightest``."""

    def __init__(self):
        self.seen = []

    @hookimpl
    def reid_distance(self):
        return [
            DistanceComponent(
                name="muddy",
                build=lambda params: Muddy(),
                summary="-",
                aux=("quality",),
                columns=("clothes",),
            )
        ]

    @hookimpl
    def reid_evaluator(self):
        def brightest(splits):
            query = splits["query"]
            self.seen.append({name: array.shape[1:] for name, array in query.values.items()})
            value = float(query.values["aux.quality"].max()) + (query.columns["camid"] >= 0).mean()
            return Scores({"max": value}, "max", {"evaluator": "brightest"})

        return [
            EvaluatorComponent(
                name="brightest",
                build=lambda params: brightest,
                summary="-",
                splits=("query",),
                outputs=lambda params: ("feature",),
                aux=("quality",),
                columns=("camid",),
            )
        ]


@pytest.fixture
def plugin():
    return Plugin()


@pytest.fixture
def with_plugin(catalog_with, plugin):
    return catalog_with(plugin)


def test_a_distance_gets_the_values_and_columns_that_it_names(with_plugin, tmp_path, splits):
    other = {"aux.other": np.ones((40, 2), np.float32)}
    more = {s: replace(f, values={**f.values, **other}) for s, f in splits.items()}
    more = {s: replace(f, columns={**f.columns, "time": np.arange(40)}) for s, f in more.items()}
    entry = {"name": "market_evaluate", "distance": {"name": "muddy"}}
    (result,) = scored(with_plugin, saved(tmp_path, more), entry)
    query, gallery = splits.values()
    unit = [f.values["embedding"] for f in (query, gallery)]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in unit]
    same = query.columns["clothes"][:, None] == gallery.columns["clothes"][None, :]
    keys = same - unit[0] @ unit[1].T - gallery.values["aux.quality"][None, :]
    nearest = result.scores.per_query["top_indices"][:, 0]
    np.testing.assert_array_equal(nearest, keys.argmin(axis=1))


def test_a_step_on_both_sides_keeps_the_columns(with_plugin, tmp_path, splits):
    step = {"name": "query_expansion", "params": {"k": 2}}
    entry = {"name": "market_evaluate", "distance": {"name": "muddy"}, "postprocess": [step]}
    (result,) = scored(with_plugin, saved(tmp_path, splits), entry)
    assert np.isfinite(result.scores.per_query["top_distances"]).all()


# ---- the rehearsal ----------------------------------------------------------------------


@pytest.fixture
def rehearse(with_plugin, tiny_params):
    """A function that rehearses an entry on drawn people with columns of some splits."""

    def run(entry, blank, columns=None):
        raw = {**tiny_params, "backbone": {"name": "tiny"}, "evaluation": [entry]}
        params = check_run_params(raw, with_plugin, "test")
        targets = Targets(target_entries(params), Stores(user_path(params.working_dir)))
        store = targets.store("synthetic_market")
        store.index = replace(store.index, columns=columns(store.index) if columns else {})
        check_targets(params.evaluation, targets, (), blank, has_classifier=False)

    return run


def of_the_network(outputs):
    there = {"embedding": (1, 6), "feature": (1, 6), "aux.quality": (1, 3, 2)}
    return {name: np.ones(there[name], np.float32) for name in outputs}


def test_an_evaluator_that_reads_aux_is_rehearsed_with_the_shapes_of_the_network(rehearse, plugin):
    rehearse({"name": "brightest"}, of_the_network)
    assert plugin.seen == [{"feature": (6,), "aux.quality": (3, 2)}]


def test_a_value_that_no_head_gives_is_found_before_the_training(rehearse):
    def blank(outputs):
        raise ReidError("an evaluator needs the value 'quality' of a head")

    with pytest.raises(ReidError, match=r"^evaluation\.0: 'brightest': .* the value 'quality'"):
        rehearse({"name": "brightest"}, blank)


def test_a_column_that_the_images_have_not_is_found_before_the_training(rehearse):
    with pytest.raises(ReidError) as caught:
        rehearse(RANKING, of_the_network, lambda index: {"time": np.zeros(len(index), int)})
    assert str(caught.value) == (
        "evaluation.0: 'market_evaluate': target 'synthetic_market' has no column 'clothes' "
        "(columns: camid, time; scored targets that have it: none)"
    )


def test_a_protocol_that_leaves_no_match_is_found_before_the_training(rehearse):
    with pytest.raises(ReidError, match="values of 'clothes' are unknown"):
        rehearse(RANKING, of_the_network, lambda index: {"clothes": np.full(len(index), "")})
    rehearse(RANKING, of_the_network, lambda index: {"clothes": np.arange(len(index)).astype(str)})


class Stale(Cosine):
    """Writes no keys."""

    def fill(self, query, gallery, out):
        pass


def test_a_distance_that_writes_nothing_is_found_before_the_training(catalog_with, tiny_params):
    class Offer:
        @hookimpl
        def reid_distance(self):
            return [DistanceComponent(name="stale", build=lambda params: Stale(), summary="-")]

    entry = {"name": "market_evaluate", "distance": {"name": "stale"}}
    raw = {**tiny_params, "evaluation": [entry]}
    params = check_run_params(raw, catalog_with(Offer()), "test")
    targets = Targets(target_entries(params), Stores(user_path(params.working_dir)))
    with pytest.raises(ReidError, match=r"distance 'stale' of .* left them unwritten"):
        check_targets(params.evaluation, targets, (), of_the_network, has_classifier=False)


@pytest.mark.parametrize("at", ["check_targets", "evaluate"])
def test_what_an_evaluator_returns_is_checked_in_the_rehearsal_and_for_real(
    catalog_with, tiny_params, at
):
    class Offer:
        @hookimpl
        def reid_evaluator(self):
            def wrong(splits):
                return Scores({"mAP": float("nan")}, "mAP", {"evaluator": "wrong"})

            return [
                EvaluatorComponent(
                    name="wrong", build=lambda params: wrong, summary="-", splits=("query",)
                )
            ]

    raw = {**tiny_params, "evaluation": [{"name": "wrong"}]}
    params = check_run_params(raw, catalog_with(Offer()), "test")
    targets = Targets(target_entries(params), Stores(user_path(params.working_dir)))
    text = "evaluator 'wrong' of .* metric 'mAP' nan .* on target 'synthetic_market'"
    calls = {
        "check_targets": lambda: check_targets(
            params.evaluation, targets, (), of_the_network, has_classifier=False
        ),
        "evaluate": lambda: evaluate(
            params.evaluation,
            ["synthetic_market"],
            lambda target, split, outputs, columns: people(split),
        ),
    }
    with pytest.raises(ReidError, match=text):
        calls[at]()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"splits": ("test",)}, r"declares splits \('test',\); expected a tuple of names out of"),
        ({"outputs": ("aux",)}, r"declares outputs \('aux',\); .* embedding, feature, logits"),
        ({"columns": lambda params: params.rule}, "failed when it was asked for its columns: Attr"),
        ({"aux": lambda params: (3,)}, r"declares aux \(3,\); expected a tuple of names"),
        ({"splits": lambda params: ["query"]}, r"declares splits \['query'\]; expected a tuple of"),
        ({"build": lambda params: 3}, "built a int; expected an Evaluator"),
        ({"build": lambda params, *, distance: distance}, "asks for a distance, and its component"),
    ],
)
def test_what_an_evaluator_declares_is_checked(catalog_with, tmp_path, splits, changes, text):
    class Offer:
        @hookimpl
        def reid_evaluator(self):
            given = {"build": lambda params: print, "splits": ("query",), **changes}
            return [EvaluatorComponent(name="odd", summary="-", **given)]

    with pytest.raises(ReidError, match=f"evaluator 'odd' of .* {text}"):
        scored(catalog_with(Offer()), saved(tmp_path, splits), {"name": "odd"})


def test_what_an_evaluator_raises_names_it_with_its_line(catalog_with, tmp_path, splits):
    class Offer:
        @hookimpl
        def reid_evaluator(self):
            def failing(splits):
                return splits["gallery"]

            return [
                EvaluatorComponent(
                    name="failing", build=lambda params: failing, summary="-", splits=("query",)
                )
            ]

    with pytest.raises(ReidError) as caught:
        scored(catalog_with(Offer()), query_saved(tmp_path, splits), {"name": "failing"})
    text = (
        "evaluator 'failing' of local 0 failed on target 'features': KeyError: 'gallery' (test_ev"
    )
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (
            lambda f: f.columns["clothes"],
            r"NotDeclaredError: 'clothes' is not declared; add columns=\(\"clothes\",\) to the "
            r"EvaluatorComponent \(declared: camid\)",
        ),
        (
            lambda f: f.rows(np.arange(2)).values["aux.quality"],
            r"'aux.quality' is not declared; add aux=\(\"quality\",\) to the EvaluatorComponent",
        ),
    ],
)
def test_an_evaluator_of_saved_features_gets_what_it_declares_alone(
    catalog_with, tmp_path, splits, wanted, text
):
    seen = []

    class Offer:
        @hookimpl
        def reid_evaluator(self):
            def asking(splits):
                seen.append((set(splits["query"].columns), set(splits["query"].values)))
                return wanted(splits["query"])

            given = {"splits": ("query",), "columns": ("camid",)}
            return [EvaluatorComponent(name="x", build=lambda params: asking, summary="-", **given)]

    with pytest.raises(ReidError, match=f"evaluator 'x' of local 0 failed .*{text}"):
        scored(catalog_with(Offer()), query_saved(tmp_path, splits), {"name": "x"})
    assert seen == [({"camid"}, {"embedding"})]


# ---- for evaluators of one's own --------------------------------------------------------


def test_vectors_are_compared_in_two_lines(splits):
    query, gallery = (vectors(features, "embedding", cosine()) for features in splits.values())
    found = keys(query, gallery, cosine())
    rows = [f.values["embedding"] for f in splits.values()]
    unit = [r / np.linalg.norm(r, axis=1, keepdims=True) for r in rows]
    np.testing.assert_allclose(cosine().part.values(found), 1 - unit[0] @ unit[1].T, atol=1e-6)


def test_vectors_of_two_sizes_are_not_compared(splits):
    query, gallery = (vectors(features, "embedding", cosine()) for features in splits.values())
    smaller = replace(gallery, features=gallery.features[:, :1])
    size = query.features.shape[1]
    with pytest.raises(ReidError, match=f"size {size} on cpu and the gallery of size 1 on cpu"):
        keys(query, smaller, cosine())


NEEDY = NamedPart("needy", {}, Cosine(), aux=("uc",), columns=("time",))


@pytest.mark.parametrize(
    ("part", "output", "text"),
    [
        (cosine(), "feature", "the query split has no output 'feature'; it has aux.quality, embed"),
        (
            NEEDY,
            "embedding",
            "the query split has no value of a head that the distance 'needy' "
            "reads, 'uc'; it has quality",
        ),
        (
            replace(NEEDY, aux=()),
            "embedding",
            "the query split has no column that the distance "
            "'needy' reads, 'time'; it has camid, clothes",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_there_is(splits, part, output, text):
    with pytest.raises(ReidError) as caught:
        vectors(splits["query"], output, part)
    assert str(caught.value).startswith(text)


def test_vectors_that_are_no_numbers_are_refused_with_their_split(splits):
    rows = splits["query"].values["embedding"].copy()
    rows[3] = np.nan
    wrong = replace(splits["query"], values={"embedding": rows})
    with pytest.raises(ReidError, match="query features: 1 of 40 rows are NaN"):
        vectors(wrong, "embedding", cosine())


def test_only_the_columns_that_are_asked_for_go_along(splits):
    found = image_set(splits["query"], "embedding", cosine(), columns=("clothes", "camid"))
    assert found.columns.keys() == {"clothes", "camid"}
    assert image_set(splits["query"], "embedding", cosine()).columns == {}


def test_the_saved_scores_have_the_rule_as_data(catalog, tmp_path, splits):
    scored(catalog, saved(tmp_path, splits), RANKING, output_dir=str(tmp_path / "out"))
    facts = json.loads((tmp_path / "out" / "scores-market_evaluate-features.json").read_text())
    assert facts["protocol"]["junk_rule"] == {"same": ["camid", "clothes"], "different": []}
