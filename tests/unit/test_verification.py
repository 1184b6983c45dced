"""Error rates of thresholds: what is kept while blocks pass, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reid_evaluate.ranking.identification import detection_identification_rate
from reid_evaluate.ranking.rank_queries import Block
from reid_evaluate.ranking.verification import BINS, Verification


def blocks(keys, same, block_size):
    """Cut rows of keys into sorted blocks; ``same`` are the keys of matches by row."""
    for start in range(0, len(keys), block_size):
        rows = range(start, min(start + block_size, len(keys)))
        query = np.repeat(rows, [len(same[i]) for i in rows])
        found = torch.tensor([key for i in rows for key in sorted(same[i])], dtype=torch.float32)
        wrong = torch.from_numpy(np.sort(keys[rows.start : rows.stop], axis=1))
        counts = torch.zeros(len(query), 1, dtype=torch.int64).numpy()
        yield Block(start, (query, query, found), [wrong], counts, ())


@pytest.mark.parametrize("drift", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("block_size", [1, 7, 50])
def test_rates_equal_those_of_all_keys_at_once(drift, block_size):
    """Also when later blocks hold much smaller or larger keys than the first."""
    rng = np.random.default_rng(0)
    keys = rng.normal(3, 1, (50, 400)).astype(np.float32)
    keys += drift * np.linspace(0, 3, 50, dtype=np.float32)[:, None]
    same = [rng.normal(1, 1, rng.integers(0, 4)).tolist() for _ in range(50)]
    watch = Verification(keys.size, (0.001, 0.01, 0.2))
    for block in blocks(keys, same, block_size):
        watch.see(block)
    everything = np.sort(keys.ravel())
    positive = np.array([key for row in same for key in row], dtype=np.float32)
    for rate, (tpr, limit) in watch.rates().items():
        assert limit == everything[int(rate * keys.size)]
        assert tpr == (positive < limit).mean()
    edges, counts = watch.histogram()
    assert len(edges) == BINS + 1
    assert counts.sum(axis=1).tolist() == [len(positive), keys.size]
    inner = np.histogram(keys, bins=np.concatenate([[-np.inf], edges[1:-1], [np.inf]]))[0]
    assert np.abs(np.cumsum(inner) - np.cumsum(counts[1])).max() <= 2  # keys on an edge


def test_few_keys_are_kept():
    rng = np.random.default_rng(0)
    keys = rng.random((200, 1000)).astype(np.float32)
    watch = Verification(keys.size, (0.001,))
    most = 0
    for block in blocks(keys, [[] for _ in range(200)], 10):
        watch.see(block)
        most = max(most, sum(len(part) for part in watch._wrong))
    assert most <= 2 * 0.001 * keys.size + 10 * 25


@pytest.mark.parametrize("rates", [(), (0.0,), (1.0,), (-0.1, 0.5)])
def test_rates_out_of_range_are_refused(rates):
    with pytest.raises(ValueError, match="false positive rates must be between 0 and 1"):
        Verification(10, rates)


def test_identification_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="arrays of different lengths: 1, 2, 1"):
        detection_identification_rate([1], [0.1, 0.2], [0.3], [0.1])
    with pytest.raises(ValueError, match="false alarm rates must be between 0 and 1"):
        detection_identification_rate([1], [0.1], [0.3], [1.5])


def test_identification_without_a_known_person_is_not_a_number():
    assert np.isnan(detection_identification_rate([0], [np.inf], [0.3], [0.1])[0.1])
