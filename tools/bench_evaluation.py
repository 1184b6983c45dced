"""Time and memory of the evaluation beside the bare matrix product, a naive version and peers.

    python tools/bench_evaluation.py                          # Market-1501's size
    python tools/bench_evaluation.py --queries 11659 --gallery 82161 --only product ours
    python tools/bench_evaluation.py --rerank                 # k-reciprocal re-ranking
    python tools/bench_evaluation.py --device cuda

All methods of a run get the same features and take turns, so that the ratios mean something on
a busy machine too. The bare product makes the same blocks of queries into one buffer. Memory is
measured in a process of its own: the peak beyond features, libraries and a small warm-up.
Peers (torchreid, open-metric-learning) are measured when they are installed, with the
functions that they offer for features.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from reid_evaluate.ranking.camera_pairs import CameraPairs
from reid_evaluate.ranking.images import ImageSet
from reid_evaluate.ranking.keys import compare
from reid_evaluate.ranking.rank_queries import BLOCK_SIZE, rank_queries
from reid_evaluate.ranking.verification import Verification
from reid_evaluate.reranking.k_reciprocal import re_ranked

Scores = dict[str, float]


@dataclass(frozen=True)
class Case:
    """Features of the size of a dataset, and where to work."""

    query: ImageSet
    gallery: ImageSet
    device: torch.device


# ---- features ---------------------------------------------------------------------------


def make_case(options: argparse.Namespace, shrink: int = 1) -> Case:
    """Draw features: of identities with noise, or without any relation to each other.

    Args:
        options: Sizes and kind.
        shrink: Divisor of the sizes, for the warm-up.
    """
    rng = np.random.default_rng(0)
    counts = options.queries // shrink, options.gallery // shrink
    identities = max(2, counts[1] // 26)  # as in Market-1501
    centres = rng.standard_normal((identities, options.dim), dtype=np.float32)
    device = torch.device(options.device)

    def images(count: int, split: str, junk: float) -> ImageSet:
        label = rng.integers(0, identities, count)
        features = rng.standard_normal((count, options.dim), dtype=np.float32)
        if options.kind == "clustered":
            for start in range(0, count, 4096):
                part = slice(start, start + 4096)
                features[part] = 4 * features[part] + centres[label[part]]
        return ImageSet(
            features=torch.from_numpy(features).to(device),
            pids=label.astype(np.str_),
            camids=rng.integers(0, 6, count),
            names=np.char.add(split, np.arange(count).astype(np.str_)),
            junk=rng.random(count) < junk,
            distractor=np.zeros(count, dtype=np.bool_),
        )

    # Of Market-1501's 19,732 gallery files 3,819 are junk.
    return Case(images(counts[0], "q", 0), images(counts[1], "g", 0.194), device)


# ---- methods ----------------------------------------------------------------------------


def product(case: Case) -> Scores:
    """Make the bare matrix product in the blocks of the ranking, into one buffer."""
    query, gallery = case.query.features, case.gallery.features
    buffer = torch.empty(min(BLOCK_SIZE, len(query)), len(gallery), device=case.device)
    for start in range(0, len(query), BLOCK_SIZE):
        block = query[start : start + BLOCK_SIZE]
        torch.mm(block, gallery.T, out=buffer[: len(block)])
    return {}


def square(case: Case) -> Scores:
    """Make the product of all images with all, in blocks into one buffer."""
    rows = torch.cat([case.query.features, case.gallery.features])
    buffer = torch.empty(1024, len(rows), device=case.device)
    for start in range(0, len(rows), 1024):
        block = rows[start : start + 1024]
        torch.mm(block, rows.T, out=buffer[: len(block)])
    return {}


def ours(case: Case) -> Scores:
    """Rank as market_evaluate does, without its tables."""
    ranking = rank_queries(compare(case.query, case.gallery))
    return _means(ranking.ap, ranking.first_rank, ranking.num_matches)


def ours_with_tables(case: Case) -> Scores:
    """Rank with error rates of thresholds and the table of camera pairs."""
    verification = Verification(len(case.query.pids) * len(case.gallery.pids), (1e-4, 1e-3, 1e-2))
    cameras = CameraPairs(case.query.camids, case.gallery.camids)
    ranking = rank_queries(
        compare(case.query, case.gallery),
        groups=cameras.groups,
        observers=[verification, cameras],
    )
    verification.rates()
    cameras.table()
    return _means(ranking.ap, ranking.first_rank, ranking.num_matches)


def naive(case: Case) -> Scores:
    """Sort every row as a whole, block by block."""
    one, other = (
        torch.nn.functional.normalize(images.features) for images in (case.query, case.gallery)
    )
    pids, camids = case.gallery.pids, case.gallery.camids
    ap, first, number = [], [], []
    for start in range(0, len(one), BLOCK_SIZE):
        block = (-(one[start : start + BLOCK_SIZE] @ other.T)).cpu().numpy()
        for i, order in enumerate(np.argsort(block, axis=1), start):
            same = pids[order] == case.query.pids[i]
            junk = case.gallery.junk[order] | (same & (camids[order] == case.query.camids[i]))
            ranks = np.flatnonzero(same[~junk]) + 1
            ap.append(float(np.mean(np.arange(1, len(ranks) + 1) / ranks)) if len(ranks) else 0)
            first.append(int(ranks[0]) if len(ranks) else 0)
            number.append(len(ranks))
    return _means(np.array(ap), np.array(first), np.array(number))


def torchreid(case: Case) -> Scores:
    """Use torchreid's evaluation on a whole distance matrix; it does not load junk images."""
    from torchreid.reid.metrics.rank import evaluate_rank

    kept = np.flatnonzero(~case.gallery.junk)
    one, other = (
        torch.nn.functional.normalize(images.features) for images in (case.query, case.gallery)
    )
    curve, mean = evaluate_rank(
        (1 - one @ other[torch.from_numpy(kept)].T).cpu().numpy(),
        case.query.pids,
        case.gallery.pids[kept],
        case.query.camids,
        case.gallery.camids[kept],
        use_cython=False,  # the published package has it not built
    )
    return {"mAP": float(mean), "rank1": float(curve[0])}


