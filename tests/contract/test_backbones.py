"""Backbones: what a head, a loader and a checkpoint expect of every network."""

import copy
import math

import pytest
import torch
from torch import nn

from cases import cases_of
from reid_core.component import declared
from reid_core.contracts import FeatureMap

SMALL = 15_000_000
"""Parameters up to which a network is run for real; larger ones run on shapes alone."""


def without_weights(backbone):
    """Params that need no file and no connection."""
    known = backbone.component.params.model_fields
    return backbone.params(**({"pretrained": "none"} if "pretrained" in known else {}))


SIZE = (64, 32)


def side_columns(backbone):
    return declared(backbone.component.side, without_weights(backbone))


def context(backbone, size=SIZE):
    return {"input_size": size, "side_values": dict.fromkeys(side_columns(backbone), 3)}


def on_meta(backbone, size=SIZE):
    with torch.device("meta"):
        # The defaults: pretrained weights are not read on meta.
        return backbone.build(**context(backbone, size))


def build_small(backbone, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return backbone.build(without_weights(backbone), **context(backbone))


def side(backbone, count=2, device="cpu", known=True):
    """All columns of some images: every known number and unknown in turn, or unknown alone."""
    codes = torch.arange(count, device=device) % 4 - 1
    column = codes if known else torch.full((count,), -1, device=device)
    return dict.fromkeys(side_columns(backbone), column)


def is_small(backbone):
    return sum(p.numel() for p in on_meta(backbone).parameters()) <= SMALL


for_small_ones = pytest.mark.parametrize("backbone", cases_of("backbone", is_small))
"""Large ones are checked on shapes alone."""


def images(count=2, height=64, width=32):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(64, 32), (256, 128), (384, 128)])
def test_the_map_has_the_declared_channels_and_stride(backbone, size):
    network = on_meta(backbone, size).eval()
    output = network(torch.empty(2, 3, *size, device="meta"), side(backbone, device="meta"))
    assert isinstance(output, FeatureMap)
    assert output.map.shape[:2] == (2, network.out_channels)
    for cells, pixels in zip(output.map.shape[2:], size, strict=True):
        assert cells in (pixels // network.stride, math.ceil(pixels / network.stride))
    if output.tokens is not None:
        assert output.tokens.shape == (2, output.tokens.shape[1], network.out_channels)
        assert output.tokens.shape[1] >= 1
    assert all(len(stage) == 2 and stage.dim() == 4 for stage in output.maps.values())


def test_channels_and_stride_are_whole_numbers(backbone):
    network = on_meta(backbone)
    assert type(network.out_channels) is int
    assert type(network.stride) is int


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
        output = network.train(mode)(images(), side(backbone)).map
        assert output.isfinite().all()
        shapes.append(output.shape)
    assert shapes[0] == shapes[1]


@for_small_ones
def test_every_parameter_receives_a_finite_gradient(backbone):
    network = build_small(backbone).train()
    output = network(images(), side(backbone))
    outputs = [output.map] if output.tokens is None else [output.map, output.tokens]
    sum(values.square().mean() for values in outputs).backward()
    bare = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert bare == []
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)


@for_small_ones
def test_a_saved_state_gives_the_same_map_in_another_network(backbone):
    first, second = (build_small(backbone, seed).eval() for seed in (0, 1))
    with torch.inference_mode():
        columns = side(backbone)
        expected = first(images(), columns).map
        assert not torch.equal(second(images(), columns).map, expected)
        second.load_state_dict(first.state_dict())
        assert torch.equal(second(images(), columns).map, expected)


@for_small_ones
def test_in_evaluation_an_image_does_not_depend_on_the_others(backbone):
    network = build_small(backbone).eval()
    with torch.inference_mode():
        columns = side(backbone)
        first = {name: column[:1] for name, column in columns.items()}
        together, alone = network(images(), columns).map[:1], network(images()[:1], first).map
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@for_small_ones
def test_what_a_network_does_not_know_of_an_image_leaves_numbers(backbone):
    network = build_small(backbone).eval()
    with torch.inference_mode():
        assert network(images(), side(backbone, known=False)).map.isfinite().all()
