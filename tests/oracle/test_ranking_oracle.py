"""All metrics against a brute force that shares no code with them, and published vectors.

Every case runs on numpy arrays, torch tensors and, where there is one, a GPU.
"""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from reid_evaluate.distances.distance_matrix import Cosine, Euclidean, SquaredEuclidean
from reid_evaluate.protocols.junk_rules import JUNK, MATCH, WRONG
from reid_evaluate.ranking.ap_and_cmc import (
    average_precision,
    average_precision_trapezoid,
    cmc,
    inverse_negative_penalty,
)
from reid_evaluate.ranking.camera_pairs import CameraPairs
from reid_evaluate.ranking.identification import detection_identification_rate
from reid_evaluate.ranking.images import ImageSet
from reid_evaluate.ranking.keys import compare
from reid_evaluate.ranking.rank_queries import rank_queries
from reid_evaluate.ranking.verification import Verification

RULES = ("cross_camera", "exclude_self", "none")
DISTANCES = {
    "cosine": Cosine(),
    "euclidean": Euclidean(),
    "squared_euclidean": SquaredEuclidean(),
}
RATES = (0.01, 0.1, 0.5)
CASES = 500
PLACES = ("numpy", "cpu", *(["cuda"] if torch.cuda.is_available() else []))


# ---- random cases -----------------------------------------------------------------------


def draw_vector(rng, distance):
    """Draw a vector whose distances are exact in float32, so that ties are real.

    For the cosine the norm is a power of two times an integer: 1, 4 or 16 entries of one
    size in 16 places, or none.
    """
    if distance != "cosine":
        return [rng.randint(-2, 2) for _ in range(3)]
    vector = [0] * 16
    size = rng.choice((1, 2, 4))
    for place in rng.sample(range(16), rng.choice((0, 1, 4, 4, 16))):
        vector[place] = rng.choice((-size, size))
    return vector


