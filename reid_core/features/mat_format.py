"""The MATLAB files of Person_reID_baseline_pytorch: what their variables mean.

``pytorch_result.mat`` holds ``query_f (N, D)``, ``query_label (1, N)``, ``query_cam (1, N)`` and
the same of the gallery; ``multi_query.mat`` holds ``mquery_f``, ``mquery_label``, ``mquery_cam``.
Whatever else a split has of whole numbers, ``query_clothes (1, N)``, is a column.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from reid_core.errors import name_list
from reid_core.mat_file import Variable

PREFIX = {"query": "query", "gallery": "gallery", "multi_query": "mquery"}
"""How the variables of a split begin."""


def arrays_of_split(variables: Mapping[str, Variable], split: str) -> dict[str, np.ndarray]:
    """Return the arrays of a features file for one split.

    Label -1 is junk and label 0 a distractor; every label is a pid as well. The vectors are
    what that repository ranks by, so they are the embedding.

    Raises:
        ValueError: A variable is missing or is not what it must be, or there is no such split.
    """
    if split not in PREFIX:
        raise ValueError(f"a MATLAB file has the splits {', '.join(PREFIX)}, not '{split}'")
    found = {}
    for part, convert in PARTS.items():
        name = f"{PREFIX[split]}_{part}"
        if name not in variables:
            raise ValueError(f"'{name}' is missing (found: {name_list(variables)})")
        try:
            found[part] = convert(variables[name].array())
        except ValueError as error:
            raise ValueError(f"'{name}' {error}") from None
        if len(found[part]) != len(found["f"]):
            raise ValueError(
                f"'{name}' has {len(found[part])} values for {len(found['f'])} rows of vectors"
            )
    labels = found["label"]
    return _columns(variables, split, len(found["f"])) | {
        "values.embedding": found["f"],
        "pids": labels.astype(np.str_),
        "camids": found["cam"],
        "junk": labels == -1,
        "distractor": labels == 0,
    }


def _columns(variables: Mapping[str, Variable], split: str, count: int) -> dict[str, np.ndarray]:
    """Return the further whole numbers of a split's images; other variables are none of ours."""
    prefix, found = f"{PREFIX[split]}_", {}
    for name in variables:
        column = name.removeprefix(prefix)
        if name.startswith(prefix) and column not in PARTS:
            with suppress(ValueError):
                numbers = _whole_numbers(variables[name].array())
                if len(numbers) == count:
                    found[f"columns.{column}"] = numbers
    return found


def _vectors(array: np.ndarray) -> np.ndarray:
    """Return an array that is ``(N, D)`` floats.

    Raises:
        ValueError: It is something else.
    """
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ValueError(f"must be (N, D) floats, got {array.dtype} of shape {array.shape}")
    return array


def _whole_numbers(array: np.ndarray) -> np.ndarray:
    """Return the whole numbers of one row or column; MATLAB has no other vectors.

    Raises:
        ValueError: It is something else.
    """
    if array.ndim != 2 or 1 not in array.shape:
        raise ValueError(f"must be 1 x N, got {' x '.join(map(str, array.shape))}")
    row = array.ravel()
    with np.errstate(invalid="ignore"):  # what is no int64 differs afterwards
        whole = row.astype(np.int64)
    if not np.array_equal(whole, row) or (whole < -1).any():
        raise ValueError("must be whole numbers, -1 or larger")
    return whole


PARTS = {"f": _vectors, "label": _whole_numbers, "cam": _whole_numbers}
"""What every split has, and what makes it the type that it must have."""
