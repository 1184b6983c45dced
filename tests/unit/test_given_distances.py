"""Ranking by a matrix of distances: the same as by the vectors that it was made of."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.format import open_memmap

from reid_evaluate.protocols.rule_data import ColumnRule
from reid_evaluate.ranking.given_distances import keyed_by
from reid_evaluate.ranking.images import ImageSet
from reid_evaluate.ranking.keys import compare
from reid_evaluate.ranking.rank_queries import rank_queries

QUERIES, GALLERY = 11, 30


def images(split, count):
    rng = np.random.default_rng(len(split))
    return ImageSet(
        features=rng.standard_normal((count, 5)).astype(np.float32),
        pids=rng.integers(0, 4, count).astype(np.str_),
        camids=rng.integers(0, 3, count),
        names=np.array([f"{split}/{i}" for i in range(count)]),
        junk=rng.random(count) < 0.1,
        distractor=rng.random(count) < 0.1,
    )


QUERY, OTHERS = images("query", QUERIES), images("gallery", GALLERY)


def distances():
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (QUERY.features, OTHERS.features)]
    return (1 - unit[0] @ unit[1].T).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block_size", [4, 1000])
def test_the_ranking_is_that_of_the_vectors(dtype, block_size):
    keyed = keyed_by(distances().astype(dtype), QUERY, OTHERS)
    found = rank_queries(keyed, block_size=block_size)
    expected = rank_queries(compare(QUERY, OTHERS))
    for name in ("ap", "ap_trapezoid", "inp", "first_rank", "num_matches", "top_indices"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), err_msg=name)
    np.testing.assert_allclose(found.top_distances, expected.top_distances, atol=1e-6)
    assert not found.copies.any()


def test_a_tensor_and_a_file_are_ranked_as_they_lie(tmp_path):
    matrix = distances()
    on_disk = open_memmap(tmp_path / "d.npy", "w+", np.float32, matrix.shape)
    on_disk[:] = matrix
    on_disk.flush()
    read_only = np.load(tmp_path / "d.npy", mmap_mode="r")
    whole = rank_queries(keyed_by(matrix, QUERY, OTHERS)).ap
    for other in (torch.from_numpy(matrix), read_only):
        np.testing.assert_array_equal(rank_queries(keyed_by(other, QUERY, OTHERS)).ap, whole)
    np.testing.assert_array_equal(matrix, distances())


def test_only_the_rows_of_a_block_are_read():
    class Rows:
        """A matrix that remembers which rows were taken."""

        dtype, shape = np.dtype(np.float32), (QUERIES, GALLERY)

        def __init__(self):
            self.taken = []

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("the whole matrix has been read")

        def __getitem__(self, rows):
            self.taken.append((rows.start, rows.stop))
            return distances()[rows]

    rows = Rows()
    rank_queries(keyed_by(rows, QUERY, OTHERS), block_size=4)
    assert rows.taken == [(0, 4), (4, 8), (8, 11)]


def test_junk_rules_by_columns_hold_for_a_matrix_too():
    rng = np.random.default_rng(3)
    sides = [
        replace(s, columns={"clothes": rng.choice(["red", "blue"], len(s.pids))})
        for s in (QUERY, OTHERS)
    ]
    rule = ColumnRule(same=("camid", "clothes"))
    found = rank_queries(keyed_by(distances(), *sides), junk_rule=rule)
    expected = rank_queries(compare(*sides), junk_rule=rule)
    np.testing.assert_array_equal(found.first_rank, expected.first_rank)
    assert 0 < expected.num_matches.sum() < rank_queries(compare(*sides)).num_matches.sum()


def test_a_column_of_one_side_alone_is_refused_by_name():
    clothes = replace(
        OTHERS, columns={"clothes": np.zeros(GALLERY, int), "time": np.zeros(GALLERY, int)}
    )
    one = replace(QUERY, columns={"time": np.zeros(QUERIES, int)})
    with pytest.raises(ValueError, match=r"^query has no column 'clothes', which gallery has \(it"):
        compare(one, clothes)
    with pytest.raises(ValueError, match=r"^gallery has no column 'time', .* \(it has: none\)$"):
        compare(one, OTHERS)


@pytest.mark.parametrize(
    ("matrix", "text"),
    [
        (np.zeros((QUERIES, GALLERY), int), r"matrix of floats, got int64 of shape \(11, 30\)"),
        (np.zeros(GALLERY), r"matrix of floats, got float64 of shape \(30,\)"),
        (torch.zeros(2, 2, dtype=torch.int64), r"matrix of floats, got torch.int64"),
        (np.zeros((GALLERY, QUERIES)), "must be 11 x 30, for as many queries .*, got 30 x 11"),
    ],
)
def test_what_is_no_matrix_of_these_images_is_refused(matrix, text):
    with pytest.raises(ValueError, match=text):
        keyed_by(matrix, QUERY, OTHERS)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_number_that_is_not_finite_names_its_row(value):
    matrix = distances().astype(np.float64)
    matrix[7, 3] = value
    with pytest.raises(ValueError, match=r"finite in float32; .* is row 7 \(counted from 0\)"):
        rank_queries(keyed_by(matrix, QUERY, OTHERS), block_size=4)


def test_labels_are_checked():
    with pytest.raises(ValueError, match="gallery names has 2 entries for 30 images"):
        keyed_by(distances(), QUERY, replace(OTHERS, names=np.array(["a", "b"])))
    with pytest.raises(ValueError, match="the query split has no images"):
        keyed_by(np.zeros((0, GALLERY)), replace(QUERY, pids=np.array([])), OTHERS)
    odd = replace(OTHERS, columns={"weight": np.zeros(GALLERY)})
    with pytest.raises(
        ValueError, match="gallery column 'weight' must be whole numbers or strings"
    ):
        keyed_by(distances(), QUERY, odd)


def test_the_example_of_the_guide_ranks(tmp_path, monkeypatch, capsys):
    guide = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
    (example,) = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(guide), "exec"), {})
    assert capsys.readouterr().out == "1.0 1.0\n"
