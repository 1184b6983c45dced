"""What sets the samplers apart: cameras, shares of datasets, and probabilities in closed form."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_core import ReidError
from reid_core.component import call_build
from reid_plugins.sampler import camera_balanced, dataset_balanced, weighted

COMPONENTS = {
    component.name: component
    for module in (camera_balanced, dataset_balanced, weighted)
    for component in module.reid_sampler()
}


def make(name, labels, camids=None, sources=None, *, rank=0, world_size=1, **params):
    labels = np.asarray(labels, dtype=np.int64)
    zeros = np.zeros_like(labels)
    component = COMPONENTS[name]
    return call_build(
        component,
        component.params.model_validate(params),
        labels=labels,
        camids=zeros if camids is None else np.asarray(camids),
        sources=zeros if sources is None else np.asarray(sources),
        seed=0,
        rank=rank,
        world_size=world_size,
    )


def indices_of(sampler, epochs=1):
    """Return the batches of some epochs as lists of indices."""
    batches = []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        batches += [[index for _, index in batch] for batch in sampler]
    return batches


# ---- camera_balanced --------------------------------------------------------------------


def visits_of(batches, k):
    """Return the K images of every visit of an identity."""
    return [batch[i : i + k] for batch in batches for i in range(0, len(batch), k)]


def image_table(cameras):
    """Return labels and camids of identities with given cameras."""
    labels = [pid for pid, own in enumerate(cameras) for _ in own]
    return np.array(labels), np.array(list(chain.from_iterable(cameras)))


people_under_cameras = st.lists(
    st.lists(st.integers(-1, 3), min_size=1, max_size=7), min_size=1, max_size=6
).map(lambda cameras: [*cameras, [0, 1]])
"""Cameras of each identity's images; the last one has two."""


@settings(deadline=None)
@given(
    cameras=people_under_cameras,
    k=st.integers(1, 5),
    few_others=st.sampled_from(["repeat", "own_camera"]),
    epoch=st.sampled_from(["images", "identities"]),
)
def test_a_visit_is_one_image_and_those_of_other_cameras(cameras, k, few_others, epoch):
    labels, camids = image_table(cameras)
    sampler = make("camera_balanced", labels, camids, P=1, K=k, few_others=few_others, epoch=epoch)
    for anchor, *rest in visits_of(indices_of(sampler), k):
        others = [
            i
            for i in np.flatnonzero(labels == labels[anchor]).tolist()
            if camids[i] != camids[anchor] and -1 not in (camids[i], camids[anchor])
        ]
        from_others = [i for i in rest if i in others]
        if few_others == "repeat" and others:
            assert len(from_others) == k - 1
        elif (labels == labels[anchor]).sum() >= k:
            assert len(from_others) == min(k - 1, len(others))
            assert len({anchor, *rest}) == k
        counts = Counter(from_others)
        times = [counts[i] for i in others]
        assert not times or k - 1 < len(others) or max(times) - min(times) <= 1
        if k - 1 <= len(others):
            assert len(set(from_others)) == k - 1


@settings(deadline=None)
@given(
    cameras=people_under_cameras,
    k=st.integers(1, 5),
    few_others=st.sampled_from(["repeat", "own_camera"]),
)
def test_images_of_an_identity_under_one_camera_are_used_equally_often(cameras, k, few_others):
    cameras = cameras * 3  # many images, so that an identity is visited often
    labels, camids = image_table(cameras)
    sampler = make("camera_balanced", labels % 4, camids, P=1, K=k, few_others=few_others)
    used = Counter(chain.from_iterable(indices_of(sampler)))
    for pid in range(4):
        for camid in range(-1, 4):
            at = np.flatnonzero((labels % 4 == pid) & (camids == camid)).tolist()
            assert not at or max(used[i] for i in at) - min(used[i] for i in at) <= 1


def test_with_two_equal_cameras_all_images_are_used_equally_often():
    # A visit takes one image of each camera, the least used one.
    labels, camids = image_table([[0, 0, 0, 1, 1, 1]] * 4)
    sampler = make("camera_balanced", labels, camids, P=2, K=2)
    used = Counter(chain.from_iterable(indices_of(sampler)))
    for pid in range(4):
        counts = [used[i] for i in np.flatnonzero(labels == pid).tolist()]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(("few_others", "expected"), [("repeat", {5: 3}), ("own_camera", {5: 1})])
