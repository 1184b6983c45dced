"""The ranking against a brute force that shares no code with it, and published vectors."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from reid_evaluate.measures import (
    JUNK,
    MATCH,
    WRONG,
    average_precision,
    average_precision_trapezoid,
    cmc,
    inverse_negative_penalty,
    match_ranks,
)
from reid_evaluate.ranking import ImageSet, rank_queries

RULES = ("cross_camera", "exclude_self", "none")
DISTANCES = ("cosine", "euclidean", "squared_euclidean")
CASES = 200


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


def draw_images(rng, count, split, distance):
    """Draw images as dicts; identity "solo<i>" has one image, "0" may be a distractor."""
    images = []
    for i in range(count):
        pid = rng.choice(("0", "1", "2", "3", "person x", f"solo{split}{i}"))
        images.append(
            {
                "vector": draw_vector(rng, distance),
                "pid": pid,
                "camid": rng.choice((-1, 0, 1, 2)),
                # Some names are in both splits.
                "name": f"{i}.jpg" if rng.random() < 0.5 else f"{split}/{i}.jpg",
                "junk": rng.random() < 0.15,
                "distractor": rng.random() < (0.5 if pid == "0" else 0.1),
            }
        )
    return images


def as_image_set(images):
    columns = {key: [image[key] for image in images] for key in images[0]}
    return ImageSet(
        features=np.array(columns.pop("vector"), dtype=np.float32),
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


@pytest.mark.parametrize("seed", range(CASES))
def test_ranking_equals_brute_force(seed):
    rng = random.Random(seed)
    rule, distance = RULES[seed % 3], DISTANCES[seed // 3 % 3]
    queries = draw_images(rng, rng.randint(1, 9), "query", distance)
    gallery = draw_images(rng, rng.randint(1, 40), "gallery", distance)
    got = rank_queries(
        as_image_set(queries),
        as_image_set(gallery),
        junk_rule=rule,
        distance=distance,
        top_k=rng.randint(0, 12),
        block_size=rng.randint(1, 10),
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
        np.testing.assert_allclose(got.top_distances[i], [d for d, _, _ in top], rtol=1e-6)


def test_the_cases_contain_what_they_are_meant_to():
    """Ties between matches and wrong images, and queries without a match, do occur."""
    ties = empty = 0
    for seed in range(0, CASES, 10):
        rng = random.Random(seed)
        rule, distance = RULES[seed % 3], DISTANCES[seed // 3 % 3]
        queries = draw_images(rng, rng.randint(1, 9), "query", distance)
        gallery = draw_images(rng, rng.randint(1, 40), "gallery", distance)
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
        flags = [JUNK if i in junk else MATCH if i in good else WRONG for i in order]
        return match_ranks(np.arange(5, dtype=np.float32), np.array(flags))

    assert ranks({7, 9}).tolist() == [1, 3]
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
