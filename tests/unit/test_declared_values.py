"""What a component is handed by name: what it has declared, and a word about all else."""

import pickle

import numpy as np
import pytest
import torch

from reid_core.contracts import Batch, Features
from reid_core.declared_values import Declared, NotDeclaredError

THERE = {"time": np.arange(3), "clothes": np.arange(3), "view": np.arange(3)}


def declared(*names):
    return Declared(THERE, names, "columns", "EvaluatorComponent")


def test_only_what_is_declared_is_there():
    found = declared("clothes", "time")
    assert list(found) == ["clothes", "time"]
    assert found["clothes"] is THERE["clothes"]
    assert ("view" in found, found.get("view")) == (False, None)


@pytest.mark.parametrize(("names", "spelt"), [((), "none"), (("time", "clothes"), "clothes, time")])
def test_a_miss_says_what_to_add(names, spelt):
    with pytest.raises(KeyError) as caught:
        declared(*names)["view"]
    assert str(caught.value) == (
        "'view' is not declared; add columns=(\"view\",) to the EvaluatorComponent "
        f"(declared: {spelt})"
    )


def test_what_is_declared_and_not_there_is_told_apart():
    with pytest.raises(NotDeclaredError, match="'track' is declared, and these images do not have"):
        declared("track")["track"]


def test_it_survives_pickling_rows_and_a_device():
    flags = np.zeros(3, dtype=bool)
    columns = declared("time")
    features = Features({}, flags, flags, flags, flags, flags, columns=columns)
    numbers = torch.arange(3)
    coded = Declared({"time": numbers}, ["time"], "columns", "LossComponent")
    batch = Batch(numbers, numbers, numbers, numbers, numbers, coded)
    for found in (
        pickle.loads(pickle.dumps(columns)),
        features.rows(np.arange(3)).columns,
        batch.to(torch.device("cpu")).columns,
    ):
        assert found["time"].tolist() == [0, 1, 2]
        with pytest.raises(NotDeclaredError, match="'view' is not declared"):
            found["view"]
