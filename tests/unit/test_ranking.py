"""Properties of the ranking that hold for any input, and its error messages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reid_evaluate.distances.distance_matrix import Cosine, Euclidean, SquaredEuclidean
from reid_evaluate.distances.smallest import smallest
from reid_evaluate.protocols.junk_rules import JUNK, MATCH, WRONG
from reid_evaluate.ranking.ap_and_cmc import (
    average_precision,
    average_precision_trapezoid,
    cmc,
    inverse_negative_penalty,
)
from reid_evaluate.ranking.images import ImageSet
from reid_evaluate.ranking.keys import compare, key_blocks
from reid_evaluate.ranking.rank_queries import rank_queries

SCORES = ("ap", "ap_trapezoid", "inp", "first_rank", "num_matches", "copies")
DISTANCES = {
    "cosine": Cosine(),
    "euclidean": Euclidean(),
    "squared_euclidean": SquaredEuclidean(),
}
RULES = ("cross_camera", "exclude_self", "none")

unhurried = settings(deadline=None)  # a busy machine must not fail a property


def image_set(features, pids, camids=None, **columns):
    count = len(features)
    columns = {
        "names": np.array([f"{i}.jpg" for i in range(count)]),
        "junk": np.zeros(count, dtype=bool),
        "distractor": np.zeros(count, dtype=bool),
        **columns,
    }
    return ImageSet(
        np.asarray(features),
        np.asarray(pids),
        np.arange(count) if camids is None else np.asarray(camids),
        **columns,
    )


@st.composite
def image_sets(draw, size=3, max_count=12):
    """Draw images with small integer features, so that distances are exact and ties real."""
    count = draw(st.integers(1, max_count))
    return image_set(
        draw(arrays(np.float32, (count, size), elements=st.integers(-3, 3))),
        draw(arrays("<U1", count, elements=st.sampled_from("abc"))),
        draw(arrays(np.int64, count, elements=st.integers(-1, 2))),
        junk=draw(arrays(np.bool_, count, elements=st.booleans())),
        distractor=draw(arrays(np.bool_, count, elements=st.booleans())),
    )


def subset(images, index):
    return ImageSet(
        **{
            name: {key: array[index] for key, array in values.items()}
            if isinstance(values, dict)
            else values[index]
            for name, values in vars(images).items()
        }
    )


def rank(query, gallery, distance="cosine", **options):
    return rank_queries(compare(query, gallery, distance=DISTANCES[distance]), **options)


def keys_of(query, gallery, distance, block_size):
    compared = compare(query, gallery, distance=DISTANCES[distance])
    return np.concatenate([keys.numpy().copy() for _, keys in key_blocks(compared, block_size)])


def assert_same_scores(one, other):
    for name in SCORES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def euclidean(query, gallery, rule="cross_camera", **options):
    return rank(query, gallery, "squared_euclidean", junk_rule=rule, **options)


# ---- properties -------------------------------------------------------------------------


@unhurried
@given(image_sets(), image_sets(), st.sampled_from(RULES))
def test_scores_lie_in_their_ranges(query, gallery, rule):
    got = euclidean(query, gallery, rule)
    for name in ("ap", "ap_trapezoid", "inp"):
        assert (getattr(got, name) >= 0).all()
        assert (getattr(got, name) <= 1).all()
    assert ((got.first_rank > 0) == (got.num_matches > 0)).all()
    assert ((got.ap > 0) == (got.num_matches > 0)).all()
    assert (got.first_rank <= len(gallery.pids)).all()


@unhurried
@given(image_sets(), image_sets())
def test_cmc_never_falls_and_ends_at_1(query, gallery):
    first_rank = euclidean(query, gallery).first_rank
    found = first_rank[first_rank > 0]
    assume(len(found))
    curve = cmc(found, len(gallery.pids))
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1


@unhurried
@given(image_sets(), image_sets(), st.sampled_from(RULES))
def test_trapezoid_is_never_above_standard(query, gallery, rule):
    got = euclidean(query, gallery, rule)
    assert (got.ap_trapezoid <= got.ap + 1e-12).all()


@unhurried
@given(st.sets(st.integers(1, 500), min_size=1, max_size=30))
def test_trapezoid_equals_standard_only_when_perfect(ranks):
    ranks = sorted(ranks)
    perfect = ranks == list(range(1, len(ranks) + 1))
    difference = average_precision(ranks) - average_precision_trapezoid(ranks)
    assert difference == 0 if perfect else difference > 0
    assert (average_precision(ranks) == 1) == perfect
    assert (inverse_negative_penalty(ranks) == 1) == perfect


@unhurried
@given(st.lists(st.integers(0, 4), min_size=2, max_size=12))
def test_a_perfect_ranking_scores_1(labels):
    images = image_set(np.eye(5)[labels], [str(label) for label in labels])
    got = rank(images, images, junk_rule="exclude_self")
    valid = got.num_matches > 0
    for name in ("ap", "ap_trapezoid", "inp", "first_rank"):
        assert (getattr(got, name)[valid] == 1).all()


@unhurried
@given(image_sets(), image_sets(), st.sampled_from(RULES), st.randoms())
def test_the_order_of_the_gallery_does_not_matter(query, gallery, rule, random):
    order = list(range(len(gallery.pids)))
    random.shuffle(order)
    assert_same_scores(
        euclidean(query, gallery, rule), euclidean(query, subset(gallery, order), rule)
    )


@unhurried
@given(image_sets(), image_sets(), st.sampled_from(RULES), st.integers(1, 100))
def test_the_scale_of_all_features_does_not_matter(query, gallery, rule, scale):
    def scaled(images):
        return replace(images, features=images.features * np.float32(scale))

    for distance in ("euclidean", "squared_euclidean"):
        assert_same_scores(
            rank(query, gallery, junk_rule=rule, distance=distance),
            rank(scaled(query), scaled(gallery), junk_rule=rule, distance=distance),
        )


@unhurried
@given(image_sets(), image_sets(), st.integers(0, 1000))
def test_the_length_of_a_feature_does_not_matter_to_the_cosine(query, gallery, seed):
    """Without ties: rounding may part vectors of one direction and different lengths."""
    rng = np.random.default_rng(seed)
    query, gallery = (
        replace(images, features=rng.standard_normal((len(images.pids), 20)).astype(np.float32))
        for images in (query, gallery)
    )
    factors = rng.uniform(1e-3, 1e3, (len(gallery.pids), 1)).astype(np.float32)
    longer = replace(gallery, features=gallery.features * factors)
    assert_same_scores(rank(query, gallery), rank(query, longer))


@unhurried
@given(image_sets(), image_sets(), st.sampled_from(RULES), st.integers(1, 13))
def test_the_block_size_does_not_matter(query, gallery, rule, block_size):
    one = euclidean(query, gallery, rule, block_size=100)
    other = euclidean(query, gallery, rule, block_size=block_size)
    for name, values in vars(one).items():
        np.testing.assert_array_equal(values, getattr(other, name), err_msg=name)


@unhurried
@given(image_sets(max_count=1), image_sets())
def test_images_of_the_same_person_and_camera_never_matter(query, gallery):
    same = (gallery.pids == query.pids[0]) & (gallery.camids == query.camids[0])
    same &= ~gallery.distractor
    assume(not same.all())
    assert_same_scores(euclidean(query, gallery), euclidean(query, subset(gallery, ~same)))


@unhurried
@given(image_sets(), image_sets())
def test_a_growing_function_of_the_distance_does_not_matter(query, gallery):
    assert_same_scores(
        rank(query, gallery, distance="euclidean"),
        rank(query, gallery, distance="squared_euclidean"),
    )


# ---- ties and junk by hand --------------------------------------------------------------


def test_a_model_with_one_feature_for_all_images_ranks_matches_last():
    gallery = image_set(np.ones((10, 4)), ["a"] * 2 + ["b"] * 8)
    got = rank(image_set(np.ones((1, 4)), ["a"], [99]), gallery)
    assert got.first_rank.tolist() == [9]
    assert got.ap[0] == pytest.approx((1 / 9 + 2 / 10) / 2)


@pytest.mark.parametrize("count", [7, 203, 2006])
@pytest.mark.parametrize("block_size", [1, 3, 31, 64])
def test_twins_tie_wherever_they_stand(count, block_size):
    """Equal images have the same key, bit by bit; a zero may have a sign."""
    rng = np.random.default_rng(0)
    query = rng.standard_normal((70, 256)).astype(np.float32)
    rows = rng.standard_normal((count, 256)).astype(np.float32)
    rows[count // 2 :] = rows[: count - count // 2][::-1]
    rows[0, 0], rows[-1, 0] = 0.0, -0.0
    gallery = image_set(rows, ["a"] * count)
    for distance in DISTANCES:
        keys = keys_of(image_set(query, ["a"] * 70), gallery, distance, block_size)
        half = keys[:, : count - count // 2]
        np.testing.assert_array_equal(keys[:, count // 2 :], half[:, ::-1])


def test_twins_with_other_aux_values_are_no_twins():
    """A distance may read them."""

    class Offset(Cosine):
        def fill(self, query, gallery, out):
            super().fill(query, gallery, out)
            out += gallery.aux["offset"]

    gallery = image_set(np.ones((3, 2)), ["a"] * 3)
    gallery = replace(gallery, aux={"offset": np.array([0.5, 0.25, 0.5])})
    query = replace(image_set(np.ones((1, 2)), ["a"]), aux={"offset": np.zeros(1)})
    compared = compare(query, gallery, distance=Offset())
    ((_, keys),) = key_blocks(compared, 8)
    np.testing.assert_allclose(keys[0], [-0.5, -0.75, -0.5], atol=1e-6)


@pytest.mark.parametrize("count", [5, 64, 900, 20000])
@pytest.mark.parametrize("k", [1, 5, 64])
def test_the_smallest_are_those_of_a_stable_sort(count, k):
    """Few different numbers: ties within, and at the end of, the smallest."""
    k = min(k, count)
    rng = np.random.default_rng(count + k)
    keys = rng.integers(0, max(2, count // 3), (20, count)).astype(np.float32)
    found, columns = smallest(torch.from_numpy(keys), k)
    order = np.argsort(keys, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(columns, order)
    np.testing.assert_array_equal(found, np.take_along_axis(keys, order, axis=1))


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean"])
def test_the_distance_of_an_image_to_itself_is_not_negative(distance):
    """Rounding takes the square below 0, and its root would be NaN."""
    rows = np.random.default_rng(0).standard_normal((50, 64)) * 30
    images = image_set(rows, [str(i) for i in range(50)])
    got = rank(images, images, distance=distance, top_k=1)
    assert got.top_indices[:, 0].tolist() == list(range(50))
    assert (got.top_distances >= 0).all()
    assert (got.top_distances < 1).all()  # the vectors are about 240 long


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "squared_euclidean"])
@pytest.mark.parametrize("scale", [1e-3, 1, 1e3])
def test_copies_are_counted_although_rounding_moves_them(distance, scale):
    """Of these vectors, few have the distance 0 to themselves in float32."""
    rng = np.random.default_rng(0)
    rows = np.maximum(rng.standard_normal((60, 512)), 0).astype(np.float32) * np.float32(scale)
    near = rows * rng.uniform(0.98, 1.02, rows.shape)
    query = image_set(rows, [str(i) for i in range(60)])
    gallery = image_set(
        np.concatenate([rows, near]),
        [str(i % 60) for i in range(120)],
        names=np.array([f"copy/{i}" for i in range(120)]),
        junk=np.arange(120) < 10,
    )
    got = rank(query, gallery, junk_rule="exclude_self", distance=distance)
    assert got.copies.tolist() == [False] * 10 + [True] * 50


def test_rules_for_junk():
    query = image_set([[0.0]], ["a"], [1], names=np.array(["me.jpg"]))
    gallery = image_set(
        np.zeros((7, 1)),
        ["a", "a", "a", "b", "a", "a", "b"],
        [1, 2, -1, 1, 2, 2, 2],
        names=np.array(["1", "2", "3", "4", "5", "6", "me.jpg"]),
        junk=np.arange(7) == 4,
        distractor=np.arange(7) == 5,
    )

    def flags(rule, query=query):
        got = rank(query, gallery, junk_rule=rule, top_k=7)
        order = np.argsort(got.top_indices[0])
        return got.top_flags[0][order].tolist()

    assert flags("cross_camera") == [JUNK, MATCH, JUNK, WRONG, JUNK, WRONG, WRONG]
    assert flags("exclude_self") == [MATCH, MATCH, MATCH, WRONG, JUNK, WRONG, JUNK]
    assert flags("none") == [MATCH, MATCH, MATCH, WRONG, JUNK, WRONG, WRONG]
    nowhere = replace(query, camids=np.array([-1]))
    assert flags("cross_camera", nowhere) == [JUNK, JUNK, JUNK, WRONG, JUNK, WRONG, WRONG]


def test_the_top_is_cut_to_the_gallery_and_may_be_empty():
    images = image_set(np.eye(3), ["a", "b", "a"])
    assert rank(images, images, top_k=10).top_indices.shape == (3, 3)
    empty = rank(images, images, top_k=0)
    assert empty.top_indices.shape == empty.top_flags.shape == empty.top_distances.shape == (3, 0)


def test_a_query_without_a_match_has_zeros():
    got = rank(image_set([[1.0]], ["x"]), image_set([[1.0]], ["y"]))
    assert [getattr(got, name).tolist() for name in SCORES] == [
        [0.0],
        [0.0],
        [0.0],
        [0],
        [0],
        [False],
    ]
    assert average_precision([]) == average_precision_trapezoid([]) == 0
    assert inverse_negative_penalty([]) == 0
    assert got.nearest_match.tolist() == [np.inf]


def test_zero_tiny_and_huge_vectors_are_normalized():
    rows = np.array([[0, 0], [3e-40, 4e-40], [3e38, 3e38], [-2, 0]], dtype=np.float32)
    gallery = image_set(rows, ["a"] * 4)
    half = np.sqrt(0.5)
    keys = keys_of(image_set([[1e-40, 0.0]], ["a"]), gallery, "cosine", 4)
    np.testing.assert_allclose(keys, [[0, -0.6, -half, 1]], rtol=1e-4, atol=1e-12)


def test_keys_that_are_no_numbers_are_refused():
    class Broken(Cosine):
        def fill(self, query, gallery, out):
            super().fill(query, gallery, out)
            out[:, 1] = torch.nan

    query, gallery = image_set(np.eye(3), ["a", "b", "c"]), image_set(np.eye(3), ["a", "x", "y"])
    with pytest.raises(ValueError, match=r"values that are not numbers \(NaN\)"):
        rank_queries(compare(query, gallery, distance=Broken()), junk_rule="none")
    with pytest.raises(ValueError, match="values that are not finite"):
        rank_queries(compare(query, query, distance=Broken()), junk_rule="none")


# ---- error messages ---------------------------------------------------------------------

GOOD = image_set(np.eye(3), ["a", "b", "c"])


@pytest.mark.parametrize("split", ["query", "gallery"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros((0, 3))}, "the {split} split has no images"),
        (
            {"features": np.array([[0, 0, 0], [0, np.nan, 0], [np.inf, 0, 0]])},
            "{split} features: 2 of 3 rows are NaN or infinite in float32; "
            "the first is row 1 (counted from 0)",
        ),
        (
            {"features": np.array([[0, 0, 0], [0, 0, 0], [1e300, 0, 0]])},
            "{split} features: 1 of 3 rows are NaN or infinite in float32; "
            "the first is row 2 (counted from 0)",
        ),
        ({"features": np.zeros(3)}, "{split} features must be (N, D) with D >= 1, got (3,)"),
        (
            {"features": np.zeros((3, 0))},
            "{split} features must be (N, D) with D >= 1, got (3, 0)",
        ),
        ({"pids": np.array(["a"])}, "{split} pids has 1 entries for 3 images"),
        ({"junk": np.zeros(4, dtype=bool)}, "{split} junk has 4 entries for 3 images"),
    ],
)
def test_bad_split(split, change, message):
    splits = {"query": GOOD, "gallery": GOOD, split: replace(GOOD, **change)}
    with pytest.raises(ValueError) as caught:
        compare(**splits)
    assert str(caught.value) == message.format(split=split)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"junk_rule": "x"}, "unknown junk rule 'x' (known: cross_camera, exclude_self, none)"),
        ({"top_k": -1}, "top_k must be 0 or larger, got -1"),
        ({"block_size": 0}, "block_size must be 1 or larger, got 0"),
    ],
)
def test_bad_option(options, message):
    with pytest.raises(ValueError) as caught:
        rank(GOOD, GOOD, **options)
    assert str(caught.value) == message


def test_features_of_different_sizes():
    with pytest.raises(ValueError, match=r"query features have 3 columns, gallery features 2$"):
        rank(GOOD, replace(GOOD, features=np.zeros((3, 2))))


def test_features_too_large_for_squares():
    huge = replace(GOOD, features=np.full((3, 3), 1e19))
    with pytest.raises(ValueError, match="too large for float32 Euclidean distances"):
        rank(huge, GOOD, distance="euclidean")
    assert rank(huge, GOOD, distance="cosine").ap.shape == (3,)


def test_cmc_needs_a_query_and_a_rank():
    with pytest.raises(ValueError, match="no query to take the CMC of"):
        cmc([], 5)
    with pytest.raises(ValueError, match="max_rank must be 1 or larger, got 0"):
        cmc([1], 0)