def draw_case(seed):
    """Draw a rule, a distance and two sets of images; in some cases no camera is known."""
    rng = random.Random(seed)
    rule, distance = RULES[seed % 3], list(DISTANCES)[seed // 3 % 3]
    cameras = (-1,) if seed % 7 == 0 else (-1, 0, 1, 2)
    queries = draw_images(rng, rng.randint(1, 9), "query", distance, cameras)
    gallery = draw_images(rng, rng.randint(1, 40), "gallery", distance, cameras)
    return rng, rule, distance, queries, gallery


def draw_images(rng, count, split, distance, cameras):
    """Draw images as dicts; identity "solo<i>" has one image, "0" may be a distractor."""
    images = []
    for i in range(count):
        pid = rng.choice(("0", "1", "2", "3", "person x", f"solo{split}{i}"))
        images.append(
            {
                "vector": draw_vector(rng, distance),
                "pid": pid,
                "camid": rng.choice(cameras),
                # Some names are in both splits.
                "name": f"{i}.jpg" if rng.random() < 0.5 else f"{split}/{i}.jpg",
                "junk": rng.random() < 0.15,
                "distractor": rng.random() < (0.5 if pid == "0" else 0.1),
            }
        )
    return images


def as_image_set(images, place):
    columns = {key: [image[key] for image in images] for key in images[0]}
    vectors = np.array(columns.pop("vector"), dtype=np.float32)
    return ImageSet(
        features=vectors if place == "numpy" else torch.from_numpy(vectors).to(place),
        pids=np.array(columns.pop("pid")),
        camids=np.array(columns.pop("camid")),
        names=np.array(columns.pop("name")),
        **{key: np.array(values) for key, values in columns.items()},
    )


# ---- brute force ------------------------------------------------------------------------


def distance_between(a, b, distance):
    if distance == "cosine":
        norms = [math.sqrt(sum(x * x for x in v)) or 1.0 for v in (a, b)]
        return 1.0 - sum((x / norms[0]) * (y / norms[1]) for x, y in zip(a, b, strict=True))
    squared = sum((x - y) ** 2 for x, y in zip(a, b, strict=True))
    return math.sqrt(squared) if distance == "euclidean" else float(squared)


def kind_of(query, image, rule):
    """Return what a gallery image is to a query."""
    if image["junk"]:
        return "junk"
    if rule == "exclude_self" and image["name"] == query["name"]:
        return "junk"
    if image["distractor"] or image["pid"] != query["pid"]:
        return "wrong"
    if rule == "cross_camera":
        known = image["camid"] != -1 and query["camid"] != -1
        return "match" if known and image["camid"] != query["camid"] else "junk"
    return "match"


def brute_force(query, gallery, rule, distance):
    """Walk down the sorted list of one query, as the published evaluation codes do."""
    ranked = []
    for image in gallery:
        kind = kind_of(query, image, rule)
        if kind != "junk":
            far = distance_between(query["vector"], image["vector"], distance)
            ranked.append((far, kind == "match"))  # False sorts first: the tie rule
    ranked.sort()
    hits = [is_match for _, is_match in ranked]
    total = sum(hits)
    result = dict.fromkeys(("ap", "ap_trapezoid", "inp"), 0.0)
    result |= {"first_rank": 0, "num_matches": total}
    found, recall, precision = 0, 0.0, 1.0
    for place, hit in enumerate(hits, start=1):
        old_recall, old_precision = recall, precision
        found += hit
        if total:
            recall, precision = found / total, found / place
            result["ap_trapezoid"] += (recall - old_recall) * (old_precision + precision) / 2
        if hit:
            result["ap"] += precision / total
            result["inp"] = total / place
            result["first_rank"] = result["first_rank"] or place
    return result


def pairs_of(queries, gallery, rule, distance):
    """Return distances of pairs of one person and of two, and each query's nearest of both."""
    same, different, nearest = [], [], []
    for query in queries:
        match, wrong = [], []
        for image in gallery:
            far = distance_between(query["vector"], image["vector"], distance)
            kind = kind_of(query, image, rule)
            if kind == "match":
                match.append(far)
            elif kind == "wrong":
                wrong.append(far)
        same += match
        different += wrong
        nearest.append((min(match, default=math.inf), min(wrong, default=math.inf)))
    return same, different, nearest


def accepted(candidates, rate):
    """Return the largest set of candidates, all up to some distance, that the rate allows.

    What is returned is the first distance that is refused.
    """
    for limit in [*sorted(set(candidates), reverse=True), -math.inf]:
        if sum(c <= limit for c in candidates) <= rate * len(candidates):
            return min((c for c in candidates if c > limit), default=math.inf)
    raise AssertionError


@pytest.mark.parametrize("seed", range(CASES))
@pytest.mark.parametrize("place", PLACES)
def test_all_metrics_equal_brute_force(seed, place):
    rng, rule, distance, queries, gallery = draw_case(seed)
    one, other = as_image_set(queries, place), as_image_set(gallery, place)
    verification = Verification(len(queries) * len(gallery), RATES)
    cameras = CameraPairs(one.camids, other.camids)
    split = rng.random() < 0.5
    got = rank_queries(
        compare(one, other, distance=DISTANCES[distance]),
        junk_rule=rule,
        top_k=rng.randint(0, 12),
        block_size=rng.randint(1, 10),
        groups=cameras.groups if split else None,
        observers=[verification, cameras] if split else [verification],
    )
    expected = [brute_force(query, gallery, rule, distance) for query in queries]
    for key in expected[0]:
        want = [row[key] for row in expected]
        np.testing.assert_allclose(getattr(got, key), want, rtol=0, atol=1e-12, err_msg=key)

    curve = cmc(got.first_rank, 12)
    for k in range(1, 13):
        within = sum(0 < row["first_rank"] <= k for row in expected)
        assert curve[k - 1] == pytest.approx(within / len(expected), abs=1e-12)

    check_top(got, queries, gallery, rule, distance)
    check_rates(got, verification, queries, gallery, rule, distance)
    if split:
        check_cameras(cameras.table(), queries, gallery, rule, distance)


def check_rates(got, verification, queries, gallery, rule, distance):
    same, different, nearest = pairs_of(queries, gallery, rule, distance)
    found = np.stack([got.nearest_match, got.nearest_wrong], axis=1)
    np.testing.assert_allclose(found, nearest, rtol=1e-6, atol=1e-6)
    open_set = detection_identification_rate(
        got.first_rank, got.nearest_match, got.nearest_wrong, RATES
    )
    for rate, (tpr, _) in verification.rates().items():
        limit = accepted(different, rate)
        want = np.mean([far < limit for far in same]) if same else math.nan
        assert tpr == pytest.approx(want, nan_ok=True)

        alarm = accepted([wrong for _, wrong in nearest], rate)
        known = [match < min(wrong, alarm) for match, wrong in nearest if match < math.inf]
        assert open_set[rate] == pytest.approx(np.mean(known) if known else math.nan, nan_ok=True)
    edges, counts = verification.histogram()
    assert counts.sum(axis=1).tolist() == [len(same), len(different)]
    assert (np.diff(edges) > 0).all()


def check_cameras(table, queries, gallery, rule, distance):
    """Rank each camera's images on their own."""
    for a, first in enumerate(table.query_cameras):
        for c, second in enumerate(table.gallery_cameras):
            part = [image for image in gallery if image["camid"] == second]
            rows = [
                brute_force(query, part, rule, distance)
                for query in queries
                if query["camid"] == first
            ]
            rows = [row for row in rows if row["num_matches"]]
            assert table.queries[a, c] == len(rows)
            if rows:
                assert table.map[a, c] == pytest.approx(np.mean([row["ap"] for row in rows]))
                hits = [row["first_rank"] == 1 for row in rows]
                assert table.rank1[a, c] == pytest.approx(np.mean(hits))
            else:
                assert np.isnan(table.map[a, c])


def check_top(got, queries, gallery, rule, distance):
    """The kept images are the nearest ones, in order, with the right flags."""
    flag = {"wrong": WRONG, "match": MATCH, "junk": JUNK}
    for i, query in enumerate(queries):
        all_of_them = [
            (distance_between(query["vector"], image["vector"], distance), image, j)
            for j, image in enumerate(gallery)
        ]
        all_of_them.sort(key=lambda row: (row[0], kind_of(query, row[1], rule) == "match", row[2]))
        top = all_of_them[: got.top_indices.shape[1]]
        assert got.top_indices[i].tolist() == [j for _, _, j in top]
        assert got.top_flags[i].tolist() == [flag[kind_of(query, im, rule)] for _, im, _ in top]
        far = [d for d, _, _ in top]
        np.testing.assert_allclose(got.top_distances[i], far, rtol=1e-6, atol=1e-6)


def test_the_cases_contain_what_they_are_meant_to():
    """Ties between matches and wrong images, and queries without a match, do occur."""
    ties = empty = 0
    for seed in range(0, CASES, 10):
        _, rule, distance, queries, gallery = draw_case(seed)
        for query in queries:
            at = {"match": set(), "wrong": set(), "junk": set()}
            for image in gallery:
                far = distance_between(query["vector"], image["vector"], distance)
                at[kind_of(query, image, rule)].add(far)
            ties += bool(at["match"] & at["wrong"])
            empty += not at["match"]
    assert ties > 10
    assert empty > 10


# ---- published vectors ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "trapezoid", "standard"),
    [
        ([0], 1.0, 1.0),
        ([1], 0.25, 0.5),
        ([0, 2], 0.791667, 0.833333),
        ([1, 3], 0.333333, 0.5),
        ([4], 0.1, 0.2),
        ([0, 1, 2], 1.0, 1.0),
        ([2, 5, 9], 0.231481, 0.322222),
        ([1, 4], 0.2875, 0.45),
    ],
)
def test_average_precision_of_hit_positions(hits, trapezoid, standard):
    """Hit positions count from 0, as in the code that the values were taken from."""
    ranks = np.array(hits) + 1
    assert average_precision_trapezoid(ranks) == pytest.approx(trapezoid, abs=5e-7)
    assert average_precision(ranks) == pytest.approx(standard, abs=5e-7)


