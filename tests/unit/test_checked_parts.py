"""Distances and steps of plugins that do wrong: what is told, and that it names them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from comparisons import comparison_of, keys_of, random_rows
from reid_core import ReidError
from reid_core.boundary import Origin, PluginError
from reid_core.evaluation.checked_parts import CheckedDistance, checked_step
from reid_evaluate.distances.distance_matrix import Cosine, Euclidean, SquaredEuclidean
from reid_evaluate.reranking.k_reciprocal import re_ranked

DISTANCE = Origin("distance", "mine", "reid-mine", "0.3", __file__)
STEP = Origin("postprocess", "mine", "reid-mine", "0.3", __file__)
RNG = np.random.default_rng(0)
QUERY, GALLERY = random_rows(RNG, 5, 4), random_rows(RNG, 9, 4)


def fault_of(call):
    with pytest.raises(PluginError) as caught:
        call()
    text = str(caught.value)
    assert "'mine' of reid-mine 0.3 " in text
    return text


def distances(change):
    """All keys and values by a distance that differs from the cosine in what is given."""
    mine = type("Mine", (Cosine,), change)()
    comparison = comparison_of(QUERY, GALLERY, CheckedDistance(mine, DISTANCE))
    return comparison.keys.values(torch.from_numpy(keys_of(comparison, 2)))


def test_a_right_distance_gives_what_it_gives_alone():
    for one in (Cosine(), Euclidean()):
        checked = CheckedDistance(one, DISTANCE)
        assert (checked.symmetric, checked.normalizes) == (one.symmetric, one.normalizes)
        alone, behind = comparison_of(QUERY, GALLERY, one), comparison_of(QUERY, GALLERY, checked)
        keys = keys_of(alone)
        np.testing.assert_array_equal(keys, keys_of(behind))
        keys = torch.from_numpy(keys)
        assert torch.equal(alone.keys.values(keys), behind.keys.values(keys))


@pytest.mark.parametrize("out", [torch.zeros(9, 5), torch.zeros(5, 9, dtype=torch.float64)])
def test_keys_that_have_no_place_are_a_mistake_of_the_caller(out):
    pair = comparison_of(QUERY, GALLERY)
    shape, kind = tuple(out.shape), str(out.dtype).removeprefix("torch.")
    with pytest.raises(ReidError) as caught:
        CheckedDistance(Cosine(), DISTANCE).fill(pair.query, pair.gallery, out)
    assert not isinstance(caught.value, PluginError)
    expected = "expected (queries, gallery) = (5, 9) and float32: whoever calls it"
    assert f"given out of shape {shape} and type {kind}; {expected}" in str(caught.value)


def raising(error):
    def method(self, *args):
        raise error

    return method


@pytest.mark.parametrize("name", ["symmetric", "normalizes"])
@pytest.mark.parametrize("value", [1, None, np.bool_(True)])
def test_what_a_distance_says_of_itself_is_true_or_false(name, value):
    text = fault_of(lambda: distances({name: value}))
    assert f"has {name} = {value!r}; expected True or False" in text


def test_a_distance_that_does_not_say_it_is_named():
    with pytest.raises(PluginError, match=r"AttributeError: .*symmetric"):
        CheckedDistance(object(), DISTANCE)


@pytest.mark.parametrize("method", ["prepare", "fill", "values"])
def test_what_a_distance_raises_names_its_file_and_line(method):
    text = fault_of(lambda: distances({method: raising(KeyError("quality"))}))
    assert f"distance 'mine' of reid-mine 0.3 failed in '{method}': KeyError: 'quality'" in text
    assert "(test_checked_parts.py:" in text


def test_a_refusal_of_images_is_no_fault_of_the_plugin():
    with pytest.raises(ReidError, match=r"^distance 'mine': no quality$") as caught:
        distances({"prepare": raising(ValueError("no quality"))})
    assert not isinstance(caught.value, PluginError)
    assert "ValueError: odd" in fault_of(lambda: distances({"fill": raising(ValueError("odd"))}))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"prepare": lambda self, v: None}, "returned None; expected Vectors from 'prepare'"),
        ({"prepare": lambda self, v: v.rows(0, 1)}, "returned 1 image of 5 from 'prepare'"),
        ({"fill": lambda self, q, g, out: None}, "are NaN, or left them unwritten"),
        ({"fill": lambda self, q, g, out: out.add_(1)}, "are NaN, or left them unwritten"),
        ({"fill": lambda self, q, g, out: out[:, 1:].zero_()}, "or left them unwritten"),
        ({"values": lambda self, keys: keys[0]}, r"a Tensor of shape (9,); expected the distances"),
        ({"values": lambda self, keys: keys.numpy()}, "returned a ndarray; expected the distances"),
    ],
)
def test_results_of_a_distance_are_looked_at(change, text):
    assert text in fault_of(lambda: distances(change))


def test_a_key_that_is_nan_in_a_later_block_is_found():
    def fill(self, query, gallery, out):
        Cosine.fill(self, query, gallery, out)
        out[query.pids == "4"] = torch.nan

    assert "keys that are NaN" in fault_of(lambda: distances({"fill": fill}))


def test_infinite_keys_are_no_nan():
    def fill(self, query, gallery, out):
        out.copy_(torch.tensor([torch.inf, -torch.inf, *range(7)]))

    assert distances({"fill": fill}).isinf().sum() == 10


# ---- steps ------------------------------------------------------------------------------


def stepped(step, stage="features", distance=None):
    before = comparison_of(QUERY, GALLERY, distance)
    return checked_step(step, STEP, stage)(before)


def test_a_right_step_gives_what_it_gives_alone():
    def step(comparison):
        return re_ranked(comparison, k1=4, k2=2)

    alone = step(comparison_of(QUERY, GALLERY))
    behind = stepped(step, "distances", CheckedDistance(Cosine(), DISTANCE))
    np.testing.assert_array_equal(keys_of(alone, 2), keys_of(behind, 2))


def test_a_refusal_of_a_step_names_it():
    with pytest.raises(ReidError, match=r"^postprocess 'mine': k1 must be from 1 to 13") as caught:
        stepped(lambda c: re_ranked(c, k1=99), "distances")
    assert not isinstance(caught.value, PluginError)


def test_what_a_step_raises_names_its_file_and_line():
    text = fault_of(lambda: stepped(lambda comparison: comparison.querry))
    assert text.startswith("postprocess 'mine' of reid-mine 0.3 failed: AttributeError: ")
    assert "(test_checked_parts.py:" in text


def with_query(change):
    def step(comparison):
        vectors = replace(comparison.query, features=change(comparison.query.features))
        return comparison.with_vectors(vectors, comparison.gallery)

    return step


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (lambda comparison: None, "returned None; expected a Comparison"),
        (lambda comparison: comparison.query, "returned a Vectors; expected a Comparison"),
        (with_query(lambda f: f[:2]), "query features of shape (2, 4); expected (5, D)"),
        (with_query(lambda f: f[:, 0]), "query features of shape (5,); expected (5, D)"),
        (with_query(lambda f: f[:, :3]), "query and gallery features of different sizes"),
        (with_query(lambda f: f.double()), "of torch.float64 on cpu; expected torch.float32 on"),
        (with_query(lambda f: f / 0), "query features that are NaN or infinite"),
        (
            lambda c: c.with_keys(c.keys),
            "changed distances; its component has the stage 'features'",
        ),
    ],
)
def test_results_of_a_step_are_looked_at(step, text):
    assert text in fault_of(lambda: stepped(step))


class Keys:
    """The keys that were there, but for what is given."""

    def __init__(self, keys, **changes):
        self.fill, self.values = keys.fill, keys.values
        vars(self).update(changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"fill": lambda start, stop, out: out.fill_(torch.nan)}, "gave keys that are NaN"),
        ({"fill": lambda start, stop, out: 1 / 0}, "failed when it gave keys: ZeroDivisionError"),
        ({"values": lambda keys: 1 / 0}, "failed when it gave the distances of keys: ZeroDiv"),
        ({"values": lambda keys: keys.sum()}, "returned a Tensor of shape (); expected"),
    ],
)
def test_keys_of_a_step_are_looked_at_when_they_are_made(changes, text):
    found = stepped(lambda c: c.with_keys(Keys(c.keys, **changes)), "distances")
    assert text in fault_of(lambda: found.keys.values(torch.from_numpy(keys_of(found))))


def test_keys_that_a_step_leaves_as_they_are_stay_whose_they_were():
    before = comparison_of(QUERY, GALLERY, SquaredEuclidean())
    altered = before.with_keys(before.keys)
    assert checked_step(lambda c: c, STEP, "distances")(altered).altered is altered.altered
