"""The losses of pytorch-metric-learning as losses of the core: lookup, checks and calls."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reid_core.contracts import LossInput, LossOutput, Progress
from reid_core.errors import ReidError, did_you_mean, name_list
from reid_plugins.loss._metric_learning_part import Part

LIBRARY = "pytorch_metric_learning"

KINDS = {
    "loss": ("losses", "BaseMetricLossFunction"),
    "miner": ("miners", "BaseMiner"),
    "distance": ("distances", "BaseDistance"),
    "reducer": ("reducers", "BaseReducer"),
    "regularizer": ("regularizers", "BaseRegularizer"),
}
"""Module of the library and base class, by the word for it."""

NESTED = {
    "distance": "distance",
    "reducer": "reducer",
    "embedding_regularizer": "regularizer",
    "weight_regularizer": "regularizer",
}
"""Arguments that are objects of the library, and their kinds."""

REFUSED = {
    "losses": {
        "GenericPairLoss": "it is only the base of other losses",
        "CrossBatchMemory": "checkpoints would not hold how far its queue is filled",
        "DynamicSoftMarginLoss": "checkpoints would not hold its histogram, and opposite vectors "
        "lie outside of it",
        "HistogramLoss": "it indexes in a way that PyTorch gives another meaning",
        "InstanceLoss": "it takes the number of an identity for a position in the batch; use "
        "the loss 'instance'",
        "ManifoldLoss": "it takes no identities",
        "MultipleLosses": "write an entry of the list 'loss' for each",
        "NPairsLoss": "its pairs depend on the order of the images; 'NTXentLoss' takes all pairs",
        "P2SGradLoss": "it divides by the length of each vector, which may be 0",
        "SelfSupervisedLoss": "it compares two views of each image, and there is one",
        "SignalToNoiseRatioContrastiveLoss": "it divides by the variance of the values of each "
        "vector, which may be 0",
        "SmoothAPLoss": "it needs equally many images per identity, sorted; 'FastAPLoss' does not",
        "VICRegLoss": "it compares two views of each image, and there is one",
    },
    "miners": {
        "EmbeddingsAlreadyPackagedAsTriplets": "it needs a batch in a fixed order",
    },
    "distances": {
        "BatchedDistance": "it returns nothing that a loss could use",
        "SNRDistance": "it divides by the variance of the values of each vector, which may be 0",
    },
    "reducers": {
        "ClassWeightedReducer": "it needs a weight for every identity",
        "DoNothingReducer": "the result must be one number",
        "MultipleReducers": "the one reducer given is used for all parts of a loss",
    },
    "regularizers": {},
}
"""Classes that do not keep what a loss promises, with the reason, by module of the library."""

HIDDEN = frozenset(
    {"collect_stats", "weight_init_func", "aggregation_func", "mat_based_loss", "is_inverted"}
)
"""Arguments that nobody can use from JSON: functions, statistics unread, what a class fixes."""

COSINE_LIMIT = 1 - 1e-6
"""The largest absolute cosine: at 1 the angle's derivative is infinite."""


class MetricLearningLoss(nn.Module):
    """A loss of the library, and its miner.

    Attributes:
        loss: Of the library; its parameters are those of this loss.
        miner: Of the library, or None.
    """

    def __init__(self, loss: nn.Module, miner: nn.Module | None) -> None:
        """Guard the loss against what would make a value or a gradient NaN."""
        super().__init__()
        self.loss, self.miner = loss, miner
        cosine, mean = (
            _exported(kind)[name]
            for kind, name in (("distance", "CosineSimilarity"), ("reducer", "MeanReducer"))
        )
        for module in loss.modules():
            if isinstance(module, cosine):
                module.register_forward_hook(_below_one)
            elif isinstance(module, mean):
                module.register_forward_hook(_zero_of_nothing)

    def forward(self, x: LossInput) -> LossOutput:
        """Return the library's value; the monitors are the numbers of what was mined."""
        if self.miner is None:
            return LossOutput(self.loss(x.features, x.pids))
        mined = self.miner(x.features, x.pids)  # (anchors, positives[, anchors], negatives)
        if len(mined) == 3:
            counts = {"mined_triplets": mined[0]}
        else:
            counts = {"mined_positives": mined[0], "mined_negatives": mined[2]}
        # The library has waited for these lengths already.
        monitors = {name: x.features.new_full((), len(rows)) for name, rows in counts.items()}
        return LossOutput(self.loss(x.features, x.pids, mined), monitors)


def _below_one(distance: nn.Module, args: tuple[Any, ...], cosine: Tensor) -> Tensor:
    """Keep cosines ``(B, B)`` away from 1 and -1."""
    return cosine.clamp(-COSINE_LIMIT, COSINE_LIMIT)


def _zero_of_nothing(reducer: Any, args: tuple[Any, ...], value: Tensor) -> Tensor:
    """Replace the mean over no value, which is NaN, by an attached 0."""
    (part,) = args[0].values()
    losses, features = part["losses"], args[1]
    if isinstance(losses, Tensor) and losses.numel() == 0:
        value = reducer.zero_loss(features)
    return value


