"""From the features of a split, as the core hands them over, to images that can be compared.

Evaluators stand on it: ``vectors`` gives what a distance compares, ``keys`` compares it, and
``image_set`` gives what ``reid_evaluate.ranking`` ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from reid_core import ReidError
from reid_core.contracts import CAMID, Features, NamedPart
from reid_core.errors import name_list

if TYPE_CHECKING:
    from torch import Tensor

    from reid_evaluate.distances.comparison import Distance, Vectors
    from reid_evaluate.ranking.images import ImageSet

AUX = "aux."
"""Beginning of the names of the heads' values among those of ``Features``."""


def vectors(
    features: Features,
    output: str,
    distance: NamedPart[Distance],
    *,
    device: str = "cpu",
    split: str = "",
) -> Vectors:
    """Return the images of a split as a distance compares them, checked and prepared.

    ``keys`` then compares two such splits. ``junk`` and ``distractor`` are not in it: leave junk
    out before, by ``features.rows(~features.junk)``.

    Args:
        features: Of the split.
        output: Name of the vector in ``features.values``.
        distance: As the evaluator was given it.
        device: Where to compare, as the evaluator was given it.
        split: What messages call the split; default: as its ``meta`` does.

    Raises:
        ReidError: The split is empty, lacks the output or what the distance reads, or has vectors
            that are no numbers; the message names the split and what it has.
    """
    import torch

    from reid_evaluate.ranking.images import checked

    split = split or _name(features)
    images = image_set(features, output, distance, split=split)
    try:
        found = checked(split, images, torch.device(device)).vectors
    except ValueError as error:
        raise ReidError(str(error)) from error
    return distance.part.prepare(found)


def keys(query: Vectors, gallery: Vectors, distance: NamedPart[Distance]) -> Tensor:
    """Return the keys of every pair, ``(Q, G)`` float32 on the device of the vectors.

    The smaller a key, the nearer; ``distance.part.values`` turns keys into distances. They are
    held as a whole; ``reid_evaluate.ranking`` ranks a large gallery block by block.

    Args:
        query: From ``vectors``.
        gallery: Likewise, by the same distance.
        distance: As the evaluator was given it.

    Raises:
        ReidError: Their vectors differ in size or device.
    """
    import torch

    one, other = query.features, gallery.features
    if one.shape[1] != other.shape[1] or one.device != other.device:
        raise ReidError(
            f"the query has vectors of size {one.shape[1]} on {one.device} and the gallery of size "
            f"{other.shape[1]} on {other.device}; give both from one model, on one device"
        )
    out = torch.full((len(query), len(gallery)), float("nan"), device=one.device)
    distance.part.fill(query, gallery, out)
    return out


def image_set(
    features: Features,
    output: str,
    distance: NamedPart[Distance],
    *,
    columns: Iterable[str] = (),
    split: str = "",
) -> ImageSet:
    """Return the images of a split, to be compared by one of their vectors; see ``compare``.

    Args:
        features: Of the split.
        output: Name of the vector in ``features.values``.
        distance: As the evaluator was given it.
        columns: Columns that are needed beside those of the distance, e.g. by a junk rule.
        split: What messages call the split; default: as its ``meta`` does.

    Raises:
        ReidError: The split lacks the output, a column, or what the distance reads; the message
            names the split and what it has.
    """
    from reid_evaluate.ranking.images import ImageSet

    aux = {n.removeprefix(AUX): v for n, v in features.values.items() if n.startswith(AUX)}
    there = {**features.columns, CAMID: features.camids}
    split, of_distance = split or _name(features), f"that the distance '{distance.name}' reads,"
    _need(split, "output", [output], features.values)
    _need(split, f"value of a head {of_distance}", distance.aux, aux)
    _need(split, f"column {of_distance}", distance.columns, there)
    _need(split, "column", columns, there)
    return ImageSet(
        features=features.values[output],
        pids=features.pids,
        camids=features.camids,
        names=features.names,
        junk=features.junk,
        distractor=features.distractor,
        aux={name: aux[name] for name in distance.aux},
        columns={name: there[name] for name in (*distance.columns, *columns)},
    )


def _need(split: str, what: str, names: Iterable[str], there: Mapping[str, Any]) -> None:
    for name in names:
        if name not in there:
            raise ReidError(f"the {split} split has no {what} '{name}'; it has {name_list(there)}")


def _name(features: Features) -> str:
    """Return what messages call a split."""
    return str(features.meta.get("split", features.meta.get("file", "given")))
