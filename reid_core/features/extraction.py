"""From a store and a model to features; nothing is normalised here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reid_core.compute.faults import computing
from reid_core.console import progress_bar
from reid_core.contracts import CAMID, Classes, Features, ModelOutput, SideValues
from reid_core.data.column_codes import ColumnCodes
from reid_core.data.loaders import evaluation_loader
from reid_core.data.transforms import Pipeline
from reid_core.errors import ReidError, name_list
from reid_core.features.averaging import averaged, averaging_facts
from reid_core.params.schema import ExtractionParams
from reid_core.storage.store import Store

Side = Mapping[str, Tensor]
"""``(B,)`` int64 by column, as a network takes it."""


def _nobody_knows(images: Tensor, side: Side) -> ReidError:
    return ReidError("the network gives vectors that are NaN or infinite")


@dataclass(frozen=True)
class ModelUnderTest:
    """A model with all that extraction needs beside the images.

    Attributes:
        module: Maps ``(B, 3, H, W)`` and columns by name to ``ModelOutput``.
        pipeline: Preprocessing.
        extraction: Test-time averaging.
        classes: (dataset, pid) of each logit.
        device: Where the module is.
        batch_size: Images per batch.
        workers: Loader processes.
        name: For the protocol card.
        side_values: Columns that it looks at, with what their numbers stand for.
        not_finite: Returns the error of images whose vectors are NaN or infinite.
    """

    module: nn.Module
    pipeline: Pipeline
    extraction: ExtractionParams
    classes: Classes
    device: torch.device
    batch_size: int
    workers: int
    name: str
    side_values: SideValues = field(default_factory=dict)
    not_finite: Callable[[Tensor, Side], ReidError] = _nobody_knows


def extract(
    model: ModelUnderTest,
    store: Store,
    split: str,
    outputs: Iterable[str],
    *,
    classes: tuple[str, ...],
    meta: Mapping[str, Any],
    at: np.ndarray | None = None,
    label: str = "",
    columns: Iterable[str] = (),
) -> Features:
    """Run the model in evaluation mode over one split of a store.

    Args:
        model: The network, whose mode is restored afterwards, and how it is fed.
        store: Open store.
        split: Split of the store.
        outputs: Of ``"embedding"``, ``"feature"``, ``"logits"`` and ``"aux.<name>"``.
        classes: Identity of each logit, as the store spells it.
        meta: Facts for the protocol card.
        at: Positions in the store, for some images of the split; default: all.
        label: The dataset's name in the run, by which the model knows its cameras.
        columns: Names of the columns that come with the images.

    Returns:
        Features of the N images, in the order of the store.

    Raises:
        ReidError: The split is empty, an output that is asked for is not there or has no mean
            over the scales, the store lacks a column, or the first vectors are NaN or infinite.
    """
    positions = store.index.positions(split) if at is None else at
    if len(positions) == 0:
        there = ", ".join(store.index.statistics())
        raise ReidError(f"{store.path}: no images in split '{split}' (splits: {there})")
    side = ColumnCodes(model.side_values).of_store(label, store, positions)
    values = _values(model, store, positions, side, set(outputs), f"features of {split}")
    facts = {**meta, "model": model.name, **averaging_facts(model.extraction)}
    return labelled(
        store, split, values, classes=classes, meta=facts, at=positions, columns=columns
    )


def blank_values(model: ModelUnderTest, outputs: Iterable[str]) -> dict[str, np.ndarray]:
    """Return what the model says of one blank image, ``(1, ...)`` by name; see ``extract``.

    Raises:
        ReidError: An output that is asked for is not there, or vectors are NaN or infinite.
    """
    height, width = model.pipeline.input_size()
    was_training = model.module.training
    model.module.eval()
    what = f"a blank image of {height} x {width} pixels"
    with torch.inference_mode(), computing(what):
        images = torch.zeros(1, 3, height, width, device=model.device)
        found = _wanted(model.module(images, {}), set(outputs))
        if not _are_finite(found):
            raise model.not_finite(images, {})
    model.module.train(was_training)
    return {name: tensor.float().cpu().numpy() for name, tensor in found.items()}


def _values(
    model: ModelUnderTest,
    store: Store,
    positions: np.ndarray,
    side: Mapping[str, np.ndarray],
    outputs: set[str],
    label: str,
) -> dict[str, np.ndarray]:
    """Return the arrays asked for ``(N, ...)`` of the images at some positions."""
    loader = evaluation_loader(
        store, positions, model.pipeline, batch_size=model.batch_size, workers=model.workers
    )
    columns = {name: torch.from_numpy(numbers) for name, numbers in side.items()}
    chunks: dict[str, list[np.ndarray]] = {}
    was_training, start = model.module.training, 0
    model.module.eval()
    with torch.inference_mode(), progress_bar(label) as tick:
        for done, images in enumerate(loader, 1):
            rows = slice(start, start := start + len(images))
            of_batch = {name: column[rows].to(model.device) for name, column in columns.items()}
            height, width = images.shape[-2:]
            with computing(f"{label}, on {len(images)} images of {height} x {width} pixels"):
                found = _of_batch(
                    model, images.to(model.device), of_batch, outputs, is_first=done == 1
                )
                for name, tensor in found.items():
                    chunks.setdefault(name, []).append(tensor.cpu().numpy())
            tick(done, len(loader))
    model.module.train(was_training)
    return {name: np.concatenate(parts) for name, parts in chunks.items()}


def _of_batch(
    model: ModelUnderTest, images: Tensor, side: Side, outputs: set[str], *, is_first: bool
) -> dict[str, Tensor]:
    """Return what is asked for of a batch, averaged; of the first one, see that it is numbers."""

    def run(version: Tensor) -> dict[str, Tensor]:
        return _wanted(model.module(version, side), outputs)

    found = averaged(run, images, model.extraction)
    if is_first and not _are_finite(found):
        raise model.not_finite(images, side)
    return found


def _are_finite(found: Mapping[str, Tensor]) -> bool:
    """Return whether the vectors among some outputs are numbers."""
    vectors = [found[name] for name in ("embedding", "feature", "logits") if name in found]
    return all(bool(torch.isfinite(vector).all()) for vector in vectors)


def labelled(
    store: Store,
    split: str,
    values: Mapping[str, np.ndarray],
    *,
    classes: tuple[str, ...] = (),
    meta: Mapping[str, Any],
    at: np.ndarray | None = None,
    columns: Iterable[str] = (),
) -> Features:
    """Join values ``(N, D)`` of a split with what the store's index knows of its images.

    Raises:
        ReidError: The store has not one of the columns asked for.
    """
    index = store.index
    at = index.positions(split) if at is None else at
    there = {**index.columns, CAMID: index.camid}
    if missing := sorted(set(columns) - there.keys()):
        name = meta.get("dataset", store.path)
        raise ReidError(
            f"the images of split '{split}' of '{name}' have no column '{missing[0]}' (columns: "
            f"{name_list(there)})"
        )
    return Features(
        values=values,
        pids=index.pid[at],
        camids=index.camid[at],
        names=index.name[at],
        junk=index.junk[at],
        distractor=index.distractor[at],
        classes=classes,
        meta={**meta, "split": split, "images": len(at)},
        columns={name: there[name][at] for name in columns},
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
    aux = {f"aux.{name}": value for name, value in output.aux.items()}
    wanted = {name for name in outputs if name.startswith("aux.")}
    if missing := wanted - aux.keys():
        raise ReidError(
            f"an evaluator needs the value '{min(missing).removeprefix('aux.')}' of a head; the "
            f"heads of this model give {name_list(output.aux)}"
        )
    return found | {name: aux[name] for name in wanted}
