"""Time of the losses beside pytorch-metric-learning's, or a plain composition where it has none.

    python tools/bench_losses.py                    # B = 256, D = 2,048, 10,000 identities
    python tools/bench_losses.py --only triplet circle
    python tools/bench_losses.py --device cuda

Forward and backward of one branch. Ours and the peer get the same vectors and take turns, so
that the ratio means something on a busy machine too; it is the median of the turns' ratios. The
row says where their values differ, and by how much: `center` draws its centers anew. "Largest" is
the largest array that is made on the way.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_metric_learning import distances, losses, miners, reducers
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from reid_core.catalog import Catalog
from reid_core.contracts import LossInput, Progress, parts_with
from reid_core.discovery import load_catalog
from reid_core.params.messages import read_params
from reid_core.params.schema import LossEntry

Value = Callable[["Batch"], Tensor]


@dataclass(frozen=True)
class Batch:
    """What both get: vectors ``(B, D)``, class weights ``(C, D)``, uncertainties and labels."""

    features: Tensor
    weight: Tensor
    uc: Tensor
    pids: Tensor

    @property
    def unit(self) -> Tensor:
        """Return the vectors at length 1."""
        return F.normalize(self.features, dim=1)

    @property
    def same(self) -> Tensor:
        """Return which pairs are of one identity, ``(B, B)``, each image and itself included."""
        return self.pids[:, None] == self.pids[None, :]


def make_batch(options: argparse.Namespace) -> Batch:
    """Draw identities of K images around centers, and class weights near them."""
    generator = torch.Generator().manual_seed(0)
    pids = torch.arange(options.batch // 4).repeat_interleave(4)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    weight = normal(options.classes, options.dim)
    features = weight[pids] + 4 * normal(len(pids), options.dim)
    leaves = (features, 0.01 * weight, 0.1 * normal(len(pids)))
    return Batch(*(x.to(options.device).requires_grad_() for x in leaves), pids.to(options.device))


# ---- ours -------------------------------------------------------------------------------


def ours(catalog: Catalog, entry: dict[str, Any], options: argparse.Namespace) -> Value:
    """Return a loss as the core applies it to one branch."""
    parsed = read_params(LossEntry, entry, catalog)
    component = parsed.component
    loss = parsed.build(dim=options.dim, num_pids=options.classes, branch=None)
    if isinstance(loss, torch.nn.Module):
        loss.to(options.device)
    after = parts_with("after_step", [loss])
    progress = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=1)

    def value(batch: Batch) -> Tensor:
        for part in after:  # of the step before
            part.after_step()
        features = batch.unit if component.normalize else batch.features
        classified = "classifier" in component.needs
        found: Tensor = loss(
            LossInput(
                features=features,
                pids=batch.pids,
                camids=batch.pids,
                progress=progress,
                weight=batch.weight if classified else None,
                logits=features @ batch.weight.T if entry["name"] in ("softmax", "focal") else None,
                aux={"uc": batch.uc},
            )
        ).value
        return found

    return value


# ---- peers ------------------------------------------------------------------------------


def library(loss: Any, miner: Any = None) -> Value:
    """Return a loss of pytorch-metric-learning that compares images."""

    def value(batch: Batch) -> Tensor:
        pairs = None if miner is None else miner(batch.features, batch.pids)
        found: Tensor = loss(batch.features, batch.pids, pairs)
        return found

    return value


def classes(first: Batch, kind: Callable[..., Any], **params: Any) -> Value:
    """Return a loss of pytorch-metric-learning with the batch's class weights as its own."""
    count, dim = first.weight.shape
    loss = kind(num_classes=count, embedding_size=dim, **params)
    loss.W = torch.nn.Parameter(first.weight.detach().T.contiguous())

    def value(batch: Batch) -> Tensor:
        loss.W.grad = None
        found: Tensor = loss(batch.features, batch.pids)
        return found

    return value


def weighted_triplet(batch: Batch) -> Tensor:
    """Weigh all distances of an anchor by their softmax."""
    itself = torch.eye(len(batch.pids), dtype=torch.bool, device=batch.pids.device)
    distmat = torch.cdist(batch.features, batch.features)
    positive, negative = batch.same & ~itself, ~batch.same
    far = distmat.masked_fill(~positive, -torch.inf).softmax(dim=1)
    near = (-distmat).masked_fill(~negative, -torch.inf).softmax(dim=1)
    return ((far * distmat).sum(1) - (near * distmat).sum(1) + 0.3).relu().mean()


