"""Backbones: what a head, a loader and a checkpoint expect of every network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reid_core.contracts import FeatureMap
from reid_core.network.first_results import check_backbone, check_map
from reid_core.testing.subject import Subject, backward, drawn, expect, trained_well

SIZES = ((64, 32), (256, 128), (384, 128))
"""(height, width) in pixels, where a case names none."""

SMALL = 15_000_000
"""Parameters up to which a network is run for real; larger ones run on shapes alone."""

VALUES = 3
"""Values of a column that a network looks at, where a case names none."""


def _sizes(subject: Subject) -> tuple[tuple[int, int], ...]:
    return (subject.case.size,) if subject.case.size else SIZES


def _side(
    subject: Subject, count: int = 2, *, unknown: bool = False, device: str = "cpu"
) -> Mapping[str, Tensor]:
    """Return the columns that the backbone declares: all numbers in turn, or unknown alone."""
    found = {}
    for name, values in _counts(subject).items():
        known = torch.arange(count, device=device) % (values + 1) - 1
        found[name] = torch.full_like(known, -1) if unknown else known
    return found


def _counts(subject: Subject) -> dict[str, int]:
    """Return the number of values of every column that the backbone declares."""
    found = {}
    for name in subject.declared("side"):
        values = subject.case.columns.get(name, VALUES)
        found[name] = values if isinstance(values, int) else len(values)
    return found


def _built(subject: Subject, size: tuple[int, int]) -> Any:
    context = {"input_size": size, "side_values": _counts(subject)}
    return check_backbone(subject.build(**context), subject.offer.origin)


def _on_meta(subject: Subject, size: tuple[int, int] | None = None) -> Any:
    """Build on shapes alone; pretrained weights are not read there."""
    with torch.device("meta"):
        return _built(subject, size or _sizes(subject)[0]).eval()


def _small(subject: Subject, seed: int = 0) -> Any:
    """Build with random weights; None where the network is too large to be run in a test."""
    count = sum(p.numel() for p in _on_meta(subject).parameters())
    if count > SMALL:
        return None
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _built(subject, _sizes(subject)[0])


def _run(subject: Subject, network: Any, count: int = 2, *, unknown: bool = False) -> FeatureMap:
    images = drawn(2, 3, *_sizes(subject)[0])[:count]
    side = {n: column[:count] for n, column in _side(subject, unknown=unknown).items()}
    return check_map(network(images, side), images, network, subject.offer.origin)


# ---- checks -----------------------------------------------------------------------------


def the_map_has_the_declared_channels_and_stride(subject: Subject) -> None:
    """Heads are built from them; the core looks at them in every step."""
    for size in _sizes(subject):
        network = _on_meta(subject, size)
        images = torch.empty(2, 3, *size, device="meta")
        found = network(images, _side(subject, device="meta"))
        check_map(found, images, network, subject.offer.origin)


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


def what_it_does_not_know_of_an_image_leaves_numbers(subject: Subject) -> None:
    """A camera that no training image is from has the number -1."""
    if (network := _small(subject)) is None:
        return
    found = _run(subject, network.eval(), unknown=True).map
    expect(found.isfinite().all(), "the map of images of unknown columns is not finite")


def every_parameter_receives_a_finite_gradient(subject: Subject) -> None:
    """A parameter without a gradient stops distributed training."""
    if (network := _small(subject)) is None:
        return
    output = _run(subject, network.train())
    results = [output.map, *([] if output.tokens is None else [output.tokens])]
    backward(torch.stack([r.square().mean() for r in results]).sum())
    trained_well(network)


def a_saved_state_gives_the_same_map_in_another_network(subject: Subject) -> None:
    """Weights files and resumed trainings stand on it."""
    if (first := _small(subject)) is None:
        return
    second = _small(subject, seed=1).eval()
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
    what_it_does_not_know_of_an_image_leaves_numbers,
    every_parameter_receives_a_finite_gradient,
    a_saved_state_gives_the_same_map_in_another_network,
    in_evaluation_an_image_does_not_depend_on_the_others,
)
