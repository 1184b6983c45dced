"""How much of what a network looks at beside the image is not known of the images to score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from reid_core.data.column_codes import ColumnCodes
from reid_core.errors import counted
from reid_core.evaluation.build_evaluator import build_evaluator
from reid_core.evaluation.targets import Targets
from reid_core.features.extraction import ModelUnderTest
from reid_core.params.schema import EvaluationEntry


def unknown_side_lines(
    entries: Sequence[EvaluationEntry], targets: Targets, model: ModelUnderTest
) -> Iterator[str]:
    """Yield a line for every target in use and column that the network looks at.

    A camera that no training image is from is unknown to the network, as one of another dataset is.

    Args:
        entries: The evaluators.
        targets: What they score.
        model: The network.
    """
    if not model.side_values:
        return
    splits: dict[str, set[str]] = {}
    for entry in entries:
        name = entry.target or next(iter(targets.entries))
        splits.setdefault(name, set()).update(build_evaluator(entry).splits)
    for name, used in splits.items():
        store, label = targets.store(name), targets.entries[name].label
        at = np.flatnonzero(np.isin(store.index.split, sorted(used)))
        for column, numbers in ColumnCodes(model.side_values).of_store(label, store, at).items():
            yield (
                f"target '{name}': the network looks at '{column}', which is unknown to it in "
                f"{int((numbers < 0).sum())} of {counted(len(at), 'image')}"
            )
