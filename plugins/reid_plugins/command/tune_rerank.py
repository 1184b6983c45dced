"""``reid tune-rerank``: search k1, k2 and lambda of k-reciprocal re-ranking on validation images.

Idea: the neighbours are searched once for all choices; the test set is left alone.

Reference: Zhong et al., CVPR 2017, arXiv:1701.08398; the grid is a coarser one than that of
person-reid-tiny-baseline, which searches on the test set.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.catalog import Catalog
from reid_core.console import say

if TYPE_CHECKING:
    from reid_evaluate.reranking.rerank_search import Trial

K1, K2, LAMBDAS = (5, 10, 15, 20, 30), (1, 2, 4, 6, 8), (0.1, 0.2, 0.3, 0.5, 0.7)


class TuneRerankCommand:
    """The subcommand."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog that offers the run's components."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("run", nargs="?", metavar="RUN", help="directory of a run")
        parser.add_argument(
            "--features",
            nargs=2,
            metavar=("QUERY", "GALLERY"),
            help="search on saved features instead of a run's images",
        )
        parser.add_argument(
            "--split",
            choices=("val", "train", "test"),
            help="images to search on; default: val where there is one, else a share of train. "
            "test is for looking back only: its scores are no test any more",
        )
        parser.add_argument("--target", metavar="NAME", help="target of the run (default: first)")
        parser.add_argument(
            "--share", type=float, help="of the training identities, with train (default 0.3)"
        )
        parser.add_argument("--seed", type=int, help="of what is drawn (default 0)")
        parser.add_argument("--k1", type=int, nargs="+", default=list(K1), help=f"default {K1}")
        parser.add_argument("--k2", type=int, nargs="+", default=list(K2), help=f"default {K2}")
        parser.add_argument(
            "--lambda",
            dest="lambdas",
            type=float,
            nargs="+",
            default=list(LAMBDAS),
            help=f"default {LAMBDAS}",
        )
        parser.add_argument(
            "--power", type=int, choices=(1, 2), default=1, help="of the base distance (default 1)"
        )
        parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<n>")
        parser.add_argument("--json", metavar="PATH", help="also write every choice to this file")

    def run(self, args: argparse.Namespace) -> None:
        """Search, print the table and the best choice as it is spelt in params.

        Raises:
            ReidError: An option is out of range, or the images cannot be searched on.
        """
        _check(args)
        from reid_evaluate.reranking.rerank_search import pairs_of
        from reid_plugins.command import _rerank_tuning as tuning

        pairs = pairs_of(sorted(set(args.k1)), sorted(set(args.k2)))
        if not pairs:
            raise ReidError("--k2: none is at most 0.7 times a value of --k1; name smaller ones")
        if args.features:
            images = tuning.images_of_files(*args.features)
        else:
            choice = tuning.Choice(args.split, args.share, args.seed or 0, args.target)
            images = tuning.images_of_run(args.run, choice, self.catalog, args.device)
        lambdas = sorted(set(args.lambdas))
        found: list[Trial] = []
        total = len(pairs) * len(lambdas)
        for trial in tuning.trials(images, pairs, lambdas, args.power, args.device):
            found.append(trial)
            if trial.k1 and len(found) % len(lambdas) == 1 % len(lambdas):
                best = max(found[-len(lambdas) :], key=_score)
                say(f"  {len(found) - 1:>4} of {total}: {_row(best)}")
        _print(found, images.card)
        if args.json:
            _write(args, found, images.card)


def _check(args: argparse.Namespace) -> None:
    """Refuse options that cannot work, before anything is loaded."""
    if bool(args.run) == bool(args.features):
        raise ReidError("name a RUN, or two files with --features, and not both")
    choosing = [o for o in ("split", "target", "share", "seed") if getattr(args, o) is not None]
    if args.features and choosing:
        given = " and ".join(f"--{option}" for option in choosing)
        raise ReidError(f"{given} would choose images of a RUN; leave out what is said of them")
    if args.split == "test" and args.seed is not None:
        raise ReidError("--seed: nothing is drawn from the test images; leave it out")
    if min(args.k1) < 1 or min(args.k2) < 1:
        raise ReidError("--k1 and --k2 must be 1 or larger")
    if not all(0 <= value <= 1 for value in args.lambdas):
        raise ReidError("--lambda must be from 0 to 1")
    if args.share is not None and not 0 < args.share <= 1:
        raise ReidError(f"--share must be above 0 and up to 1, got {args.share:g}")
    if args.seed is not None and args.seed < 0:
        raise ReidError(f"--seed must be 0 or larger, got {args.seed}")


def _score(trial: Trial) -> float:
    return trial.mean_ap


def _row(trial: Trial) -> str:
    choice = f"k1 {trial.k1:>3}  k2 {trial.k2:>2}  lambda {trial.lambda_value:.2f}"
    return f"{choice}   mAP {trial.mean_ap:.4f}   rank1 {trial.rank1:.4f}"


def _print(found: list[Trial], card: dict[str, Any]) -> None:
    """Print the best choices, what they were measured on, and how to use the best."""
    plain, *others = found
    say(f"without re-ranking:               mAP {plain.mean_ap:.4f}   rank1 {plain.rank1:.4f}")
    say("best choices:")
    for trial in sorted(others, key=_score, reverse=True)[:10]:
        say(f"  {_row(trial)}")
    for key, value in card.items():
        say(f"    {key}: {value if isinstance(value, str) else json.dumps(value)}")
    best = max(others, key=_score)
    if best.mean_ap <= plain.mean_ap:
        say("no choice is better than none at all: leave re-ranking out")
        return
    params: dict[str, Any] = {"k1": best.k1, "k2": best.k2, "lambda_value": best.lambda_value}
    if card["power"] != 1:
        params["power"] = card["power"]
    step = [{"name": "k_reciprocal", "params": params}]
    say(f'"postprocess": {json.dumps(step)}')


def _write(args: argparse.Namespace, found: list[Trial], card: dict[str, Any]) -> None:
    """Write every choice as JSON."""
    from reid_core.files import user_path, write_json

    path = user_path(args.json)
    write_json(path, {"card": card, "power": args.power, "trials": [asdict(t) for t in found]})
    say(f"trials: {path}")


def build(params: Params, *, catalog: Catalog) -> TuneRerankCommand:
    """Return the subcommand."""
    return TuneRerankCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [
        Component(
            name="tune-rerank",
            build=build,
            summary="Search the parameters of k-reciprocal re-ranking on validation images",
            reference="arXiv:1701.08398",
        )
    ]
