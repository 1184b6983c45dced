"""Samplers beside their contract: whole batches, other orders, and processes that share them."""

import json
import os
import subprocess
import sys
import textwrap
from itertools import chain

import pytest

from reid_core.component import declared
from reid_core.testing.samplers import CAMIDS, LABELS, SOURCES

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


def test_batches_of_all_steps_have_one_size(make):
    assert len({len(keys) for keys in epoch_of(make(), 0)}) == 1


def test_another_seed_and_another_epoch_have_another_order(make):
    first = make(seed=1)
    epochs = [epoch_of(first, epoch) for epoch in range(2)]
    assert [[i for _, i in keys] for keys in epochs[0]] != [[i for _, i in k] for k in epochs[1]]
    assert epoch_of(make(seed=2), 0) != epochs[0]


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
