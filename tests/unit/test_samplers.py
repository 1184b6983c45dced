"""Rounds, ``class_balanced``, ``random`` and ``weighted_images``: batches, epochs and ranks.

What holds for every P x K sampler is in ``test_pk_samplers.py``.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_core import ReidError
from reid_core.component import call_build
from reid_plugins.sampler import class_balanced, random_order, weighted
from reid_plugins.toolkit.rounds import shuffled_rounds
from sampler_batches import batches_of, joined


def make(module, labels, *, seed=0, rank=0, world_size=1, **params):
    component = module.reid_sampler()[-1]  # of the module weighted: weighted_images
    labels = np.asarray(labels, dtype=np.int64)
    return call_build(
        component,
        component.params.model_validate(params),
        labels=labels,
        camids=np.zeros_like(labels),
        sources=np.zeros_like(labels),
        seed=seed,
        rank=rank,
        world_size=world_size,
    )


def labels_of(sizes):
    """Return shuffled labels with the given number of images per identity."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(7).permutation(labels)


many_sizes = st.lists(st.integers(1, 9), min_size=1, max_size=12)


# ---- rounds -----------------------------------------------------------------------------


@settings(deadline=None)
@given(
    seed=st.integers(0, 99), n=st.integers(1, 12), blocks=st.integers(0, 9), block=st.integers(1, 9)
)
def test_rounds_are_even_within_each_block_and_over_all(seed, n, blocks, block):
    numbers = shuffled_rounds(np.random.default_rng(seed), n, blocks * block, block)

    assert numbers.shape == (blocks * block,)
    for end in range(block, len(numbers) + 1, block):
        for part in (numbers[end - block : end], numbers[:end]):
            counts = np.bincount(part, minlength=n)
            assert len(counts) == n
            assert counts.max() - counts.min() <= 1


def test_rounds_begin_with_every_number_equally_often():
    rng = np.random.default_rng(0)
    first = Counter(int(shuffled_rounds(rng, 5, 5, 2)[0]) for _ in range(5000))

    assert all(abs(count - 1000) < 150 for count in first.values())


# ---- class_balanced ---------------------------------------------------------------------


@settings(deadline=None)
@given(sizes=many_sizes, p=st.integers(1, 4), k=st.integers(1, 4), seed=st.integers(0, 9))
def test_identities_and_their_images_come_up_equally_often(sizes, p, k, seed):
    p = min(p, len(sizes))
    labels = labels_of(sizes)
    drawn = Counter(joined(batches_of(make(class_balanced, labels, P=p, K=k, seed=seed))))
    per_pid = Counter(labels[list(drawn.elements())].tolist())

    visits = [per_pid[pid] / k for pid in range(len(sizes))]
    assert max(visits) - min(visits) <= 1
    for pid in range(len(sizes)):
        counts = [drawn[i] for i in np.flatnonzero(labels == pid).tolist()]
        assert max(counts) - min(counts) <= 1


def test_an_epoch_of_identities_visits_each_once():
    sampler = make(class_balanced, labels_of([5] * 12), P=4, K=2, epoch="identities")
    pids = labels_of([5] * 12)[joined(batches_of(sampler))]

    assert len(sampler) == 3
    assert Counter(pids.tolist()) == dict.fromkeys(range(12), 2)


def test_market_sized_epochs_have_the_known_lengths():
    labels = np.arange(12_936) % 751

    assert len(make(class_balanced, labels, P=4, K=2, epoch="identities")) == 187
    assert len(make(class_balanced, labels, P=16, K=4)) == 202


def test_an_epoch_of_images_visits_every_identity_when_there_are_draws_enough():
    labels = labels_of([8, 8, 30, 8, 10])
    pids = labels[joined(batches_of(make(class_balanced, labels, P=2, K=4)))]

    assert set(pids.tolist()) == set(range(5))


def test_two_images_fill_four_places_evenly():
    (batch,) = batches_of(make(class_balanced, [0, 0, 1, 1], P=2, K=4))

    assert Counter(batch) == {0: 2, 1: 2, 2: 2, 3: 2}


def test_skipped_identities_are_named_in_the_error():
    with pytest.raises(ReidError) as error:
        make(class_balanced, [0, 0, 1, 2, 2], P=3, K=2, small_ids="skip")

    assert str(error.value) == (
        "sampler class_balanced: P = 3 identities per batch, but the training data has only 2 "
        "(1 of 3 have fewer than K = 2 images); lower P to 2 or less, or lower K, or "
        "choose small_ids 'repeat', or add data"
    )
    with pytest.raises(ReidError, match=r"only 0 \(3 of .* K = 9 images\); lower K, or choose"):
        make(class_balanced, [0, 0, 1, 2, 2], P=3, K=9, small_ids="skip")


def test_no_image_is_an_error():
    with pytest.raises(ReidError, match="only 0"):
        make(class_balanced, [])


def test_labels_need_not_be_consecutive():
    (batch,) = batches_of(make(class_balanced, [7, 3, 7, 3], P=2, K=2))

    assert sorted(batch) == [0, 1, 2, 3]


# ---- random -----------------------------------------------------------------------------