def test_one_image_of_another_camera_is_repeated_or_joined_by_the_own_camera(few_others, expected):
    labels, camids = image_table([[0, 0, 0, 0, 0, 1]])
    sampler = make("camera_balanced", labels, camids, P=1, K=4, few_others=few_others)
    visits = [visit for visit in visits_of(indices_of(sampler, epochs=20), 4) if visit[0] != 5]
    assert visits
    for visit in visits:
        assert {5: Counter(visit)[5]} == expected


@pytest.mark.parametrize("cameras", [[[0, 0], [1]], [[-1, 0], [-1, -1]]])
def test_people_whom_no_second_camera_has_seen_are_refused(cameras):
    labels, camids = image_table(cameras)
    with pytest.raises(ReidError) as error:
        make("camera_balanced", labels, camids, P=1, K=2)
    assert str(error.value) == (
        "sampler camera_balanced: no identity of the training data has images of two known "
        "cameras, so there is no other camera to prefer; use the sampler 'class_balanced'"
    )


def test_unknown_cameras_are_not_taken_for_other_ones():
    labels, camids = image_table([[0, 1, -1, -1, -1, -1]])
    for visit in visits_of(indices_of(make("camera_balanced", labels, camids, P=1, K=2), 20), 2):
        assert visit in ([0, 1], [1, 0]) or visit[0] >= 2


# ---- dataset_balanced -------------------------------------------------------------------

SIZES = {0: 40, 1: 6, 2: 11}
"""Identities of three datasets; each has three images."""

LABELS = np.repeat(np.arange(sum(SIZES.values())), 3)
SOURCES = np.repeat(list(SIZES), list(SIZES.values()))[LABELS]


@pytest.mark.parametrize(
    ("params", "per_batch"),
    [
        ({"P": 6}, [2, 2, 2]),
        ({"P": 8, "shares": [2, 1, 1]}, [4, 2, 2]),
        ({"P": 10, "shares": [3, 2, 5]}, [3, 2, 5]),
        ({"P": 3, "shares": [7, 7, 7]}, [1, 1, 1]),
    ],
)
def test_every_batch_has_the_shares_asked_for(params, per_batch):
    batches = indices_of(make("dataset_balanced", LABELS, sources=SOURCES, K=2, **params), 3)
    for batch in batches:
        pids = LABELS[batch][::2]
        assert len(set(pids.tolist())) == params["P"]
        assert [(SOURCES[batch][::2] == source).sum() for source in range(3)] == per_batch


@pytest.mark.parametrize("world_size", [2, 4])
def test_every_process_has_the_shares_asked_for(world_size):
    params = {"P": 16, "K": 2, "shares": [2, 1, 1]}
    for rank in range(world_size):
        sampler = make(
            "dataset_balanced", LABELS, sources=SOURCES, rank=rank, world_size=world_size, **params
        )
        for batch in indices_of(sampler):
            counts = [(SOURCES[batch][::2] == source).sum() for source in range(3)]
            assert counts == [8 // world_size, 4 // world_size, 4 // world_size]


def test_an_epoch_of_identities_shows_those_of_the_largest_share_once():
    batches = indices_of(
        make("dataset_balanced", LABELS, sources=SOURCES, P=12, K=1, epoch="identities")
    )
    visits = Counter(LABELS[list(chain.from_iterable(batches))].tolist())
    assert len(batches) == 10
    assert [visits[pid] for pid in range(40)] == [1] * 40
    assert {visits[pid] for pid in range(40, 46)} == {6, 7}
    assert {visits[pid] for pid in range(46, 57)} == {3, 4}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"P": 6, "shares": [1, 1]},
            "sampler dataset_balanced: 2 shares for 3 training datasets; give 'shares' one "
            "number per entry of data.train",
        ),
        (
            {"P": 16},
            "sampler dataset_balanced: P = 16 cannot be cut into shares 1 : 1 : 1; choose a "
            "multiple of 3, such as 15",
        ),
        (
            {"P": 2, "shares": [2, 1, 1]},
            "sampler dataset_balanced: P = 2 cannot be cut into shares 2 : 1 : 1; choose a "
            "multiple of 4, such as 4",
        ),
        (
            {"P": 24},
            "sampler dataset_balanced: 8 identities of data.train.1 per batch, but it has only 6; "
            "lower its share of P to 6 or less, or add data",
        ),
    ],
)
def test_shares_that_do_not_fit_are_errors(params, message):
    with pytest.raises(ReidError) as error:
        make("dataset_balanced", LABELS, sources=SOURCES, **params)
    assert str(error.value) == message


