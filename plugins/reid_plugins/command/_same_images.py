"""Whether two saved scores are of the same queries and gallery images, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reid_evaluate.statistics.saved import Saved

Names = npt.NDArray[Any]


def same_rows(a: Saved, b: Saved) -> bool:
    """Say whether the queries of both have no names and, by pid and camera, are the same rows."""
    return all("query" in saved.protocol.get("made_up_names", ()) for saved in (a, b)) and all(
        np.array_equal(a.arrays[column], b.arrays[column]) for column in ("pid", "camid")
    )


def check_same_gallery(a: Saved, b: Saved) -> None:
    """Refuse scores over different gallery images, as far as they were saved.

    Raises:
        ValueError: It says how many are in one alone, and which for example.
    """
    if any("gallery" in saved.protocol.get("made_up_names", ()) for saved in (a, b)):
        counts = [saved.protocol.get("sizes", {}).get("gallery_before") for saved in (a, b)]
        if None not in counts and counts[0] != counts[1]:
            raise ValueError(
                f"the galleries have {counts[0]} images in A and {counts[1]} in B; score both on "
                "the same data"
            )
    elif a.gallery is not None and b.gallery is not None:
        one, other = (np.char.decode(names, "utf-8") for names in (a.gallery, b.gallery))
        if not np.array_equal(np.sort(one), np.sort(other)):
            places_of(one, other, "gallery images")


def places_of(names: Names, others: Names, what: str) -> npt.NDArray[np.intp]:
    """Return where each name stands among the others.

    Where none is the same, those of the files count, without their folders.

    Args:
        names: ``(N,)`` strings.
        others: ``(M,)`` strings.
        what: What they are names of, for messages.

    Raises:
        ValueError: They are not one set, or one is given twice.
    """
    if not len(np.intersect1d(names, others)):
        files = [
            np.array([n.rpartition("/")[2] for n in part.tolist()]) for part in (names, others)
        ]
        if not any(map(_repeated, files)):
            names, others = files
    for array, run in ((names, "A"), (others, "B")):
        if repeated := _repeated(array):
            raise ValueError(f"{repeated} {what} of {run} have a name that another one has")
    missing = [np.setdiff1d(names, others), np.setdiff1d(others, names)]
    texts = [
        f"{len(only)} are in {run} only, e.g. '{only[0]}'"
        for only, run in zip(missing, "AB", strict=True)
        if len(only)
    ]
    if texts:
        raise ValueError(
            f"the runs were not scored on the same {what} ({len(names)} in A, {len(others)} in "
            f"B): {'; '.join(texts)}; score both on the same data"
        )
    places = np.empty(len(names), dtype=np.intp)
    places[np.argsort(names)] = np.argsort(others)
    return places


def _repeated(names: Names) -> int:
    return len(names) - len(np.unique(names))
