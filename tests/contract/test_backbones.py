"""Backbones: what a head, a loader and a checkpoint expect of every network."""

import copy
import math

import pytest
import torch
from torch import nn

from cases import cases_of
from reid_core.contracts import FeatureMap

SMALL = 15_000_000
"""Parameters up to which a network is run for real; larger ones run on shapes alone."""


def without_weights(backbone):
    """Params that need no file and no connection."""
    known = backbone.component.params.model_fields
    return backbone.params(**({"pretrained": "none"} if "pretrained" in known else {}))


def on_meta(backbone):
    with torch.device("meta"):
        return backbone.build()  # the defaults: pretrained weights are not read on meta


def build_small(backbone, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return backbone.build(without_weights(backbone))


def is_small(backbone):
    return sum(p.numel() for p in on_meta(backbone).parameters()) <= SMALL


for_small_ones = pytest.mark.parametrize("backbone", cases_of("backbone", is_small))
"""Large ones are checked on shapes alone."""


def images(count=2, height=64, width=32):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(64, 32), (256, 128), (384, 128)])
def test_the_map_has_the_declared_channels_and_stride(backbone, size):
    network = on_meta(backbone).eval()
    output = network(torch.empty(2, 3, *size, device="meta"))
    assert isinstance(output, FeatureMap)
    cells = [math.ceil(side / network.stride) for side in size]
    assert output.map.shape == (2, network.out_channels, *cells)
    assert output.token is None or output.token.shape == (2, network.out_channels)


def test_channels_and_stride_are_whole_numbers_and_side_inputs_may_be_given(backbone):
    network = on_meta(backbone).eval()
    assert type(network.out_channels) is int
    assert type(network.stride) is int
    network(torch.empty(2, 3, 64, 32, device="meta"), side=None)


def test_the_stages_hold_every_parameter_once_and_the_last_can_be_copied(backbone):
    network = on_meta(backbone)
    stages = network.stages
    assert stages
    assert all(isinstance(stage, nn.Module) for stage in stages.values())
    held = [id(p) for stage in stages.values() for p in stage.parameters()]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
    last = list(stages.values())[-1]
    copied = copy.deepcopy(last)
    assert not {id(p) for p in copied.parameters()} & set(held)


@for_small_ones
def test_the_map_is_finite_and_alike_in_form_in_training_and_evaluation(backbone):
    network = build_small(backbone)
    shapes = []
    for mode in (True, False):
        output = network.train(mode)(images()).map
        assert output.isfinite().all()
        shapes.append(output.shape)
    assert shapes[0] == shapes[1]


@for_small_ones
def test_every_parameter_receives_a_finite_gradient(backbone):
    network = build_small(backbone).train()
    network(images()).map.square().mean().backward()
    bare = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert bare == []
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)


@for_small_ones
def test_a_saved_state_gives_the_same_map_in_another_network(backbone):
    first, second = (build_small(backbone, seed).eval() for seed in (0, 1))
    with torch.inference_mode():
        expected = first(images()).map
        assert not torch.equal(second(images()).map, expected)
        second.load_state_dict(first.state_dict())
        assert torch.equal(second(images()).map, expected)


@for_small_ones
def test_in_evaluation_an_image_does_not_depend_on_the_others(backbone):
    network = build_small(backbone).eval()
    with torch.inference_mode():
        together, alone = network(images()).map[:1], network(images()[:1]).map
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
