"""From a store and a model to features; nothing is normalised here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reid_core.console import progress_bar
from reid_core.contracts import Features, ModelOutput
from reid_core.data.images import Pipeline, evaluation_loader
from reid_core.data.store import Store
from reid_core.errors import ReidError
from reid_core.features.test_time_averaging import averaged, averaging_facts
from reid_core.params.schema import ExtractionParams


def extract(
    model: nn.Module,
    store: Store,
    split: str,
    pipeline: Pipeline,
    *,
    extraction: ExtractionParams,
    outputs: Iterable[str],
    classes: tuple[str, ...],
    meta: Mapping[str, Any],
    device: torch.device,
    batch_size: int,
    workers: int,
    at: np.ndarray | None = None,
) -> Features:
    """Run the model in evaluation mode over one split of a store.

    Args:
        model: Maps ``(B, 3, H, W)`` to ``ModelOutput``; its mode is restored afterwards.
        store: Open store.
        split: Split of the store.
        pipeline: Preprocessing.
        extraction: Test-time averaging; it is noted in ``meta``.
        outputs: Of ``"embedding"``, ``"feature"``, ``"logits"`` and ``"aux"``.
        classes: Identity of each logit.
        meta: Facts for the protocol card.
        device: Where the model is.
        batch_size: Images per batch.
        workers: Loader processes.
        at: Positions in the store, for some images of the split; default: all.

    Returns:
        Features of the N images, in the order of the store.

    Raises:
        ReidError: The split is empty, or an output that is asked for is not there or has no
            mean over the scales.
    """
    positions = store.index.positions(split) if at is None else at
    if len(positions) == 0:
        there = ", ".join(store.index.statistics())
        raise ReidError(f"{store.path}: no images in split '{split}' (splits: {there})")
    wanted = set(outputs)

    def run(images: Tensor) -> dict[str, Tensor]:
        return _wanted(model(images), wanted)

    loader = evaluation_loader(store, positions, pipeline, batch_size=batch_size, workers=workers)
    chunks: dict[str, list[np.ndarray]] = {}
    was_training = model.training
    model.eval()
    with torch.inference_mode(), progress_bar(f"features of {split}") as tick:
        for done, images in enumerate(loader, 1):
            for name, tensor in averaged(run, images.to(device), extraction).items():
                chunks.setdefault(name, []).append(tensor.cpu().numpy())
            tick(done, len(loader))
    model.train(was_training)
    values = {name: np.concatenate(parts) for name, parts in chunks.items()}
    meta = {**meta, **averaging_facts(extraction)}
    return labelled(store, split, values, classes=classes, meta=meta, at=positions)


def labelled(
    store: Store,
    split: str,
    values: Mapping[str, np.ndarray],
    *,
    classes: tuple[str, ...] = (),
    meta: Mapping[str, Any],
    at: np.ndarray | None = None,
) -> Features:
    """Join values ``(N, D)`` of a split with what the store's index knows of its images."""
    index = store.index
    at = index.positions(split) if at is None else at
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


def _wanted(output: ModelOutput, outputs: set[str]) -> dict[str, Tensor]:
    """Return the arrays asked for; logits are the mean over the classified branches."""
    vectors = {"embedding": output.embedding, "feature": output.feature}
    found = {name: vector for name, vector in vectors.items() if name in outputs}
    if "logits" in outputs:
        if not output.logits:
            raise ReidError(
                "an evaluator needs logits, and this model has no classifier: train it with an "
                "ID loss such as 'softmax'"
            )
        found["logits"] = torch.stack(list(output.logits.values())).mean(dim=0)
    if "aux" in outputs:
        found |= {f"aux.{name}": value for name, value in output.aux.items()}
    return found