def open_metric_learning(case: Case) -> Scores:
    """Use open-metric-learning's metrics of retrieved ids, ranked by torch."""
    from oml.functional.metrics import calc_retrieval_metrics

    one, other = (
        torch.nn.functional.normalize(images.features) for images in (case.query, case.gallery)
    )
    retrieved, right = [], []
    pids, camids = case.gallery.pids, case.gallery.camids
    for start in range(0, len(one), BLOCK_SIZE):
        block = one[start : start + BLOCK_SIZE] @ other.T
        for i, row in enumerate(block.argsort(dim=1, descending=True), start):
            same = pids == case.query.pids[i]
            junk = case.gallery.junk | (same & (camids == case.query.camids[i]))
            matches = np.flatnonzero(same & ~junk)
            if len(matches):
                retrieved.append(row[torch.from_numpy(~junk[row.numpy()])])
                right.append(torch.from_numpy(matches))
    found = calc_retrieval_metrics(
        retrieved, right, cmc_top_k=(1,), precision_top_k=(), map_top_k=(len(pids),), verbose=False
    )
    return {"mAP": float(found["map"][len(pids)]), "rank1": float(found["cmc"][1])}


def rerank(case: Case) -> Scores:
    """Re-rank by k-reciprocal encoding (20, 6, 0.3) and rank."""
    step = partial(re_ranked, k1=20, k2=6, lambda_value=0.3)
    ranking = rank_queries(compare(case.query, case.gallery, postprocess=[step]))
    return _means(ranking.ap, ranking.first_rank, ranking.num_matches)


def torchreid_rerank(case: Case) -> Scores:
    """Use torchreid's re-ranking, which keeps matrices of all images against all."""
    from torchreid.reid.utils.rerank import re_ranking

    one, other = (
        torch.nn.functional.normalize(images.features) for images in (case.query, case.gallery)
    )
    matrices = [(1 - a @ b.T).cpu().numpy() for a, b in ((one, other), (one, one), (other, other))]
    re_ranking(*matrices, k1=20, k2=6, lambda_value=0.3)
    return {}


def _means(ap: Any, first_rank: Any, number: Any) -> Scores:
    valid = number > 0
    return {"mAP": float(ap[valid].mean()), "rank1": float((first_rank[valid] == 1).mean())}


