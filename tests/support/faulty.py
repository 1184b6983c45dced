"""Plugins with one fault each: their source text, how params name them, and what is reported."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

DISTRIBUTION, VERSION, MODULE = "reid-faulty", "3.1", "reid_faulty"

FOUND = {
    "declared": "when the plugin is loaded",
    "check": "by reid check --model",
    "start": "before the first step, without a run directory",
    "first use": "when it is first used",
    "evaluate": "by reid evaluate, before the first image",
    "command": "by the command itself",
    "harmless": "the training goes on, and is right",
}
"""When a fault is found."""

PARTS = '''
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from reid_core import *
from reid_core.contracts import *


class Net(nn.Module):
    """A backbone without a fault."""

    out_channels, stride = 8, 16

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 16, stride=16)

    def map(self, images):
        return self.conv(images)

    def forward(self, images, side):
        return FeatureMap(self.map(images))


class Pool(nn.Module):
    """A head without a fault."""

    branches = (BranchSpec("pool", 8, "pool", frozenset({"id", "metric"})),)

    def vectors(self, features):
        return features.map.mean(dim=(2, 3))

    def forward(self, features):
        vectors = self.vectors(features)
        return HeadOutput({"pool": Branch(vectors, vectors)})


class Order:
    """A sampler without a fault."""

    def __init__(self, images):
        self.images, self.epoch = images, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return 2

    def __iter__(self):
        rng = np.random.default_rng(self.epoch)
        for _ in range(2):
            yield [(self.epoch, int(index)) for index in rng.permutation(self.images)[:6]]


def scores(splits, **changes):
    """Scores without a fault."""
    queries = len(splits["query"])
    found = {"metrics": {"good": 0.5}, "primary": "good", "protocol": {"rule": "none"}}
    return Scores(**{**found, "per_query": {"good": np.ones(queries)}, **changes})


class Near:
    """A distance without a fault."""

    symmetric, normalizes = True, False

    def prepare(self, vectors):
        return vectors

    def fill(self, query, gallery, out):
        out.copy_(torch.cdist(query.features, gallery.features))

    def values(self, keys):
        return keys


class Altered:
    """Keys without a fault."""

    def __init__(self, comparison):
        self.keys = comparison.keys

    def fill(self, start, stop, out):
        self.keys.fill(start, stop, out)

    def values(self, keys):
        return self.keys.values(keys)


def picture():
    """The bytes of an image file."""
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (16, 32), "red").save(file, "png")
    return file.getvalue()


def record(number=0, split="train", **changes):
    """A record without a fault."""
    given = {"name": f"{split}/{number}.png", "split": split, "pid": str(number // 2)}
    return ImageRecord(**{**given, "camid": number % 2, "source": picture, **changes})


def listing(*records, **changes):
    """A listing of everything that a training needs, and of these records."""
    splits = ("train", "query", "gallery")
    return Listing(
        **{"records": [*[record(n, s) for s in splits for n in range(12)], *records], **changes}
    )
'''
"""What the sources begin with: every kind's part without a fault."""

DECLARED = {
    "loss": 'role="metric"',
    "augmentation": 'stage="tensor"',
    "evaluator": 'splits=("query", "gallery")',
    "postprocess": 'stage="distances"',
    "translator": 'system="elsewhere"',
}
"""What the components of a kind declare where a fault declares nothing else."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: Of the component, which is called ``faulty``.
        what: The fault in a few words.
        when: One of ``FOUND``.
        source: Defines ``build``; the line that raises ends with ``# raises``.
        says: What the message has, beside kind, name, distribution and version.
        declares: Keywords of the component, as text.
        changes: Sections of the params that take the place of the usual ones.
    """

    kind: str
    what: str
    when: str
    source: str
    says: tuple[str, ...]
    declares: str = ""
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name of the test case."""
        return f"{self.kind}: {self.what}"

    @property
    def module(self) -> str:
        """Return the whole source of the plugin."""
        record = {"callback": "", "command": "", "logger": "", "head": "", "dataset": ""}
        component = f"{record.get(self.kind, self.kind.capitalize())}Component"
        declares = self.declares or DECLARED.get(self.kind, "")
        return (
            f"{PARTS}\n\n{self.source.strip()}\n\n\n@hookimpl\ndef reid_{self.kind}():\n"
            f'    usual = dict(name="faulty", build=build, summary="-")\n'
            f"    return [{component}(**{{**usual, **dict({declares})}})]\n"
        )

    @property
    def raising_line(self) -> str:
        """Return ``file:line`` of the line that raises; empty: none does."""
        for number, line in enumerate(self.module.splitlines(), 1):
            if line.endswith("# raises"):
                return f"({MODULE}.py:{number})"
        return ""

    def params(self, usual: dict[str, Any]) -> dict[str, Any]:
        """Return the params of a training with the component in its place."""
        return {**usual, **_placed(self.kind, usual), **self.changes}

    def expected(self) -> tuple[str, ...]:
        """Return everything that the message must have."""
        whose = f"{self.kind} 'faulty' of {DISTRIBUTION} {VERSION}"
        if self.when == "declared":
            whose = f"{DISTRIBUTION} {VERSION}"
        return (whose, *self.says, *([self.raising_line] if self.raising_line else []))


def _placed(kind: str, usual: dict[str, Any]) -> dict[str, Any]:
    """Return the section of the params that names the component."""
    faulty = {"name": "faulty"}
    ranked = {"name": "market_evaluate"}
    places: dict[str, Any] = {
        "head": {"head": [faulty]},
        "loss": {"loss": [{"name": "softmax"}, faulty]},
        "evaluator": {"evaluation": [faulty]},
        "distance": {"evaluation": [{**ranked, "distance": faulty}]},
        "postprocess": {"evaluation": [{**ranked, "postprocess": [faulty]}]},
        "dataset": {"data": {"train": [faulty]}},
        "augmentation": {"augmentation": [*usual["augmentation"][:2], faulty]},
        "objective": {"objective": [{"name": "supervised"}, faulty]},
        "callback": {"callback": [faulty]},
        "logger": {"logger": [faulty]},
        "command": {},
        "translator": {},
    }
    return places.get(kind, {kind: faulty})


def only_error(text: str) -> str:
    """Return the one error message on stderr; there must be no traceback."""
    assert "Traceback" not in text, text
    assert len(re.findall(r"^error: ", text, re.MULTILINE)) == 1, text
    return text[text.index("error: ") :]
