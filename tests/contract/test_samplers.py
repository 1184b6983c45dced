"""Samplers: a constant length, and batches that depend on seed, epoch and rank alone."""

import json
import os
import subprocess
import sys
import textwrap
from itertools import chain

import numpy as np
import pytest

from reid_core.component import declared
from reid_core.data.epoch_batches import EpochBatches

COUNTS = [1, 2, 3, 4, 5, 8, 11, 30] * 5
"""Images of each of 40 identities: few, many, and those that K does not divide."""

LABELS = np.repeat(np.arange(len(COUNTS)), COUNTS).astype(np.int64)
CAMIDS = np.arange(len(LABELS), dtype=np.int64) % 3
SOURCES = (LABELS % 2).astype(np.int64)

pytestmark = pytest.mark.usefixtures("untouched_global_generators")


@pytest.fixture
def make(sampler):
    """Build the sampler with its default params."""

    names = declared(sampler.component.columns, sampler.params())

    def build(seed=0, rank=0, world_size=1):
        return sampler.build(
            labels=LABELS.copy(),
            camids=CAMIDS.copy(),
            sources=SOURCES.copy(),
            columns={name: CAMIDS.copy() for name in names},
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

    return build


def epoch_of(batches, epoch):
    batches.set_epoch(epoch)
    return list(batches)


def test_the_length_is_constant_and_true(make):
    batches = make()
    length = len(batches)
    assert length > 0
    for epoch in range(4):
        assert len(epoch_of(batches, epoch)) == len(batches) == length


def test_keys_are_the_epoch_and_the_index_of_an_image(make):
    for epoch in (0, 3):
        keys = list(chain.from_iterable(epoch_of(make(), epoch)))
        # Numpy's integers would be sent to the workers as arrays, and are no dict keys alike.
        assert {(type(e), type(i)) for e, i in keys} == {(int, int)}
        assert {e for e, _ in keys} == {epoch}
        assert all(0 <= i < len(LABELS) for _, i in keys)


def test_batches_of_all_steps_have_one_size(make):
    assert len({len(keys) for keys in epoch_of(make(), 0)}) == 1


def test_batches_depend_on_seed_and_epoch_alone(make):
    first = make(seed=1)
    epochs = [epoch_of(first, epoch) for epoch in range(3)]
    assert [epoch_of(make(seed=1), epoch) for epoch in range(3)] == epochs
    assert epoch_of(first, 1) == epochs[1], "going back to an epoch, as a resumed run does"
    assert [[i for _, i in keys] for keys in epochs[0]] != [[i for _, i in k] for k in epochs[1]]
    assert epoch_of(make(seed=2), 0) != epochs[0]


def test_two_iterators_of_one_epoch_do_not_disturb_each_other(make):
    batches = make()
    batches.set_epoch(0)
    first, second = iter(batches), iter(batches)
    assert [next(first), next(first)] == [next(second), next(second)]


def test_a_resumed_epoch_gives_the_rest_of_its_batches(sampler, make):
    whole = epoch_of(make(), 2)
    batches = EpochBatches(make(), sampler.offer.origin, len(LABELS))
    batches.set(2, 1)
    assert list(batches) == whole[1:]


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_batches_of_a_single_one(make, world_size):
    alone = epoch_of(make(), 1)
    ranks = [make(rank=rank, world_size=world_size) for rank in range(world_size)]
    shares = [epoch_of(batches, 1) for batches in ranks]
    assert {len(batches) for batches in ranks} == {len(alone)}
    for step, parts in enumerate(zip(*shares, strict=True)):
        assert len({len(part) for part in parts}) == 1
        assert sorted(chain.from_iterable(parts)) == sorted(alone[step])


# ---- other processes --------------------------------------------------------------------

RANK = """
    import json, sys
    import numpy as np
    from reid_core.component import call_build, declared
    from reid_core.discovery import load_catalog

    data = json.load(sys.stdin)
    arrays = {name: np.array(data[name], dtype=np.int64) for name in data["arrays"]}
    catalog, served = load_catalog(), {}
    for name in data["samplers"]:
        component = catalog.component("sampler", name)
        params = component.params()
        columns = {name: arrays["camids"] for name in declared(component.columns, params)}
        batches = call_build(component, params, **arrays, columns=columns, **data["context"])
        served[name] = []
        for epoch in data["epochs"]:
            batches.set_epoch(epoch)
            served[name].append(list(batches))
    json.dump(served, sys.stdout)
"""


@pytest.fixture(scope="module")
def served_by_processes():
    """A function from a world size to what each of its processes serves: rank, sampler, epoch."""
    made = {}

    def serve(world_size, samplers):
        if world_size not in made:
            data = {
                "arrays": ["labels", "camids", "sources"],
                "labels": LABELS.tolist(),
                "camids": CAMIDS.tolist(),
                "sources": SOURCES.tolist(),
                "samplers": samplers,
                "epochs": [0, 3],
            }
            made[world_size] = in_processes(
                {**data, "context": {"seed": 5, "rank": rank, "world_size": world_size}}
                for rank in range(world_size)
            )
        return made[world_size]

    return serve


def in_processes(inputs):
    """Run one process per input, all at the same time, and return what they say."""
    processes = []
    for number, given in enumerate(inputs):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RANK)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Strings have other hashes in every process, so that sets have other orders.
            env={**os.environ, "PYTHONHASHSEED": str(number + 1)},
        )
        processes.append(process)
        process.stdin.write(json.dumps(given))
        process.stdin.close()
        process.stdin = None  # communicate would flush it
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [json.loads(output) for output in outputs]


@pytest.mark.parametrize("world_size", [2, 4])
def test_real_processes_share_the_batches_of_a_single_one(
    sampler, make, served_by_processes, catalog, world_size
):
    names = [offer.component.name for offer in catalog.offers if offer.kind == "sampler"]
    ranks = served_by_processes(world_size, names)
    alone = make(seed=5)
    for position, epoch in enumerate([0, 3]):
        shares = [rank[sampler.name][position] for rank in ranks]
        for whole, *parts in zip(epoch_of(alone, epoch), *shares, strict=True):
            assert len({len(part) for part in parts}) == 1
            together = [tuple(key) for key in chain.from_iterable(parts)]
            assert sorted(together) == sorted(whole)