def test_ranked_list_of_five():
    """Gallery 7 3 9 1 4 in this order; good and junk images as sets of its members."""
    order = [7, 3, 9, 1, 4]

    def ranks(good, junk=()):
        left = [i for i in order if i not in junk]
        return np.flatnonzero(np.isin(left, list(good))) + 1

    def ranking(good, junk=()):
        column = np.array([str(i) for i in order])
        query = ImageSet(np.zeros((1, 1)), *(np.array([v]) for v in ("q", 0, "q", False, False)))
        gallery = ImageSet(
            np.arange(5.0)[:, None],
            np.where(np.isin(order, list(good)), "q", "other"),
            np.ones(5),
            column,
            np.isin(order, list(junk)),
            np.zeros(5, dtype=bool),
        )
        return rank_queries(compare(query, gallery, distance=Euclidean()))

    assert ranks({7, 9}).tolist() == [1, 3]
    assert ranking({7, 9}).ap_trapezoid[0] == pytest.approx(0.791667, abs=5e-7)
    assert ranking({3, 4}).ap_trapezoid[0] == pytest.approx(0.2875)
    assert ranking({9}, junk={7}).first_rank[0] == 2
    assert ranking({9}, junk={7}).ap_trapezoid[0] == pytest.approx(0.25)
    assert average_precision_trapezoid(ranks({7, 9})) == pytest.approx(0.791667, abs=5e-7)
    assert average_precision(ranks({7, 9})) == pytest.approx(0.8333, abs=5e-5)
    assert average_precision_trapezoid(ranks({3, 4})) == pytest.approx(0.2875)
    assert average_precision(ranks({3, 4})) == pytest.approx(0.45)

    removed = ranks({9}, junk={7})
    assert removed.tolist() == [2]
    assert average_precision_trapezoid(removed) == pytest.approx(0.25)
    assert average_precision(removed) == pytest.approx(0.5)
    assert cmc(removed, 5).tolist() == [0, 1, 1, 1, 1]


def test_inverse_negative_penalty_is_matches_over_last_rank():
    assert inverse_negative_penalty([2, 5, 10]) == pytest.approx(0.3)
