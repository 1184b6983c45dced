"""Parameter groups by owner and by name, the optimizer table, and rates over time.

Published recipes as params of ``optimizer``:

- Person_reID_baseline_pytorch, the backbone at a tenth: ``lr_backbone`` = 0.1 ``lr``.
- reid-strong-baseline, BIAS_LR_FACTOR 2 and WEIGHT_DECAY_BIAS 0:
  ``{"match": "*bias*", "lr_scale": 2, "weight_decay": 0}``.
- NAMA, decay of its own for the neck and the classifier: ``{"match": "*neck*", "weight_decay":
  0.0005}`` and the same for ``"*classifier*"``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from reid_core.errors import ReidError, did_you_mean, name_list
from reid_core.params.schema import AdamParams, OptimizerParams, SgdParams

Named = tuple[str, nn.Parameter]


@dataclass(frozen=True)
class GroupSettings:
    """What makes two parameters belong to one group."""

    role: str
    lr: float
    weight_decay: float


def parameter_groups(
    params: OptimizerParams, named: Iterable[Named]
) -> dict[GroupSettings, list[Named]]:
    """Sort parameters into groups: roles by owner, then the rules by name, the last one wins.

    Args:
        params: The optimizer section.
        named: (name, parameter) of the training module: ``model.backbone.*``, other
            ``model.*``, and ``objectives.*``, the parameters of losses.

    Returns:
        Groups in a fixed order, each with its (name, parameter) pairs. Frozen parameters
        are members: they receive no gradient and do not move.

    Raises:
        ReidError: A rule matches no parameter, or no loss has any for ``lr_loss``.
    """
    named = list(named)
    if params.lr_loss is not None and all(_role(name) != "loss" for name, _ in named):
        raise ReidError(
            "optimizer.lr_loss: no loss has weights that the optimizer moves (the centers of "
            "'center' have their own 'rate'); leave 'lr_loss' out"
        )
    rates = {
        "new": params.lr,
        "backbone": params.lr if params.lr_backbone is None else params.lr_backbone,
        "loss": params.lr if params.lr_loss is None else params.lr_loss,
    }
    groups: dict[GroupSettings, list[Named]] = {}
    matched: set[int] = set()
    for name, parameter in named:
        role = _role(name)
        lr, weight_decay = rates[role], params.weight_decay
        for position, rule in enumerate(params.groups):
            if fnmatchcase(name, rule.match):
                matched.add(position)
                lr = lr if rule.lr is None else rule.lr
                lr = lr if rule.lr_scale is None else lr * rule.lr_scale
                weight_decay = weight_decay if rule.weight_decay is None else rule.weight_decay
        groups.setdefault(GroupSettings(role, lr, weight_decay), []).append((name, parameter))
    for position, rule in enumerate(params.groups):
        if position not in matched:
            raise no_such_parameter(f"optimizer.groups.{position}.match", rule.match, named)
    return dict(sorted(groups.items(), key=lambda g: (g[0].role, -g[0].lr, -g[0].weight_decay)))


def no_such_parameter(key: str, match: str, named: Iterable[Named]) -> ReidError:
    """Return the error of a rule at ``key`` in the params whose glob matches no parameter."""
    names = [name for name, _ in named]
    return ReidError(
        f"{key}: '{match}' matches no parameter{did_you_mean(match, names)}; names look like "
        f"{name_list(names, 3)}"
    )


def build_optimizer(
    params: OptimizerParams, groups: dict[GroupSettings, list[Named]]
) -> torch.optim.Optimizer:
    """Build the optimizer; every group carries its role and its initial rate.

    Raises:
        ReidError: The options do not go together.
    """
    torch_groups: list[dict[str, Any]] = [
        {
            "params": [parameter for _, parameter in members],
            "lr": settings.lr,
            "initial_lr": settings.lr,
            "weight_decay": settings.weight_decay,
            "role": settings.role,
        }
        for settings, members in groups.items()
    ]
    options = params.params
    if isinstance(options, SgdParams):
        if options.nesterov and not options.momentum:
            raise ReidError("optimizer.params: 'nesterov' needs a 'momentum' above 0")
        return torch.optim.SGD(
            torch_groups, lr=params.lr, momentum=options.momentum, nesterov=options.nesterov
        )
    assert isinstance(options, AdamParams)
    kind = torch.optim.Adam if params.name == "adam" else torch.optim.AdamW
    betas = (options.beta1, options.beta2)
    return kind(torch_groups, lr=params.lr, betas=betas, amsgrad=options.amsgrad)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to its initial rate times the schedule's factor."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def rates_by_role(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Return the present rate of each role: that of its group with the most numbers."""
    largest: dict[str, tuple[int, float]] = {}
    for group in optimizer.param_groups:
        size = sum(parameter.numel() for parameter in group["params"])
        if size > largest.get(group["role"], (0, 0.0))[0]:
            largest[group["role"]] = size, group["lr"]
    return {role: lr for role, (_, lr) in largest.items()}


def group_table(groups: Mapping[GroupSettings, Sequence[Named]]) -> list[str]:
    """Return the groups as text lines: role, rate, weight decay, tensors, numbers."""
    lines = [f"{'group':<10}{'rate':>10}{'decay':>10}{'tensors':>9}{'parameters':>13}"]
    for settings, members in groups.items():
        trained = [p for _, p in members if p.requires_grad]
        count = sum(p.numel() for p in trained)
        frozen = (
            f"  ({len(members) - len(trained)} tensors frozen)"
            if len(trained) < len(members)
            else ""
        )
        lines.append(
            f"{settings.role:<10}{settings.lr:>10.3g}{settings.weight_decay:>10.3g}"
            f"{len(members):>9}{count:>13,}{frozen}"
        )
    return lines


def _role(name: str) -> str:
    if name.startswith("model.backbone."):
        return "backbone"
    return "new" if name.startswith("model.") else "loss"
