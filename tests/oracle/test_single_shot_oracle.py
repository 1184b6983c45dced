"""The single-gallery-shot ranks against an enumeration of all galleries that can be drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from reid_evaluate.distances.distance_matrix import SquaredEuclidean
from reid_evaluate.ranking.images import ImageSet
from reid_evaluate.ranking.keys import compare
from reid_evaluate.ranking.rank_queries import rank_queries
from reid_evaluate.ranking.single_shot import single_shot_ranks


def images(positions, pids, camids, *, distractor=(), junk=(), split="g"):
    count = len(pids)
    return ImageSet(
        features=np.asarray(positions, dtype=np.float32)[:, None],
        pids=np.asarray(pids),
        camids=np.asarray(camids),
        names=np.array([f"{split}{i}" for i in range(count)]),
        junk=np.isin(np.arange(count), junk),
        distractor=np.isin(np.arange(count), distractor),
    )


QUERY = images([0, 5, 2], ["a", "b", "x"], [0, 0, 0], split="q")
GALLERY = images(
    [1, 3, 2, 6, 4, 9, 2, 0, 1],
    ["a", "a", "b", "b", "c", "c", "a", "0", "b"],
    [1, 2, 1, 1, 1, 2, 0, 3, 1],
    distractor=[7],
    junk=[8],
)


def all_galleries():
    """Every gallery with one image of each identity, and the distractor."""
    usable = [i for i in range(9) if not GALLERY.junk[i] and not GALLERY.distractor[i]]
    people = [[i for i in usable if GALLERY.pids[i] == pid] for pid in "abc"]
    return [(*shot, 7) for shot in itertools.product(*people)]


def expected_rank(query):
    """The mean rank over all galleries and all of the query's matches."""
    pid, position = QUERY.pids[query], QUERY.features[query, 0]
    far = np.abs(GALLERY.features[:, 0] - position)
    matches = [
        i for i in range(8) if GALLERY.pids[i] == pid and GALLERY.camids[i] != QUERY.camids[query]
    ]
    ranks = [
        1 + sum(far[i] <= far[match] for i in shot if GALLERY.pids[i] != pid)
        for shot in all_galleries()
        for match in matches
    ]
    return np.mean(ranks) if ranks else 0.0


@pytest.mark.parametrize("block_size", [1, 2, 10])
def test_the_mean_rank_is_that_of_all_galleries(block_size):
    compared = compare(QUERY, GALLERY, distance=SquaredEuclidean())
    ranks = single_shot_ranks(compared, draws=4000, seed=0, block_size=block_size)
    want = [expected_rank(query) for query in range(3)]
    assert want[2] == 0
    np.testing.assert_allclose(ranks.mean(axis=0), want, atol=0.05)


def test_with_one_image_each_it_is_the_ranking():
    rng = np.random.default_rng(0)
    query = images(rng.standard_normal(30), [str(i) for i in range(30)], [0] * 30, split="q")
    gallery = images(rng.standard_normal(40), [str(i) for i in range(40)], [1] * 40)
    compared = compare(query, gallery, distance=SquaredEuclidean())
    ranks = single_shot_ranks(compared, draws=3)
    np.testing.assert_array_equal(ranks, [rank_queries(compared).first_rank] * 3)


def test_draws_repeat_by_seed():
    compared = compare(QUERY, GALLERY, distance=SquaredEuclidean())
    one, again, other = (single_shot_ranks(compared, draws=20, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_no_draw_is_refused():
    with pytest.raises(ValueError, match="draws must be 1 or larger, got 0"):
        single_shot_ranks(compare(QUERY, GALLERY), draws=0)