def smoothed(batch: Batch) -> Tensor:
    """Smooth labels with torch's own cross entropy."""
    return F.cross_entropy(batch.features @ batch.weight.T, batch.pids, label_smoothing=0.1)


def focal(batch: Batch) -> Tensor:
    """Weigh the cross entropy by the missing probability."""
    loss = F.cross_entropy(batch.features @ batch.weight.T, batch.pids, reduction="none")
    return ((1 - (-loss).exp()).square() * loss).mean()


def circle_softmax(batch: Batch) -> Tensor:
    """Weigh the cosines to all classes by how far they are from their goals."""
    cosine = batch.unit @ F.normalize(batch.weight, dim=1).T
    alpha_p = (1.35 - cosine.detach()).relu()
    alpha_n = (cosine.detach() + 0.35).relu()
    own = F.one_hot(batch.pids, len(batch.weight)).bool()
    logits = torch.where(own, alpha_p * (cosine - 0.65), alpha_n * (cosine - 0.35))
    return F.cross_entropy(64 * logits, batch.pids)


def instance(batch: Batch) -> Tensor:
    """Classify every image among those of the batch."""
    labels = torch.arange(len(batch.pids), device=batch.pids.device)
    return F.cross_entropy(32 * batch.unit @ batch.unit.T, labels)


def uncertain_pair(batch: Batch) -> Tensor:
    """Compare all pairs with the margins of their images."""
    distmat = torch.cdist(batch.unit, batch.unit)
    uc = batch.uc[:, None] + batch.uc[None, :]
    pull = (32 * (distmat - uc + 0.2)).masked_fill(~batch.same, -torch.inf).logsumexp(1)
    push = (32 * (-distmat - uc)).masked_fill(batch.same, -torch.inf).logsumexp(1)
    return F.softplus(pull + push).mean() / 32


def uncertain_triplet(batch: Batch) -> Tensor:
    """Compare the hardest pairs with the margins of their images."""
    distmat = torch.cdist(batch.unit, batch.unit)
    uc = batch.uc[:, None] + batch.uc[None, :]
    pull = (distmat - uc + 0.2).masked_fill(~batch.same, -torch.inf).amax(1)
    push = (-distmat - uc).masked_fill(batch.same, -torch.inf).amax(1)
    return (pull + push).relu().mean()


def uncertain_softmax(batch: Batch) -> Tensor:
    """Classify angles, of which the right one is longer by its margin."""
    angle = (batch.unit @ F.normalize(batch.weight, dim=1).T).clamp(-1 + 1e-6, 1 - 1e-6).acos()
    own = F.one_hot(batch.pids, len(batch.weight)).bool()
    u = batch.uc[:, None]
    return F.cross_entropy(16 * torch.where(own, -angle - u, u - angle), batch.pids)


def center(first: Batch) -> Value:
    """Return the center loss with an optimizer for its centers, as in reid-strong-baseline."""
    centers = torch.nn.Parameter(torch.randn_like(first.weight))
    optimizer = torch.optim.SGD([centers], lr=0.5)

    def value(batch: Batch) -> Tensor:
        optimizer.step()  # of the step before
        optimizer.zero_grad()
        return (batch.features - centers[batch.pids]).square().sum(1).mean()

    return value


RAW = distances.LpDistance(normalize_embeddings=False)


