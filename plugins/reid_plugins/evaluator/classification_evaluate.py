"""Accuracy of the classifier on held-out images of the training identities.

For validation while training, and for data where the identities at test are those of
training. Re-identification proper, with new identities, is scored by ranking instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from reid_core import EvaluatorComponent, Params, ReidError, hookimpl
from reid_core.contracts import Features, Scores
from reid_core.limits import LARGEST_COUNT, LARGEST_SEED, MOST_DRAWS
from reid_evaluate.ranking import classification
from reid_evaluate.statistics.bootstrap import mean_interval

NAME = "classification_evaluate"


class ClassificationParams(Params):
    """What is reported; ``top1`` is always there."""

    topk: tuple[Annotated[int, Field(ge=1, le=LARGEST_COUNT)], ...] = Field(
        (1, 5),
        strict=False,  # a strict tuple would refuse the lists that JSON has
        min_length=1,
        description="Numbers k of best classes among which the right one is looked for, "
        "reported as top<k>; above the number of classes all classes count.",
    )
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="Seed of the bootstrap.")
    bootstrap_draws: int = Field(
        1000,
        ge=0,
        le=MOST_DRAWS,
        description="Resamplings of the images behind the 95 % intervals; 0: no intervals.",
    )


def classification_evaluate(splits: Mapping[str, Features], params: ClassificationParams) -> Scores:
    """Score the logits of the ``val`` split.

    Args:
        splits: ``"val"`` with ``values["logits"] (N, C)`` and C ``classes``.
        params: What to report.

    Returns:
        ``top1`` (primary), ``top<k>`` and ``balanced`` as fractions; the tables
        ``classes (C,)``, ``per_class_accuracy (C,)`` (NaN without images) and
        ``confusion (C, C)`` (right class by predicted class); per image ``rank`` of the
        right class, ``predicted`` pid, name, pid and camid.

    Raises:
        ReidError: The split or its logits are missing, classes and logits do not fit, a
            pid is no class, no image is left, or a logit is not finite.
    """
    val = splits.get("val")
    if val is None:
        raise ReidError(f"{NAME} needs the split 'val'; got {', '.join(splits) or 'none'}")
    logits = _checked_logits(val)
    kept = np.flatnonzero(~(np.asarray(val.junk) | np.asarray(val.distractor)))
    if not len(kept):
        raise ReidError(f"{NAME}: the val split has no images that are not junk or distractor")
    pids = np.asarray(val.pids, dtype=np.str_)[kept]
    targets = _targets(pids, val.classes)
    try:
        ranks = classification.target_ranks(logits[kept], targets)
        predicted = classification.predictions(logits[kept], targets)
    except ValueError as error:
        raise ReidError(f"{NAME}: {error}") from error
    classes = np.asarray(val.classes, dtype=np.str_)
    confusion = classification.confusion_matrix(targets, predicted, len(classes))
    protocol = protocol_of(val, len(kept), len(np.unique(targets)), params)
    return Scores(
        metrics=_metrics(ranks, confusion, params),
        primary="top1",
        protocol=protocol,
        card=card_of(protocol),
        intervals=_intervals(ranks, predicted == targets, targets, params),
        per_query={
            "rank": ranks,
            "predicted": classes[predicted],
            "name": np.asarray(val.names, dtype=np.str_)[kept],
            "pid": pids,
            "camid": np.asarray(val.camids, dtype=np.int64)[kept],
        },
        tables={
            "classes": classes,
            "per_class_accuracy": classification.per_class_accuracy(confusion),
            "confusion": confusion,
        },
    )


def _checked_logits(val: Features) -> npt.NDArray[Any]:
    """Return the logits if there is one column per class."""
    if "logits" not in val.values:
        raise ReidError(
            f"{NAME}: the val split has no output 'logits'; "
            f"it has {', '.join(val.values) or 'none'}"
        )
    logits = np.asarray(val.values["logits"])
    if logits.shape != (len(val), len(val.classes)):
        raise ReidError(
            f"{NAME}: logits of shape {logits.shape} do not fit "
            f"{len(val)} images and {len(val.classes)} classes"
        )
    return logits


def _targets(pids: npt.NDArray[Any], classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Return the position of each pid among the classes."""
    position = {name: i for i, name in enumerate(classes)}
    if len(position) < len(classes):
        raise ReidError(f"{NAME}: the class list names a class twice")
    strangers = sorted(set(pids.tolist()) - set(position))
    if strangers:
        more = ", ..." if len(strangers) > 5 else ""
        raise ReidError(
            f"{NAME}: {len(strangers)} pids of the val split are not among the "
            f"{len(classes)} classes of the model: {', '.join(strangers[:5])}{more}; "
            "the val split must hold training identities"
        )
    return np.array([position[pid] for pid in pids.tolist()], dtype=np.int64)


