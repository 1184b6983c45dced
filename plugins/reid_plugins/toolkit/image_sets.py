"""From the features of a split, as the core hands them over, to images that can be compared.

Evaluators stand on it: ``vectors`` gives what a distance compares, ``image_set`` what
``reid_evaluate.ranking`` ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from reid_core import ReidError
from reid_core.contracts import CAMID, Features, NamedPart
from reid_core.errors import name_list

if TYPE_CHECKING:
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

    ``distance.part.fill(query, gallery, out)`` then writes the keys of two such splits,
    ``(Q, G)`` float32, and ``distance.part.values`` turns them into distances.

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