RANKING: dict[str, tuple[Callable[[Case], Scores], str]] = {
    "product": (product, "bare matrix product"),
    "ours": (ours, "reid-core"),
    "tables": (ours_with_tables, "reid-core, with error rates and camera pairs"),
    "naive": (naive, "argsort of every row"),
    "torchreid": (torchreid, "torchreid (Python)"),
    "oml": (open_metric_learning, "open-metric-learning"),
}
RERANKING: dict[str, tuple[Callable[[Case], Scores], str]] = {
    "product": (square, "bare product, all with all"),
    "ours": (rerank, "reid-core, k-reciprocal and ranking"),
    "torchreid": (torchreid_rerank, "torchreid, re-ranking alone"),
}
MODULES = {"torchreid": "torchreid", "oml": "oml"}


# ---- measuring --------------------------------------------------------------------------


def chosen(options: argparse.Namespace) -> dict[str, tuple[Callable[[Case], Scores], str]]:
    """Return the methods to measure: those asked for that can be imported."""
    methods = RERANKING if options.rerank else RANKING
    names = options.only or list(methods)
    return {
        name: methods[name]
        for name in names
        if name not in MODULES or importlib.util.find_spec(MODULES[name])
    }


def timed(method: Callable[[Case], Scores], case: Case) -> tuple[float, Scores]:
    """Return seconds and scores."""
    gc.collect()
    _wait(case)
    start = time.perf_counter()
    scores = method(case)
    _wait(case)
    return time.perf_counter() - start, scores


def _wait(case: Case) -> None:
    if case.device.type == "cuda":
        torch.cuda.synchronize(case.device)


def extra_memory(name: str, options: argparse.Namespace) -> int:
    """Return the peak in bytes beyond features, libraries and a small warm-up; in this process."""
    method = chosen(options)[name][0]
    method(make_case(options, shrink=max(1, options.queries // 64)))
    case = make_case(options)
    gc.collect()
    if case.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(case.device)
        before = torch.cuda.memory_allocated(case.device)
        method(case)
        return torch.cuda.max_memory_allocated(case.device) - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _status("VmRSS")
    method(case)
    return _status("VmHWM") - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def measure(options: argparse.Namespace) -> None:
    """Print the table."""
    methods = chosen(options)
    case = make_case(options)
    for method, _ in methods.values():
        method(make_case(options, shrink=max(1, options.queries // 64)))
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    scores: dict[str, Scores] = {}
    for _ in range(options.repeat):
        for name, (method, _) in methods.items():
            spent, scores[name] = timed(method, case)
            seconds[name].append(spent)
    del case
    size = f"{options.queries:,} x {options.gallery:,} x {options.dim:,}"
    print(
        f"{size} float32, {options.kind}, {options.device}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, median of {options.repeat}\n"
    )
    print("| method | seconds | ratio | MB beyond features | mAP | rank1 |")
    print("|---|---|---|---|---|---|")
    for name, (_, label) in methods.items():
        memory = "" if options.no_memory else f"{_memory_of(name, options) / 1e6:.0f}"
        found = [f"{scores[name][m]:.6f}" if m in scores[name] else "" for m in ("mAP", "rank1")]
        spent = median(seconds[name])
        ratio = ""
        if "product" in seconds:  # of turns that followed each other
            pairs = zip(seconds[name], seconds["product"], strict=True)
            ratio = f"{median(one / bare for one, bare in pairs):.3f}"
        print(f"| {label} | {spent:.2f} | {ratio} | {memory} | {' | '.join(found)} |", flush=True)


def _memory_of(name: str, options: argparse.Namespace) -> int:
    """Measure one method in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=3368)
    parser.add_argument("--gallery", type=int, default=19732)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--kind", choices=["clustered", "uncorrelated"], default="clustered")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rerank", action="store_true", help="measure re-ranking instead")
    parser.add_argument("--only", nargs="+", metavar="METHOD", help="some of the methods")
    parser.add_argument("--no-memory", action="store_true", help="measure time alone")
    parser.add_argument("--memory-of", metavar="METHOD", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(extra_memory(options.memory_of, options))
    else:
        measure(options)


if __name__ == "__main__":
    main()
