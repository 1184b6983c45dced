"""Right files for the fuzzer: those of a small run and small features, and when two are equal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reid_core import BackboneComponent, hookimpl

if TYPE_CHECKING:
    from reid_core.catalog import Catalog
    from reid_core.run_directory import RunDirectory

PARAMS: dict[str, Any] = {
    "data": {
        "train": [
            {
                "name": "synthetic_market",
                "params": {
                    "train_identities": 4,
                    "test_identities": 3,
                    "cameras": 2,
                    "distractors": 1,
                    "junk": 1,
                    "height": 32,
                    "width": 16,
                },
            }
        ]
    },
    "backbone": {"name": "small"},
    "head": [{"name": "global"}],
    "loss": [{"name": "softmax"}, {"name": "triplet"}],
    "sampler": {"name": "class_balanced", "params": {"P": 2, "K": 2}},
    "augmentation": [
        {"name": "resize", "params": {"height": 16, "width": 16}},
        {"name": "normalize"},
    ],
    "optimizer": {"name": "adam", "lr": 0.001},
    "train": {"epochs": 1, "device": "cpu"},
    "evaluation": [{"name": "market_evaluate"}],
    "logger": [],
    "working_dir": "runs",
}


class SmallBackbonePlugin:
    """Offers the backbone ``small``: one convolution and a BN, whose files are quickly read."""

    @hookimpl
    def reid_backbone(self) -> list[BackboneComponent]:
        """Offer it."""
        return [BackboneComponent(name="small", build=lambda _: _small_network(), summary="-")]


def _small_network() -> Any:
    from torch import nn

    from reid_core.contracts import FeatureMap

    class Small(nn.Module):
        out_channels, stride = 4, 16

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 4, 16, stride=16), nn.BatchNorm2d(4)

        def forward(self, images: Any, side: Any = None) -> FeatureMap:
            return FeatureMap(self.bn(self.conv(images)))

    return Small()


def fuzz_catalog() -> Catalog:
    """Return what is installed, and the backbone ``small``."""
    from reid_core.discovery import load_catalog

    return load_catalog([SmallBackbonePlugin()])


def small_run(folder: Path) -> RunDirectory:
    """Train a small network on a few drawn people in a folder."""
    from reid_core.params.validation import check_run_params
    from reid_core.runs.start_and_resume import start_train

    catalog = fuzz_catalog()
    params = check_run_params({**PARAMS, "working_dir": str(folder / "runs")}, catalog, "fuzz")
    return start_train(params, catalog, "first")


def small_features(folder: Path) -> list[Path]:
    """Write features of eight images in every format that we write."""
    from reid_core.contracts import Features
    from reid_core.features.feature_files import save_features

    rng = np.random.default_rng(0)
    features = Features(
        values={"embedding": rng.normal(size=(8, 4)).astype(np.float32)},
        pids=np.array(["a", "a", "b", "b", "c", "c", "d", "d"]),
        camids=np.arange(8) % 3,
        names=np.array([f"{i}.jpg" for i in range(8)]),
        junk=np.arange(8) == 7,
        distractor=np.arange(8) == 6,
        columns={"clothes": np.arange(8)},
        classes=(),
        meta={"made": "for the fuzzer"},
    )
    paths = [folder / "query.npz", folder / "query.safetensors"]
    for path in paths:
        save_features(path, features)
    return paths


def same(one: Any, two: Any) -> bool:
    """Tell whether two values are equal to the bit, arrays and tensors in them included."""
    import torch

    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        nan = one.dtype.kind == two.dtype.kind == "f"  # NaN is what it was
        return one.dtype.kind == two.dtype.kind and np.array_equal(one, two, equal_nan=nan)
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        return len(one) == len(two) and all(same(*pair) for pair in zip(one, two, strict=True))
    return type(one) is type(two) and bool(one == two)
