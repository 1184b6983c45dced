"""Every sampler with P x K batches: what a batch holds, what an epoch covers, what ranks share.

The expectations are computed from the identities' sizes by plain loops. What sets one sampler
apart from the others is in ``tests/oracle/test_samplers_oracle.py``.
"""

import sys
from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid_core import ReidError
from reid_core.component import call_build
from reid_plugins.sampler import camera_balanced, class_balanced, dataset_balanced, weighted
from reid_plugins.toolkit.pk_batches import PKParams
from sampler_batches import batches_of, joined

MODULES = (class_balanced, camera_balanced, dataset_balanced, weighted)
COMPONENTS = {
    component.name: component
    for module in MODULES
    for component in module.reid_sampler()
    if issubclass(component.params, PKParams)
}
VARIANTS = [
    *((name, {}) for name in COMPONENTS),
    ("camera_balanced", {"few_others": "own_camera"}),
    ("weighted", {"identity_power": 0.0, "camera_power": 1.0}),
]
CHANCE = ("weighted",)
"""Samplers that visit identities by chance."""


class People:
    """Training images of identities with given cameras, identity j in dataset j mod datasets."""

    def __init__(self, cameras, datasets=1):
        self.cameras, self.datasets = cameras, datasets
        labels = [(pid, camid) for pid, own in enumerate(cameras) for camid in own]
        order = np.random.default_rng(7).permutation(len(labels))
        table = np.array(labels, dtype=np.int64).reshape(-1, 2)[order]
        self.labels, self.camids = table[:, 0], table[:, 1]
        self.sources = self.labels % datasets

    def size(self, pid):
        return len(self.cameras[pid])

    def usable(self, k, small_ids, source=None):
        """Return the identities that may be drawn, of one dataset or of all."""
        return [
            pid
            for pid in range(len(self.cameras))
            if (small_ids == "repeat" or self.size(pid) >= k)
            and source in (None, pid % self.datasets)
        ]

    def sampler(self, name, *, seed=0, rank=0, world_size=1, **params):
        component = COMPONENTS[name]
        return call_build(
            component,
            component.params.model_validate(params),
            labels=self.labels,
            camids=self.camids,
            sources=self.sources,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )


many_cameras = st.lists(
    st.lists(st.integers(-1, 3), min_size=1, max_size=8), min_size=2, max_size=12
)


def cannot_serve(people, name, p, k, small_ids):
    """Say whether the sampler must refuse these people."""
    usable = people.usable(k, small_ids)
    if name == "dataset_balanced":
        share = p // people.datasets
        return any(
            len(people.usable(k, small_ids, source)) < share for source in range(people.datasets)
        )
    if name == "camera_balanced" and len(usable) >= p:
        return all(len(set(people.cameras[pid]) - {-1}) < 2 for pid in usable)
    return len(usable) < p