# ---- weighted, weighted_images ----------------------------------------------------------

IDENTITIES = np.array([0] * 8 + [1] * 3 + [2] * 1)
CAMERAS = np.array([0, 0, 0, 0, 0, 0, 1, 1, 0, 0, -1, 1])


def chances(identity_power, camera_power):
    """Return the probability of every image, from the formula."""
    weights = []
    for pid, camid in zip(IDENTITIES, CAMERAS, strict=True):
        n_pid = sum(other == pid for other in IDENTITIES)
        n_cam = sum(other == camid for other in CAMERAS)
        weights.append(float(n_pid) ** -identity_power * float(n_cam) ** -camera_power)
    return np.array([weight / sum(weights) for weight in weights])


POWERS = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 2.0)]


def assert_frequencies(counts, probabilities):
    """Compare with a binomial's mean, five standard deviations either side."""
    total = sum(counts)
    for count, p in zip(counts, probabilities, strict=True):
        assert abs(count - total * p) <= 5 * (total * p * (1 - p)) ** 0.5 + 1e-9


@pytest.mark.parametrize(("a", "b"), POWERS)
def test_images_come_up_with_their_probabilities(a, b):
    powers = {"identity_power": a, "camera_power": b}
    batches = indices_of(
        make("weighted_images", IDENTITIES, CAMERAS, batch_size=12, **powers), 1500
    )
    counts = np.bincount(list(chain.from_iterable(batches)), minlength=12)
    assert_frequencies(counts, chances(a, b))


@pytest.mark.parametrize(("a", "b"), POWERS)
def test_the_first_image_of_one_identity_has_the_probability_of_the_image(a, b):
    powers = {"identity_power": a, "camera_power": b}
    batches = indices_of(make("weighted", IDENTITIES, CAMERAS, P=1, K=1, **powers), 1500)
    counts = np.bincount(list(chain.from_iterable(batches)), minlength=12)
    assert_frequencies(counts, chances(a, b))


def test_without_replacement_in_a_batch_identities_follow_successive_draws():
    batches = indices_of(make("weighted", IDENTITIES, CAMERAS, P=2, K=1, identity_power=0.0), 3000)
    shares = [8 / 12, 3 / 12, 1 / 12]
    counts = np.bincount(IDENTITIES[list(chain.from_iterable(batches))], minlength=3)
    for pid, share in enumerate(shares):
        first_or_second = share + sum(
            other * share / (1 - other) for i, other in enumerate(shares) if i != pid
        )
        spread = (len(batches) * first_or_second * (1 - first_or_second)) ** 0.5
        assert abs(counts[pid] - len(batches) * first_or_second) <= 5 * spread


def test_an_epoch_of_weighted_images_has_as_many_draws_as_images_and_repeats_some():
    sampler = make("weighted_images", np.arange(1000), batch_size=64)
    (batches,) = [indices_of(sampler)]
    assert len(sampler) == len(batches) == 15
    assert {len(batch) for batch in batches} == {64}
    drawn = list(chain.from_iterable(batches))
    # Of n images drawn n times, a fraction 1 - (1 - 1 / n) ** n is seen.
    assert abs(len(set(drawn)) / 1000 - (1 - 0.999 ** len(drawn))) < 0.05


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_batches_of_weighted_images(world_size):
    whole = indices_of(make("weighted_images", IDENTITIES, CAMERAS, batch_size=8))
    ranks = [
        indices_of(
            make(
                "weighted_images",
                IDENTITIES,
                CAMERAS,
                batch_size=8,
                rank=rank,
                world_size=world_size,
            )
        )
        for rank in range(world_size)
    ]
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert {len(part) for part in parts} == {8 // world_size}
        assert list(chain.from_iterable(parts)) == batch


def test_a_batch_of_weighted_images_that_ranks_cannot_share_is_an_error():
    with pytest.raises(ReidError, match=r"batch_size = 8 counts all processes .* such as 6$"):
        make("weighted_images", IDENTITIES, CAMERAS, batch_size=8, world_size=3)
