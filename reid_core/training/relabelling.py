"""New identities between two epochs: what is rebuilt, and what keeps its weights.

Pseudo labels of unsupervised methods (such as arXiv:1905.02808, arXiv:2103.11568) change in number
and in meaning from epoch to epoch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from reid_core.contracts import Classes, Features, Relabelling
from reid_core.data.epoch_batches import epoch_batches
from reid_core.errors import ReidError
from reid_core.training.freezing import Freezing
from reid_core.training.parameter_groups import build_optimizer, parameter_groups
from reid_core.training.state import Training
from reid_core.training.steps import check_first_batch

PSEUDO = "pseudo"
"""Name of the data set that identities stand in which a callback has made up."""


def relabel(training: Training, labels: Any, features: Features | None = None) -> None:
    """Give the training images other identities; see ``CallbackContext.relabel``.

    Raises:
        ReidError: The labels cannot be trained on, or a part cannot follow.
    """
    new = checked_labels(labels, len(training.images))
    change = Relabelling(training.labels, new, int(new.max()) + 1, features)
    classes: Classes = tuple((PSEUDO, str(label)) for label in range(change.num_pids))
    training.builder.relabel(training.module, change, classes)
    training.module.to(training.device)
    training.labels, training.classes, training.is_relabelled = new, classes, True
    training.loader.relabel(new)
    params = training.params
    batches = epoch_batches(
        params.sampler,
        training.images,
        seed=params.train.seed,
        labels=new,
        indices=np.flatnonzero(new >= 0),
    )
    training.images_per_step = check_first_batch(batches, new, training.module.losses)
    training.batches.batches = batches
    training.freezing = Freezing(training.params.train.freeze, training.module)
    _renew_optimizer(training)


def checked_labels(labels: Any, count: int) -> np.ndarray:
    """Return labels of a callback as ``(N,)`` int64.

    Raises:
        ReidError: They are of another length or type, leave a number out, or make fewer than two
            identities.
    """
    found = np.asarray(labels)
    if found.dtype.kind not in "iu" or found.shape != (count,):
        raise ReidError(
            f"relabel: expected {count} whole numbers, one for each training image, got an array "
            f"of shape {found.shape} and {found.dtype}"
        )
    new = found.astype(np.int64)
    used = np.unique(new[new >= 0])
    if new.min(initial=0) < -1 or not np.array_equal(used, np.arange(len(used))):
        raise ReidError(
            "relabel: labels must count from 0 without a gap, -1 leaves an image out; got "
            f"{new.min()} to {new.max()} with {len(used)} different ones of 0 or more"
        )
    if len(used) < 2:
        raise ReidError(
            f"relabel: {len(used)} identities are left, with {int((new < 0).sum())} of {count} "
            "images left out; a training needs two. Make the clustering coarser or finer"
        )
    return new


def _renew_optimizer(training: Training) -> None:
    """Build the optimizer over the parameters of now; those that stay keep their state."""
    before = training.optimizer.state
    params, module = training.params.optimizer, training.module
    training.groups = parameter_groups(params, module.trained_parameters())
    training.optimizer = build_optimizer(params, training.groups)
    parameters = {p for members in training.groups.values() for _, p in members}
    for parameter, state in before.items():
        if isinstance(parameter, torch.Tensor) and parameter in parameters:
            training.optimizer.state[parameter] = state
