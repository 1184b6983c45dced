"""The clustering against a plain case, the memory against the paper's equations."""

import numpy as np
import pytest
import reid_cluster_contrast
import torch
from reid_cluster_contrast import ClusterMemoryParams, build_memory, clusters
from torch.nn import functional as F

from reid_core.contracts import Features, LossInput, Progress, Relabelling
from reid_core.discovery import isolated_catalog
from reid_core.testing import check_component

PROGRESS = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)


def features_of(vectors):
    words, zeros = np.array(["x"] * len(vectors)), np.zeros(len(vectors))
    return Features({"embedding": vectors}, words, zeros, words, zeros, zeros)


def told(memory, labels, vectors=None):
    labels = np.array(labels)
    features = None if vectors is None else features_of(np.array(vectors, np.float32))
    memory.set_classes(Relabelling(labels, labels, int(labels.max()) + 1, features))
    return memory


def test_both_keep_the_contracts_of_their_kinds():
    catalog = isolated_catalog(reid_cluster_contrast)
    check_component("callback", "cluster_labels", catalog, params={"rho": 0.1})
    check_component("loss", "cluster_memory", catalog)


def test_images_that_lie_together_are_one_cluster_and_a_lonely_one_is_in_none():
    rng = np.random.default_rng(0)
    centers = np.eye(3, 8)[np.repeat([0, 1], 6)]
    vectors = np.concatenate([centers + 0.01 * rng.standard_normal((12, 8)), np.eye(1, 8, 7)])
    found = clusters(vectors, rho=0.5, min_samples=3)
    assert found.tolist() == [0] * 6 + [1] * 6 + [-1]


def test_the_memory_starts_from_the_mean_vectors_of_the_clusters():
    memory = build_memory(ClusterMemoryParams(), dim=2, num_pids=5)
    told(memory, [0, 0, 1, -1], [[2.0, 0.0], [0.0, 3.0], [0.0, -1.0], [9.0, 9.0]])
    half = 0.5**0.5
    assert torch.allclose(memory.memory, torch.tensor([[half, half], [0.0, -1.0]]))


def test_the_value_is_the_cross_entropy_of_equation_1_and_the_update_that_of_equation_3():
    params = ClusterMemoryParams(temperature=0.5, momentum=0.25)
    memory = build_memory(params, dim=3, num_pids=2)
    told(memory, [0, 1], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    x = F.normalize(torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]), dim=1).requires_grad_()
    pids = torch.tensor([0, 1])
    output = memory(LossInput(x, pids, pids, PROGRESS))
    cosine = np.array([[0.5**0.5, 0.5**0.5], [0.0, 0.5**0.5]])
    odds = np.exp(cosine / 0.5)
    expected = -np.log(odds[[0, 1], [0, 1]] / odds.sum(axis=1)).mean()
    assert output.value.item() == pytest.approx(expected, rel=1e-5)

    memory.after_step()
    moved = 0.25 * np.array([1.0, 0.0, 0.0]) + 0.75 * x[0].detach().numpy()
    assert memory.memory[0].numpy() == pytest.approx(moved / np.linalg.norm(moved), rel=1e-5)


def test_a_resumed_run_gives_shapes_alone_and_the_state_follows():
    one = told(build_memory(ClusterMemoryParams(), dim=2, num_pids=2), [0, 1], np.eye(2))
    two = told(build_memory(ClusterMemoryParams(), dim=2, num_pids=7), [0, 1])
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.memory, two.memory)