def build_metric_learning(
    loss: Part, miner: Part | None, beside: Mapping[str, Part], dim: int, num_pids: int
) -> MetricLearningLoss:
    """Build the loss of the params and try it on random vectors.

    Args:
        loss: Name and arguments of the loss, not yet compared with the library.
        miner: Likewise of the miner, if any.
        beside: What stands beside both: objects for the arguments in ``NESTED``, by their names.
        dim: Size of the vectors.
        num_pids: Number of identities.

    Raises:
        ReidError: The library is not installed, has no such class or argument, or the parts do
            not go together.
    """
    misplaced = sorted(NESTED.keys() & loss.params.keys())
    if misplaced:
        raise _error(f"loss.params.{misplaced[0]}", "write it beside 'loss', not in its params")
    known = {"num_classes": num_pids, "embedding_size": dim}
    # Also where the core builds on the meta device: the library computes while it builds.
    with torch.device("cpu"):
        made = _make("loss", "loss", loss.name, {**loss.params, **beside}, known)
        made_miner = None
        if miner is not None:
            shared = {"distance": beside["distance"]} if "distance" in beside else {}
            made_miner = _make("miner", "miner", miner.name, {**shared, **miner.params}, known)
        result = MetricLearningLoss(made, made_miner)
        others = [miner, *(beside.get(name) for name in NESTED)]
        _try(result, loss.name, [part.name for part in others if part], dim, num_pids)
    return result


def offered(kind: str) -> dict[str, type[Any]]:
    """Return the classes of a kind that params may name, by their names."""
    module, base_name = KINDS[kind]
    exported = _exported(kind)
    base = exported[base_name]
    return {
        name: found
        for name, found in sorted(exported.items())
        if inspect.isclass(found)
        and issubclass(found, base)
        and found is not base
        and name not in REFUSED[module]
    }


def constructor_arguments(found: type[Any]) -> dict[str, bool]:
    """Return the arguments of a class by name, and whether each must be given.

    The library's constructors hand on to their base classes what they do not name themselves.
    """
    arguments: dict[str, bool] = {}
    for owner in found.__mro__:
        init = vars(owner).get("__init__")
        if init is None:
            continue
        _self, *parameters = inspect.signature(init).parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                arguments.setdefault(parameter.name, parameter.default is parameter.empty)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return {name: required for name, required in arguments.items() if name not in HIDDEN}


def _make(
    place: str, kind: str, name: str, given: Mapping[str, Any], known: Mapping[str, int]
) -> nn.Module:
    """Build an object of the library at ``place`` in the params, and the objects within."""
    found = _find(f"{place}.name", kind, name)
    arguments = constructor_arguments(found)
    values: dict[str, Any] = {key: n for key, n in known.items() if arguments.get(key)}
    for key, value in given.items():
        # The objects within the loss stand beside it.
        at = key if place == "loss" and key in NESTED else f"{place}.params.{key}"
        if key in known:
            raise _error(at, "is filled in; leave it out")
        if key not in arguments:
            close = did_you_mean(key, arguments)
            listed = name_list(arguments.keys() - known.keys())
            raise _error(at, f"'{name}' takes no '{key}'{close} (it takes: {listed})")
        if isinstance(value, Part) != (key in NESTED):
            wanted = "an object with 'name' and 'params'" if key in NESTED else "a plain value"
            raise _error(at, f"must be {wanted}")
        nested = isinstance(value, Part)
        values[key] = _make(at, NESTED[key], value.name, value.params, known) if nested else value
    missing = [key for key, required in arguments.items() if required and key not in values]
    if missing:
        raise _error(f"{place}.params", f"'{name}' must be given {name_list(missing)}")
    try:
        with warnings.catch_warnings():
            # How the library calls others is no business of the user's.
            warnings.simplefilter("ignore", DeprecationWarning)
            made: nn.Module = found(**values)
    except Exception as error:
        raise _error(f"{place}.params", f"'{name}' refuses them: {_told(error)}") from error
    return made


def _find(place: str, kind: str, name: str) -> type[Any]:
    """Return the class of a name."""
    module, _ = KINDS[kind]
    if name in REFUSED[module]:
        raise _error(place, f"'{name}' cannot be used: {REFUSED[module][name]}")
    classes = offered(kind)
    if name not in classes:
        close = did_you_mean(name, classes) or f"; there are {name_list(classes, len(classes))}"
        raise _error(place, f"no {kind} '{name}' in {LIBRARY}.{module}{close}")
    return classes[name]


def _exported(kind: str) -> dict[str, Any]:
    """Return what the library's module of a kind exports, by name."""
    try:
        return vars(importlib.import_module(f"{LIBRARY}.{KINDS[kind][0]}"))
    except ModuleNotFoundError as error:
        raise ReidError(
            f"loss 'metric_learning' cannot import '{error.name}'; install the library with "
            'pip install "reid-core[metric-learning]"'
        ) from error


def _try(loss: MetricLearningLoss, name: str, others: list[str], dim: int, num_pids: int) -> None:
    """Refuse parts that do not go together, which the library only notices when it is called."""
    features = torch.randn(8, dim, generator=torch.Generator().manual_seed(0))
    pids = torch.arange(8) // 4 % num_pids
    start = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)
    together = f"'{name}'" + (f" with {', '.join(others)}" if others else "")
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            value = loss(LossInput(features, pids, pids, start)).value
    except Exception as error:
        raise _error(
            "loss", f"{together} cannot be used with these params: {_told(error)}"
        ) from error
    if value.shape != () or not value.isfinite():
        raise _error(
            "loss", f"{together} gives {value.tolist()} for random vectors; change the params"
        )


def _told(error: Exception) -> str:
    """Return kind and text of another library's error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _error(place: str, problem: str) -> ReidError:
    """Return the error of a place in the params."""
    return ReidError(f"loss 'metric_learning', params.{place}: {problem}")
