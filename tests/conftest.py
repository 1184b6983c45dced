"""Fixtures that every test may use."""

import pytest

from reid_core.catalog import load_catalog


@pytest.fixture(scope="session")
def catalog():
    """Everything that is installed; nobody may change it."""
    return load_catalog()


@pytest.fixture
def tiny_params(tmp_path):
    """A fresh params.json as a dict: a few drawn people, a small network, two epochs."""
    people = {
        "train_identities": 6,
        "test_identities": 4,
        "cameras": 2,
        "distractors": 2,
        "junk": 2,
        "height": 32,
        "width": 16,
    }
    return {
        "data": {"train": [{"name": "synthetic_market", "params": people}]},
        "backbone": {"name": "resnet18", "params": {"pretrained": "none"}},
        "head": [{"name": "global"}],
        "loss": [{"name": "softmax"}, {"name": "triplet"}],
        "sampler": {"name": "class_balanced", "params": {"P": 3, "K": 2}},
        "augmentation": [
            {"name": "resize", "params": {"height": 32, "width": 16}},
            {"name": "flip"},
            {"name": "normalize"},
        ],
        "optimizer": {"name": "adam", "lr": 0.001},
        "train": {"epochs": 2, "seed": 0, "device": "cpu"},
        "evaluation": [{"name": "market_evaluate"}],
        "working_dir": str(tmp_path / "runs"),
    }