@settings(deadline=None)
@given(
    count=st.integers(0, 50),
    size=st.integers(1, 12),
    world_size=st.integers(1, 4),
    drop_last=st.booleans(),
)
def test_random_batches_are_a_permutation_without_the_rest(count, size, world_size, drop_last):
    size *= world_size
    rest = 0 if drop_last else count % size // world_size * world_size
    kwargs = {"batch_size": size, "drop_last": drop_last, "world_size": world_size}
    if count < size and not rest:
        with pytest.raises(ReidError, match=f"{count} training images"):
            make(random_order, np.zeros(count), **kwargs)
        return
    ranks = [make(random_order, np.zeros(count), rank=r, **kwargs) for r in range(world_size)]
    lists = [batches_of(sampler, 3) for sampler in ranks]

    for parts in zip(*lists, strict=True):
        assert len({len(part) for part in parts}) == 1
    seen = [index for batches in lists for batch in batches for index in batch]
    assert len(seen) == len(set(seen)) == count // size * size + rest
    assert all(len(sampler) == len(batches) for sampler, batches in zip(ranks, lists, strict=True))


def test_random_says_what_to_do_when_no_batch_is_full():
    with pytest.raises(ReidError) as error:
        make(random_order, np.zeros(5), batch_size=8)

    assert str(error.value) == (
        "sampler random: 5 training images do not fill one batch of 8; lower batch_size to 5 "
        "or less"
    )


def test_an_epoch_of_random_shows_every_image_once_when_batches_divide_them():
    for params in ({"batch_size": 6}, {"batch_size": 7, "drop_last": False}):
        drawn = joined(batches_of(make(random_order, np.zeros(30), **params), 1))
        assert sorted(drawn) == list(range(30))


# ---- weighted_images --------------------------------------------------------------------


@settings(deadline=None)
@given(
    sizes=many_sizes,
    share=st.integers(1, 8),
    world_size=st.integers(1, 4),
    power=st.sampled_from([0.0, 1.0, 4.0]),
    seed=st.integers(0, 9),
)
def test_weighted_images_fill_every_batch_and_ranks_cut_it(sizes, share, world_size, power, seed):
    labels, size = labels_of(sizes), share * world_size
    params = {"batch_size": size, "identity_power": power, "camera_power": power, "seed": seed}
    whole = make(weighted, labels, **params)
    ranks = [
        make(weighted, labels, rank=r, world_size=world_size, **params) for r in range(world_size)
    ]
    shares = [batches_of(rank, 3) for rank in ranks]
    batches = batches_of(whole, 3)

    # Also with fewer images than places: they are drawn with replacement.
    assert len(batches) == len(whole) == max(1, len(labels) // size)
    assert {len(rank) for rank in ranks} == {len(whole)}
    for batch, *parts in zip(batches, *shares, strict=True):
        assert len(batch) == size
        assert set(batch) <= set(range(len(labels)))
        assert {len(part) for part in parts} == {share}
        assert joined(parts) == batch


def test_every_image_of_weighted_images_comes_up_in_time():
    labels = labels_of([1, 2, 3, 9])
    sampler = make(weighted, labels, batch_size=5, camera_power=1.0)
    seen = {index for epoch in range(60) for index in joined(batches_of(sampler, epoch))}

    assert seen == set(range(15))


# ---- all three --------------------------------------------------------------------------

EACH = [
    (class_balanced, {"P": 4, "K": 2}),
    (random_order, {"batch_size": 8}),
    (weighted, {"batch_size": 8}),
]


@pytest.mark.parametrize(("module", "params"), EACH)
def test_the_order_depends_on_seed_and_epoch_alone(module, params):
    labels = labels_of([6] * 10)
    first = make(module, labels, **params)
    other = make(module, labels, **params)
    list(other)  # an epoch that was served before changes nothing

    assert batches_of(first, 4) == batches_of(other, 4)
    assert batches_of(first, 4) != batches_of(first, 5)
    assert batches_of(first, 4) != batches_of(make(module, labels, seed=1, **params), 4)


@pytest.mark.parametrize(("module", "params"), EACH)
@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_each_batch_of_a_single_process(module, params, world_size):
    labels = labels_of([6] * 10)
    whole = batches_of(make(module, labels, **params), 2)
    ranks = [
        batches_of(make(module, labels, rank=r, world_size=world_size, **params), 2)
        for r in range(world_size)
    ]

    for batch, *parts in zip(whole, *ranks, strict=True):
        assert {len(part) for part in parts} == {8 // world_size}
        assert joined(parts) == batch
        if module is class_balanced:
            pids = [set(labels[part].tolist()) for part in parts]
            assert sum(len(p) for p in pids) == len(set().union(*pids)) == 4


@pytest.mark.parametrize(
    ("module", "params", "what"),
    [
        (class_balanced, {"P": 4}, "P = 4"),
        (random_order, {"batch_size": 8}, "batch_size = 8"),
        (weighted, {"batch_size": 8}, "batch_size = 8"),
    ],
)
def test_a_batch_that_ranks_cannot_share_is_an_error(module, params, what):
    with pytest.raises(ReidError, match=f"{what} counts all processes .* such as [36]$"):
        make(module, labels_of([6] * 10), world_size=3, **params)


@pytest.mark.parametrize(("module", "params"), EACH)
def test_keys_are_plain_numbers(module, params):
    for batch in make(module, labels_of([6] * 10), **params):
        assert isinstance(batch, list)
        assert all(type(epoch) is int and type(index) is int for epoch, index in batch)
