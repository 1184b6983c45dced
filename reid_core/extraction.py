"""From a store and a model to features; nothing is normalised here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from reid_core.console import progress_bar
from reid_core.contracts import Features, ModelOutput
from reid_core.errors import ReidError
from reid_core.images import Pipeline, evaluation_loader
from reid_core.store import Store


def extract(
    model: nn.Module,
    store: Store,
    split: str,
    pipeline: Pipeline,
    *,
    outputs: Iterable[str],
    classes: tuple[str, ...],
    meta: Mapping[str, Any],
    device: torch.device,
    batch_size: int,
    workers: int,
) -> Features:
    """Run the model in evaluation mode over one split of a store.

    Args:
        model: Maps ``(B, 3, H, W)`` to ``ModelOutput``; its mode is restored afterwards.
        store: Open store.
        split: Split of the store.
        pipeline: Preprocessing.
        outputs: Of ``"embedding"``, ``"feature"``, ``"logits"`` and ``"aux"``.
        classes: Identity of each logit.
        meta: Facts for the protocol card.
        device: Where the model is.
        batch_size: Images per batch.
        workers: Loader processes.

    Returns:
        Features of the N images of the split, in the order of the store.

    Raises:
        ReidError: The split is empty.
    """
    positions = store.index.positions(split)
    if len(positions) == 0:
        there = ", ".join(store.index.statistics())
        raise ReidError(f"{store.path}: no images in split '{split}' (splits: {there})")
    loader = evaluation_loader(store, positions, pipeline, batch_size=batch_size, workers=workers)
    chunks: dict[str, list[np.ndarray]] = {}
    was_training = model.training
    model.eval()
    with torch.inference_mode(), progress_bar(f"features of {split}") as tick:
        for done, images in enumerate(loader, 1):
            for name, tensor in _wanted(model(images.to(device)), set(outputs)):
                chunks.setdefault(name, []).append(tensor.float().cpu().numpy())
            tick(done, len(loader))
    model.train(was_training)
    values = {name: np.concatenate(parts) for name, parts in chunks.items()}
    return labelled(store, split, values, classes=classes, meta=meta)


def labelled(
    store: Store,
    split: str,
    values: Mapping[str, np.ndarray],
    *,
    classes: tuple[str, ...] = (),
    meta: Mapping[str, Any],
) -> Features:
    """Join values ``(N, D)`` of a split with what the store's index knows of its images."""
    index, at = store.index, store.index.positions(split)
    return Features(
        values=values,
        pids=index.pid[at],
        camids=index.camid[at],
        names=index.name[at],
        junk=index.junk[at],
        distractor=index.distractor[at],
        classes=classes,
        meta={**meta, "split": split, "images": len(at)},
    )


def _wanted(output: ModelOutput, outputs: set[str]) -> list[tuple[str, torch.Tensor]]:
    """Return the arrays asked for; logits are the mean over the classified branches."""
    found = []
    if "embedding" in outputs:
        found.append(("embedding", output.embedding))
    if "feature" in outputs:
        found.append(("feature", output.feature))
    if "logits" in outputs:
        if not output.logits:
            raise ReidError(
                "an evaluator needs logits, and this model has no classifier: train it with an "
                "ID loss such as 'softmax'"
            )
        found.append(("logits", torch.stack(list(output.logits.values())).mean(dim=0)))
    if "aux" in outputs:
        found += [(f"aux.{name}", value) for name, value in output.aux.items()]
    return found