def expected_length(people, name, p, k, small_ids, epoch):
    usable = people.usable(k, small_ids)
    if epoch == "images":
        return max(1, sum(people.size(pid) for pid in usable) // (p * k))
    if name == "dataset_balanced":
        of_each = [people.usable(k, small_ids, source) for source in range(people.datasets)]
        return max(len(pids) // (p // people.datasets) for pids in of_each)
    return len(usable) // p


@settings(deadline=None, max_examples=200)
@given(
    variant=st.sampled_from(VARIANTS),
    cameras=many_cameras,
    datasets=st.integers(1, 2),
    share=st.integers(1, 4),
    k=st.integers(1, 5),
    epoch=st.sampled_from(["images", "identities"]),
    small_ids=st.sampled_from(["repeat", "skip"]),
    seed=st.integers(0, 9),
)
def test_every_batch_has_p_identities_with_k_images(
    variant, cameras, datasets, share, k, epoch, small_ids, seed
):
    (name, extra), people, p = variant, People(cameras, datasets), share * datasets
    params = {"P": p, "K": k, "epoch": epoch, "small_ids": small_ids, "seed": seed, **extra}
    if cannot_serve(people, name, p, k, small_ids):
        with pytest.raises(ReidError) as error:
            people.sampler(name, **params)
        assert str(error.value).startswith(f"sampler {name}: ")
        assert len(error.value.args) == 1
        return
    sampler = people.sampler(name, **params)
    may_repeat = name == "camera_balanced" and not extra
    for number in range(2):
        batches = batches_of(sampler, number)
        assert len(batches) == len(sampler)
        assert len(sampler) == expected_length(people, name, p, k, small_ids, epoch)
        for batch in batches:
            pids = people.labels[batch].reshape(p, k)
            assert (pids == pids[:, :1]).all()
            assert len(set(pids[:, 0].tolist())) == p
            assert set(pids[:, 0].tolist()) <= set(people.usable(k, small_ids))
            if name == "dataset_balanced":
                assert set(Counter((pids[:, 0] % datasets).tolist()).values()) == {share}
            for pid, images in zip(
                pids[:, 0].tolist(), np.reshape(batch, (p, k)).tolist(), strict=True
            ):
                assert may_repeat or len(set(images)) == min(k, people.size(pid))


@settings(deadline=None, max_examples=100)
@given(
    variant=st.sampled_from([v for v in VARIANTS if v[0] not in CHANCE]),
    cameras=many_cameras,
    share=st.integers(1, 3),
    k=st.integers(1, 3),
    epoch=st.sampled_from(["images", "identities"]),
)
def test_in_rounds_all_identities_of_a_dataset_come_up_equally_often(
    variant, cameras, share, k, epoch
):
    (name, extra), people = variant, People(cameras, datasets=2)
    params = {"P": 2 * share, "K": k, "epoch": epoch, **extra}
    assume(not cannot_serve(people, name, 2 * share, k, "repeat"))
    batches = batches_of(people.sampler(name, **params))
    visits = Counter(people.labels[joined(batches)].tolist())
    together = [[0, 1]] if name != "dataset_balanced" else [[0], [1]]
    for sources in together:
        pids = [pid for source in sources for pid in people.usable(k, "repeat", source)]
        times = [visits[pid] / k for pid in pids]
        draws = len(batches) * share * len(sources)
        assert sum(times) == draws
        assert max(times) - min(times) <= 1
        assert min(times) >= 1 or draws < len(pids), "every identity is visited if draws allow it"


@pytest.mark.parametrize(("name", "extra"), VARIANTS)
def test_every_identity_and_image_is_seen_within_forty_epochs(name, extra):
    people = People([[i % 3 for i in range(n)] for n in [1, 2, 3, 4, 5, 9] * 4], datasets=2)
    sampler = people.sampler(name, P=4, K=2, **extra)
    seen = set(chain.from_iterable(joined(batches_of(sampler, epoch)) for epoch in range(40)))
    assert seen == set(range(len(people.labels)))


@settings(deadline=None, max_examples=100)
@given(
    variant=st.sampled_from(VARIANTS),
    cameras=st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=5), min_size=12, max_size=16),
    world_size=st.integers(1, 3),
    k=st.integers(1, 3),
    epoch=st.integers(0, 3),
)
def test_ranks_take_equal_disjoint_parts_of_the_batch_of_a_single_process(
    variant, cameras, world_size, k, epoch
):
    (name, extra), people = variant, People(cameras, datasets=2)
    params = {"P": 2 * world_size, "K": k, **extra}
    assume(not cannot_serve(people, name, 2 * world_size, k, "repeat"))
    whole = people.sampler(name, **params)
    ranks = [
        people.sampler(name, rank=rank, world_size=world_size, **params)
        for rank in range(world_size)
    ]
    assert {len(rank) for rank in ranks} == {len(whole)}
    shares = [batches_of(rank, epoch) for rank in ranks]
    for batch, *parts in zip(batches_of(whole, epoch), *shares, strict=True):
        assert {len(part) for part in parts} == {2 * k}
        assert joined(parts) == batch
        pids = [set(people.labels[part].tolist()) for part in parts]
        assert sum(len(of_rank) for of_rank in pids) == len(set().union(*pids))


