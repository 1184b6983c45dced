"""Fixtures that every test may use."""

import json
import sys

import pytest

from reid_core import BackboneComponent, hookimpl
from reid_core.discovery import load_catalog
from skips import pytest_configure  # noqa: F401


@pytest.fixture(scope="session")
def catalog():
    """Everything that is installed; nobody may change it."""
    return load_catalog()


@pytest.fixture(scope="module")
def one_thread():
    """Small tensors gain nothing from threads, which lose much time on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
            {"name": "normalize"},
            {"name": "flip"},
        ],
        "optimizer": {"name": "adam", "lr": 0.001},
        "train": {"epochs": 2, "seed": 0, "device": "cpu"},
        "evaluation": [{"name": "market_evaluate"}],
        "working_dir": str(tmp_path / "runs"),
    }


@pytest.fixture
def params_file(tmp_path, tiny_params):
    """The tiny params as a file."""
    path = tmp_path / "p.json"
    path.write_text(json.dumps(tiny_params))
    return path


@pytest.fixture
def answer(capsys):
    """A function: (exit status, standard output, standard error) of the command line."""

    from reid_core import cli

    def run(*arguments):
        try:
            status = cli.main([str(a) for a in arguments])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def install_plugin(tmp_path, monkeypatch):
    """A function that installs a distribution whose modules are given as source text."""
    modules = []

    def install(distribution, sources, entries=None, version="1.0"):
        """Entry points are {name: module}; by default the distribution's name and first module."""
        site = tmp_path / f"site-{distribution}"
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        entries = entries or {distribution: next(iter(sources))}
        (info / "RECORD").write_text("")
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[reid_core]", *lines, ""]))
        for module, source in sources.items():
            (site / f"{module}.py").write_text(source)
            modules.append(module)
        monkeypatch.syspath_prepend(site)
        return info

    yield install
    for module in modules:
        sys.modules.pop(module, None)


class TinyBackbonePlugin:
    """Offers the backbone ``tiny``: one convolution and a BN, for tests of everything else."""

    @hookimpl
    def reid_backbone(self):
        return [BackboneComponent(name="tiny", build=lambda params: self.network(), summary="-")]

    @staticmethod
    def network():
        from torch import nn

        from reid_core.contracts import FeatureMap

        class Tiny(nn.Module):
            out_channels, stride = 8, 16

            def __init__(self):
                super().__init__()
                self.conv, self.bn = nn.Conv2d(3, 8, 16, stride=16), nn.BatchNorm2d(8)

            def forward(self, images, side=None):
                return FeatureMap(self.bn(self.conv(images)))

        return Tiny()


@pytest.fixture(scope="session")
def catalog_with():
    """A function from plugins to a catalog of them, of what is installed, and of ``tiny``."""
    return lambda *plugins: load_catalog([TinyBackbonePlugin(), *plugins])


@pytest.fixture(scope="session")
def tiny_catalog(catalog_with):
    """What is installed, and the backbone ``tiny``; nobody may change it."""
    return catalog_with()


@pytest.fixture(scope="session")
def training_of():
    """A function: a training of any module over given batches, with nothing else about it."""
    from types import SimpleNamespace

    import numpy as np

    from reid_core.boundary import Origin
    from reid_core.data.streams import Streams
    from reid_core.training.freezing import Freezing
    from reid_core.training.state import Training, TrainState

    schedule = SimpleNamespace(origin=Origin("schedule", "of a test", "local", "0"))

    class Batches(list):
        def set(self, epoch, start):
            self.epoch = epoch

    def make(module, optimizer, loader, *, steps, epochs=1, loss_warmup=None, **changes):
        train = SimpleNamespace(epochs=epochs, seed=0, loss_warmup=loss_warmup)
        given = {
            "params": SimpleNamespace(train=train, schedule=schedule),
            "groups": {},
            "schedule": lambda progress, history: 1.0,
            "batches": Batches([None] * steps),
            "device": optimizer.param_groups[0]["params"][0].device,
            "freezing": Freezing([], module),
            "images": None,
            "streams": Streams([]),
            "classes": (),
            "labels": np.zeros(0, np.int64),
            "builder": None,
            "images_per_step": 1,
            "state": TrainState(),
        }
        return Training(module=module, optimizer=optimizer, loader=loader, **given | changes)

    return make


@pytest.fixture(scope="session")
def operations():
    """A context manager that watches what torch does within it.

    ``waiting`` lists what makes a host wait for a GPU: values that it reads, and results of unknown
    size. ``largest`` is the size of the largest array in memory that was made, in numbers.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    reads = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal")

    class Operations(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.waiting, self.largest = [], 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            name = function.overloadpacket.__name__
            indices = args[1] if name.startswith("index") and isinstance(args[1], list) else []
            by_mask = any(i is not None and i.dtype == torch.bool for i in indices)
            if by_mask or name.startswith(reads):
                self.waiting.append(name)
            result = function(*args, **(kwargs or {}))
            for made in result if isinstance(result, tuple | list) else (result,):
                if isinstance(made, torch.Tensor):  # an expanded one takes no memory of its own
                    numbers = made.untyped_storage().nbytes() // made.element_size()
                    self.largest = max(self.largest, numbers)
            return result

    return Operations
