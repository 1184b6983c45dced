"""Backbones: what a head, a loader and a checkpoint expect of every network."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from reid_core.component import BackboneComponent, declared
from reid_core.contracts import FeatureMap
from reid_core.testing.subject import Subject, backward, drawn, expect

SIZES = ((64, 32), (256, 128), (384, 128))
"""(height, width) in pixels, where a case names none."""

SMALL = 15_000_000
"""Parameters up to which a network is run for real; larger ones run on shapes alone."""


def _side(subject: Subject, count: int) -> Mapping[str, Tensor]:
    """Return the columns that the backbone declares, each with an unknown value."""
    names = declared(cast(BackboneComponent, subject.component).side, subject.params)
    found = subject.columns(names, count)
    return {name: torch.from_numpy(values) - 1 for name, values in found.items()}


def _on_meta(subject: Subject) -> Any:
    """Build on shapes alone; pretrained weights are not read there."""
    with torch.device("meta"):
        return subject.build().eval()


def _run_on_meta(subject: Subject, network: Any, size: tuple[int, int]) -> FeatureMap:
    side = {name: values.to("meta") for name, values in _side(subject, 2).items()}
    output: FeatureMap = network(torch.empty(2, 3, *size, device="meta"), side)
    return output


def _small(subject: Subject, seed: int = 0) -> Any:
    """Build with random weights; None where the network is too large to be run in a test."""
    count = sum(p.numel() for p in _on_meta(subject).parameters())
    return subject.build_seeded(seed) if count <= SMALL else None


def _run(subject: Subject, network: Any, count: int = 2) -> FeatureMap:
    images = drawn(2, 3, *(subject.case.size or SIZES[0]))[:count]
    side = {name: values[:count] for name, values in _side(subject, 2).items()}
    output: FeatureMap = network(images, side)
    return output


# ---- checks -----------------------------------------------------------------------------


def the_map_has_the_declared_channels_and_stride(subject: Subject) -> None:
    """Heads are built from them."""
    network = _on_meta(subject)
    expect(type(network.out_channels) is int, f"out_channels: {network.out_channels!r}")
    expect(type(network.stride) is int, f"stride: {network.stride!r}")
    for size in (subject.case.size,) if subject.case.size else SIZES:
        output = _run_on_meta(subject, network, size)
        expect(isinstance(output, FeatureMap), f"it returns a {type(output).__name__}")
        cells = [math.ceil(side / network.stride) for side in size]
        wanted = (2, network.out_channels, *cells)
        shape = tuple(output.map.shape)
        expect(shape == wanted, f"of {size} pixels: a map of {shape}; it declares {wanted}")
        if output.tokens is not None:
            tokens = tuple(output.tokens.shape)
            right = len(tokens) == 3 and tokens[::2] == (2, network.out_channels)
            expect(right, f"tokens of shape {tokens}; expected (2, K, {network.out_channels})")
        flat = {name: tuple(m.shape) for name, m in output.maps.items() if m.ndim != 4}
        expect(not flat, f"maps that are not (B, c, h, w): {flat}")


def the_stages_hold_every_parameter_once_and_the_last_can_be_copied(subject: Subject) -> None:
    """Learning rates go by stages, and a head may copy the last one."""
    network = _on_meta(subject)
    stages = network.stages
    right = stages and all(isinstance(stage, nn.Module) for stage in stages.values())
    expect(right, f"stages: {stages!r}")
    held = [id(p) for stage in stages.values() for p in stage.parameters()]
    missing = {id(p): name for name, p in network.named_parameters() if id(p) not in held}
    expect(not missing, f"in no stage: {', '.join(missing.values())}")
    expect(len(held) == len(set(held)), "a parameter is in two stages")
    copied = copy.deepcopy(list(stages.values())[-1])
    shared = {id(p) for p in copied.parameters()} & set(held)
    expect(not shared, "a copy of the last stage shares parameters with it")


def the_map_is_finite_and_alike_in_form_in_training_and_evaluation(subject: Subject) -> None:
    """Small networks are run for real."""
    if (network := _small(subject)) is None:
        return
    maps = [_run(subject, network.train(mode)).map for mode in (True, False)]
    expect(all(m.isfinite().all() for m in maps), "the map is not finite")
    expect(maps[0].shape == maps[1].shape, f"{maps[0].shape} and {maps[1].shape}")


def every_parameter_receives_a_finite_gradient(subject: Subject) -> None:
    """A parameter without a gradient stops distributed training."""
    if (network := _small(subject)) is None:
        return
    output = _run(subject, network.train())
    results = [output.map, *([] if output.tokens is None else [output.tokens])]
    backward(torch.stack([r.square().mean() for r in results]).sum())
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    bare = [name for name, p in trained.items() if p.grad is None]
    expect(not bare, f"no gradient: {', '.join(bare)}")
    wrong = [name for name, p in trained.items() if not p.grad.isfinite().all()]
    expect(not wrong, f"not finite: {', '.join(wrong)}")


def a_saved_state_gives_the_same_map_in_another_network(subject: Subject) -> None:
    """Weights files and resumed trainings stand on it."""
    if (first := _small(subject)) is None:
        return
    second = subject.build_seeded(1).eval()
    second.load_state_dict(first.eval().state_dict())
    with torch.inference_mode():
        same = torch.equal(_run(subject, first).map, _run(subject, second).map)
    expect(same, "the maps differ: something is not in the state dict")


def in_evaluation_an_image_does_not_depend_on_the_others(subject: Subject) -> None:
    """Nor does its map."""
    if (network := _small(subject)) is None:
        return
    network.eval()
    with torch.inference_mode():
        together, alone = _run(subject, network).map[:1], _run(subject, network, 1).map
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


CHECKS = (
    the_map_has_the_declared_channels_and_stride,
    the_stages_hold_every_parameter_once_and_the_last_can_be_copied,
    the_map_is_finite_and_alike_in_form_in_training_and_evaluation,
    every_parameter_receives_a_finite_gradient,
    a_saved_state_gives_the_same_map_in_another_network,
    in_evaluation_an_image_does_not_depend_on_the_others,
)