def _metrics(
    ranks: npt.NDArray[np.int64], confusion: npt.NDArray[np.int64], params: ClassificationParams
) -> dict[str, float]:
    """Return the numbers by name, ``top1`` first."""
    topk = {k: classification.topk_accuracy(ranks, k) for k in (1, *params.topk)}
    return {
        **{f"top{k}": accuracy for k, accuracy in topk.items()},
        "balanced": classification.balanced_accuracy(confusion),
    }


def _intervals(
    ranks: npt.NDArray[np.int64],
    right: npt.NDArray[np.bool_],
    targets: npt.NDArray[np.int64],
    params: ClassificationParams,
) -> dict[str, tuple[float, float]]:
    """Return bootstrap intervals over the images; those of ``balanced`` hold the classes' sizes."""
    if not params.bootstrap_draws:
        return {}
    values = {f"top{k}": ranks <= k for k in (1, *params.topk)}
    _, of_image, sizes = np.unique(targets, return_inverse=True, return_counts=True)
    share = len(right) / (len(sizes) * sizes[of_image])  # an image's weight in the balanced mean
    return mean_interval(
        {**values, "balanced": right * share}, draws=params.bootstrap_draws, seed=params.seed
    )


def protocol_of(
    val: Features, counted: int, classes_seen: int, params: ClassificationParams
) -> dict[str, Any]:
    """Return every choice and size behind the numbers as JSON values, see ``Scores``."""
    resampled = {"draws": params.bootstrap_draws, "seed": params.seed}
    return {
        "evaluator": NAME,
        "ties": "pessimistic",
        "left_out": ["junk", "distractor"],
        "output": "logits",
        "intervals": resampled if params.bootstrap_draws else None,
        "sizes": {
            "images_before": len(val),
            "images": counted,
            "classes": len(val.classes),
            "classes_with_images": classes_seen,
        },
        "made_up_names": ["val"] if val.names_are_made_up else [],
        "data": dict(val.meta),
    }


def card_of(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the protocol in words."""
    return {
        "evaluator": protocol["evaluator"],
        "accuracy": "top<k>: images whose class is among the min(k, classes) largest logits",
        "balanced": "mean accuracy of the classes that have images",
        "ties": classification.TIE_RULE,
        "junk_rule": f"images flagged {' or '.join(protocol['left_out'])} are left out",
        "output": protocol["output"],
        "flip": protocol["data"].get("flip", "none"),
        "postprocessing": "none",
        "intervals": (
            "95 % bootstrap over images, {draws} draws, seed {seed}; those of balanced hold the "
            "numbers of images of the classes".format(**protocol["intervals"])
            if protocol["intervals"]
            else "none"
        ),
        "sizes": protocol["sizes"],
        "data": protocol["data"] | ({"names": "row numbers"} if protocol["made_up_names"] else {}),
    }


def build(params: ClassificationParams) -> partial[Scores]:
    """Return the evaluator with its params."""
    return partial(classification_evaluate, params=params)


@hookimpl
def reid_evaluator() -> list[EvaluatorComponent]:
    """Offer ``classification_evaluate``."""
    return [
        EvaluatorComponent(
            name=NAME,
            build=build,
            params=ClassificationParams,
            summary="Top-k and balanced accuracy of the classifier on a val split",
            splits=("val",),
            outputs=("logits",),
        )
    ]
