"""What the boundary around plugins costs in a training step of the quick start.

    python tools/bench_boundary.py                        # 10,000 calls, 30 steps
    python tools/bench_boundary.py --calls 1000 --steps 5

Every kind that a step calls is replaced by a part that returns at once what it was made with. It
is called as the core calls it, and bare; the two take turns, and the row says the median of each in
microseconds. Their difference, times the calls of a step, is what the boundary costs there; the
last line sets the sum against the median time of a real step on this machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from reid_core.boundary import Origin
from reid_core.catalog import Catalog
from reid_core.contracts import (
    Batch,
    Branch,
    FeatureMap,
    HeadOutput,
    LossOutput,
    ModelOutput,
    Progress,
    Sample,
    Step,
    Term,
)
from reid_core.data.epoch_batches import EpochBatches
from reid_core.data.training_images import TrainingImages
from reid_core.data.transforms import Operation
from reid_core.discovery import load_catalog
from reid_core.network.model import ReIDModel
from reid_core.params.schema import RunParams
from reid_core.params.validation import check_run_params
from reid_core.storage.dataset_stores import Stores
from reid_core.training.assembly import build_training
from reid_core.training.build_module import ModuleBuilder
from reid_core.training.loop import rate_factor, train_one_epoch
from reid_core.training.module import NamedObjective, TrainingModule, result_of
from reid_core.training.weighted_losses import LossTerm

QUICK_START = Path(__file__).resolve().parents[1] / "params" / "quickstart.json"
MINE = Origin("loss", "stub", "reid-stub", "1.0", __file__)
PROGRESS = Progress(epoch=0, epochs=10, step=7, steps_per_epoch=20)

Call = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One kind of call: as the core makes it, bare, and how often a step makes it."""

    wrapped: Call
    bare: Call
    per_step: int


class Returns(nn.Module):
    """A part that returns what it was made with; the attributes of the real one stay."""

    def __init__(self, real: nn.Module, result: object) -> None:
        """Keep the result, and what the core asks of the real part."""
        super().__init__()
        self.result = result
        for name in ("out_channels", "stride", "branches"):
            if hasattr(real, name):
                setattr(self, name, getattr(real, name))

    def forward(self, *arguments: object) -> Any:
        """Return the result."""
        return self.result


class Batches:
    """A sampler of the same batches in every epoch."""

    def __init__(self, count: int, size: int) -> None:
        """Make them."""
        self.batches = [[(0, index) for index in range(size)] for _ in range(count)]

    def set_epoch(self, epoch: int) -> None:
        """Stay in the first epoch."""

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield them."""
        return iter(self.batches)


def rows(params: RunParams, catalog: Catalog, calls: int) -> dict[str, Row]:
    """Return the calls of a step by their kind."""
    sampler: Any = params.sampler.params
    size = sampler.P * sampler.K
    module = ModuleBuilder(params, catalog).module(100)
    terms = cast("list[LossTerm]", list(module.losses.terms))
    step, features = step_of(module.model, size)
    found = network_rows(module.model, step, features)
    value = step.outputs.feature.mean()
    output = LossOutput(value, {"a": value.detach(), "b": value.detach()}, value.detach())

    def loss(x: object) -> LossOutput:
        return output

    for term in terms:
        spec = term.branches[0]
        found[f"loss {term.name}"] = Row(
            lambda term=term, spec=spec: term._output(step, spec, loss),  # type: ignore[misc]
            lambda term=term, spec=spec: loss(term._input(step, spec)),  # type: ignore[misc]
            len(term.branches),
        )
    found["objective"] = objective_row(module, step, len(params.objective))
    found["sampler"] = sampler_row(size, calls)
    found["schedule"] = schedule_row()
    return found | dict(augmentation_rows(params, size))


def step_of(model: ReIDModel, size: int) -> tuple[Step, FeatureMap]:
    """Return a step of the network's own output, and the map that it is from."""
    labels = torch.arange(size) % 16
    batch = Batch(torch.rand(size, 3, 64, 32), labels, labels, labels * 0, torch.arange(size))
    outputs = model(batch.images)
    return Step(batch, model, outputs, PROGRESS), model.feature_map(batch.images)


def network_rows(model: ReIDModel, step: Step, features: FeatureMap) -> dict[str, Row]:
    """Return the calls of backbone and heads."""
    head_output = model.head_outputs(features)[0]
    outputs = HeadOutput(
        {n: Branch(b.feature, b.embedding) for n, b in head_output.branches.items()}
    )
    model.backbone = Returns(model.backbone, features)
    model.heads = nn.ModuleList([Returns(model.heads[0], outputs)])
    images: Tensor = step.batch.images
    return {
        "backbone": Row(lambda: model.feature_map(images), lambda: model.backbone(images, {}), 1),
        "head": Row(lambda: model.head_outputs(features), lambda: model.heads[0](features), 1),
    }