def rows(batch: Batch) -> dict[str, tuple[dict[str, Any], Value, str]]:
    """Return by label: our entry, the peer and its name."""
    pml, plain = "pytorch-metric-learning", "plain composition"
    margins = {"margin": 0.35, "scale": 30.0}
    return {
        "triplet": (
            {"name": "triplet"},
            library(
                losses.TripletMarginLoss(0.3, distance=RAW, reducer=reducers.MeanReducer()),
                miners.BatchHardMiner(distance=RAW),
            ),
            pml,
        ),
        "triplet, weighted": (
            {"name": "triplet", "params": {"mining": "weighted"}},
            weighted_triplet,
            plain,
        ),
        "contrastive": ({"name": "contrastive"}, library(losses.ContrastiveLoss()), pml),
        "lifted_structure": (
            {"name": "lifted_structure"},
            library(losses.GeneralizedLiftedStructureLoss()),
            pml,
        ),
        "circle": ({"name": "circle"}, library(losses.CircleLoss(m=0.25, gamma=128)), pml),
        "multi_similarity": (
            {"name": "multi_similarity"},
            library(losses.MultiSimilarityLoss(2, 50, 1), miners.MultiSimilarityMiner(0.1)),
            pml,
        ),
        "ranked_list": (
            {"name": "ranked_list", "params": {"temperature": 3.0}},
            library(losses.RankedListLoss(margin=0.4, Tn=3, imbalance=0.5, alpha=1.2)),
            pml,
        ),
        "center": ({"name": "center"}, center(batch), plain),
        "uncertain_pair": ({"name": "uncertain_pair"}, uncertain_pair, plain),
        "uncertain_triplet": ({"name": "uncertain_triplet"}, uncertain_triplet, plain),
        "instance": ({"name": "instance"}, instance, plain),
        "softmax": ({"name": "softmax"}, smoothed, plain),
        "focal": ({"name": "focal"}, focal, plain),
        "normalized_softmax": (
            {"name": "normalized_softmax"},
            classes(batch, losses.NormalizedSoftmaxLoss, temperature=0.05),
            pml,
        ),
        "am_softmax": (
            {"name": "am_softmax", "params": margins},
            classes(batch, losses.CosFaceLoss, **margins),
            pml,
        ),
        "arcface": (
            {"name": "arcface"},
            classes(batch, losses.ArcFaceLoss, margin=28.6479, scale=64),
            pml,
        ),
        "sphereface": (
            {"name": "sphereface"},
            classes(batch, losses.SphereFaceLoss, margin=4, scale=1),
            pml,
        ),
        "circle_softmax": ({"name": "circle_softmax"}, circle_softmax, plain),
        "uncertain_softmax": ({"name": "uncertain_softmax"}, uncertain_softmax, plain),
    }


# ---- measuring --------------------------------------------------------------------------


class Largest(TorchDispatchMode):
    """Records the bytes of the largest array that an operation makes."""

    bytes = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and look at what it returns."""
        result = function(*args, **(kwargs or {}))
        for made in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(made, Tensor):  # an expanded array takes no memory of its own
                self.bytes = max(self.bytes, made.untyped_storage().nbytes())
        return result


def run(value: Value, batch: Batch) -> tuple[float, float]:
    """Return seconds of forward and backward, and the value."""
    for leaf in (batch.features, batch.weight, batch.uc):
        leaf.grad = None
    _wait(batch)
    start = time.perf_counter()
    found = value(batch)
    found.backward()
    _wait(batch)
    return time.perf_counter() - start, found.item()


def _wait(batch: Batch) -> None:
    if batch.features.device.type == "cuda":
        torch.cuda.synchronize(batch.features.device)


def largest(value: Value, batch: Batch) -> str:
    """Return the size of the largest array, in MB."""
    with Largest() as seen:
        value(batch).backward()
    return f"{seen.bytes / 1e6:.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=21)
    parser.add_argument("--only", nargs="+", metavar="LOSS", help="some of the rows")
    options = parser.parse_args()
    catalog, batch = load_catalog(), make_batch(options)
    print(
        f"B {options.batch}, D {options.dim:,}, {options.classes:,} identities, float32, "
        f"{options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}, medians "
        f"of {options.repeat}\n"
    )
    print("| loss | ms | ratio | peer | value | largest MB, ours | peer |")
    print("|---|---|---|---|---|---|---|")
    for label, (entry, peer, name) in rows(batch).items():
        if options.only and label not in options.only:
            continue
        mine = ours(catalog, entry, options)
        for value in (mine, peer):
            run(value, batch)
        turns = [(run(mine, batch), run(peer, batch)) for _ in range(options.repeat)]
        ratio = median(one[0] / other[0] for one, other in turns)
        (_, found), (_, expected) = turns[-1]
        agree = (
            "equal" if abs(found - expected) <= 1e-4 * abs(expected) else f"{found - expected:+.2g}"
        )
        print(
            f"| {label} | {1e3 * median(one[0] for one, _ in turns):.1f} | {ratio:.2f} | {name} | "
            f"{agree} | {largest(mine, batch)} | {largest(peer, batch)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