@pytest.mark.parametrize(("name", "extra"), VARIANTS)
def test_the_order_depends_on_seed_and_epoch_alone(name, extra):
    people = People([[0, 1, 2, 0]] * 10, datasets=2)
    first, other = (people.sampler(name, P=4, K=2, **extra) for _ in range(2))
    list(other)  # an epoch that was served before changes nothing
    assert batches_of(first, 4) == batches_of(other, 4)
    assert batches_of(first, 4) != batches_of(first, 5)
    assert batches_of(first, 4) != batches_of(people.sampler(name, P=4, K=2, seed=1, **extra), 4)


def test_samplers_of_one_seed_draw_apart():
    people = People([[0, 1, 0, 1]] * 10)
    orders = [batches_of(people.sampler(name, P=4, K=2)) for name in COMPONENTS]
    assert all(orders.count(order) == 1 for order in orders)


@pytest.mark.parametrize(("name", "extra"), VARIANTS)
def test_an_identity_with_one_image_repeats_it_among_others(name, extra):
    people = People([[0], [0, 1, 2, 3], [0, 1, 2, 3], [1]], datasets=2)
    single = {people.labels.tolist().index(pid) for pid in (0, 3)}
    for epoch in range(5):
        for batch in batches_of(people.sampler(name, P=4, K=3, **extra), epoch):
            assert [Counter(batch)[image] for image in single] == [3, 3]
            assert len(set(batch)) == 2 + 2 * 3


@pytest.mark.parametrize("name", [name for name in COMPONENTS if name != "camera_balanced"])
def test_identities_with_one_image_repeat_it(name):
    people = People([[0]] * 6)
    for batch in batches_of(people.sampler(name, P=3, K=3)):
        assert sorted(Counter(batch).values()) == [3, 3, 3]


@pytest.mark.parametrize("name", COMPONENTS)
def test_fewer_than_p_identities_is_an_error_with_both_numbers(name):
    message = rf"^sampler {name}: P = 16 .* only 3; lower P to 3 or less, or add data$"
    if name == "dataset_balanced":
        message = (
            r"^sampler dataset_balanced: 16 identities of data\.train\.0 per batch, but it has "
            "only 3; lower its share of P to 3 or less, or add data$"
        )
    with pytest.raises(ReidError, match=message):
        People([[0, 1]] * 3).sampler(name)


@pytest.mark.parametrize("name", COMPONENTS)
def test_skipped_identities_are_named_in_the_error(name):
    with pytest.raises(
        ReidError,
        match=r"only 1 \(1 of 2 have fewer than K = 2 images\); lower .* or choose small_ids 'rep",
    ):
        People([[0], [0, 1]]).sampler(name, P=2, K=2, small_ids="skip")


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_batch_that_ranks_cannot_share_is_an_error(name):
    with pytest.raises(ReidError, match=r"P = 4 counts all processes .* such as 3$"):
        People([[0, 1]] * 9).sampler(name, P=4, world_size=3)


# ---- many identities --------------------------------------------------------------------


def work_of(function):
    """Return a function's result, and how many functions it calls, Python's and C's."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        result = function()
    finally:
        sys.setprofile(before)
    return result, count


@pytest.mark.parametrize("name", COMPONENTS)
@pytest.mark.parametrize("epoch", ["images", "identities"])
def test_ten_thousand_identities_are_ten_times_the_work_of_a_thousand(name, epoch):
    work = []
    for identities in (1_000, 10_000):
        counts = np.random.default_rng(0).integers(1, 20, identities)
        people = People([[i % 4 for i in range(n)] for n in counts], datasets=2)

        def serve(people=people):
            return list(people.sampler(name, P=16, K=4, epoch=epoch))

        batches, calls = work_of(serve)
        assert {len(batch) for batch in batches} == {64}
        assert len(batches) == expected_length(people, name, 16, 4, "repeat", epoch)
        work.append(calls)
    assert work[1] < 11 * work[0]