def objective_row(module: TrainingModule, step: Step, count: int) -> Row:
    """Return the calls of the objectives, with a network that returns its output at once."""
    outputs: ModelOutput = step.outputs
    terms = {"stub": Term(outputs.feature.mean())}

    def objective(step: Step) -> dict[str, Term]:
        return terms

    entry: Any = SimpleNamespace(origin=MINE)
    module.set_objectives([NamedObjective("stub", entry, objective)])
    model: Any = Returns(module.model, outputs)
    model.side = ()
    module.model = model

    def bare() -> object:
        seen = Step(step.batch, model, module.model(step.batch.images, {}), PROGRESS, {})
        return result_of(objective(seen), module.losses.origins())

    return Row(lambda: module(step.batch), bare, count)


def sampler_row(size: int, calls: int) -> Row:
    """Return the step from one batch of keys to the next."""
    sampler = Batches(calls + 2, size)
    wrapped, bare = iter(EpochBatches(sampler, MINE, size)), iter(sampler)
    return Row(lambda: next(wrapped), lambda: next(bare), 1)


def schedule_row() -> Row:
    """Return the call of the schedule."""

    def schedule(progress: Progress, history: object) -> float:
        return 1.0

    return Row(lambda: rate_factor(schedule, MINE, PROGRESS, []), lambda: schedule(PROGRESS, []), 1)


def augmentation_rows(params: RunParams, size: int) -> Iterator[tuple[str, Row]]:
    """Yield the calls of the operations that training has, on images of the final size."""
    images = {
        "pil": Image.new("RGB", (32, 64)),
        "tensor": torch.rand(3, 64, 32),
        "batch": torch.rand(size, 3, 64, 32),
    }
    for entry in params.augmentation:
        stage, image = entry.component.stage, images[entry.component.stage]
        moves = entry.component.extras == "moves"
        sample = Sample(image)
        result = sample if moves else image
        operation = Operation(MINE, stage, "train", moves, lambda image, rng, r=result: r)
        given = sample if moves else image
        yield (
            f"augmentation {entry.bare_name}",
            Row(
                lambda o=operation, s=sample: o(s, None, f"on image '{'0001.jpg'}'"),  # type: ignore[misc]
                lambda o=operation, g=given: o.apply(g, None),  # type: ignore[misc]
                1 if stage == "batch" else size,
            ),
        )


# ---- measuring --------------------------------------------------------------------------


def microseconds(row: Row, calls: int) -> tuple[float, float]:
    """Return the median times of both ways, which take turns."""
    ways: tuple[tuple[Call, list[float]], ...] = ((row.wrapped, []), (row.bare, []))
    for _ in range(calls):
        for call, times in ways:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return 1e6 * median(ways[0][1]), 1e6 * median(ways[1][1])


def step_milliseconds(params: RunParams, catalog: Catalog, steps: int) -> float:
    """Return the median time of a training step, without the first, which warms up."""
    stores = Stores(Path(params.working_dir))
    images = TrainingImages.of([(entry.label, stores.open(entry)) for entry in params.data.train])
    training = build_training(params, catalog, images, stores, torch.device("cpu"))
    ends: list[float] = []
    train_one_epoch(training, lambda *_: ends.append(time.perf_counter()))
    return 1e3 * median(np.diff(ends))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--people", type=int, help="identities of the data; default: all")
    options = parser.parse_args()
    raw = json.loads(QUICK_START.read_text(encoding="utf-8"))
    catalog = load_catalog()
    with tempfile.TemporaryDirectory() as folder:
        raw["working_dir"] = folder
        raw["train"] |= {"epochs": 1, "steps_per_epoch": options.steps + 1, "device": "cpu"}
        if options.people:
            people = {"train_identities": options.people, "test_identities": options.people}
            raw["data"]["train"][0]["params"] |= people
        params = check_run_params(raw, catalog, str(QUICK_START))
        table = rows(params, catalog, options.calls)
        whole = step_milliseconds(params, catalog, options.steps)
    print(
        f"{options.calls:,} calls, {options.steps} steps, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, medians in microseconds\n"
    )
    print("| call | wrapped | bare | calls a step | a step |")
    print("|---|---|---|---|---|")
    total = 0.0
    for name, row in table.items():
        wrapped, bare = microseconds(row, options.calls)
        cost = (wrapped - bare) * row.per_step
        total += cost
        print(f"| {name} | {wrapped:.1f} | {bare:.1f} | {row.per_step} | {cost:.0f} |", flush=True)
    print(f"| all | – | – | – | {total:.0f} |")
    print(f"| a real step | – | – | – | {1e3 * whole:.0f} |")
    print(f"| share of it | – | – | – | {total / 1e1 / whole:.2f} % |")


if __name__ == "__main__":
    main()
