"""``reid compare-runs``: what changed from one run to another, and whether by more than chance.

Idea: both runs ranked the same queries, so the measures are compared query by query. The
interval of a difference is a paired bootstrap over queries.

Reference: Smucker, Allan and Carterette, CIKM 2007; Efron and Tibshirani, 1993.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.files import user_path, write_json

if TYPE_CHECKING:
    from reid_plugins.command._compare_runs import Choice, Compared, Query


class CompareRunsCommand:
    """The subcommand; it reads saved scores and needs neither model nor images."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog that offers the evaluators of a run."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        a_run = "directory of a run, or an output_dir of reid evaluate"
        parser.add_argument("run_a", metavar="RUN_A", help=f"{a_run}; what is compared with")
        parser.add_argument("run_b", metavar="RUN_B", help=f"{a_run}; differences are B - A")
        parser.add_argument(
            "--gallery",
            metavar="FILE",
            help="RUN_B is a features file of the queries, such as query.npz, and this one that of "
            "the gallery, of another system on the images of RUN_A: they are scored by the "
            "evaluations of RUN_A",
        )
        parser.add_argument("--evaluation", metavar="NAME", help="only the evaluation of this name")
        parser.add_argument(
            "--kind", choices=("best", "last"), help="model of a run (default best)"
        )
        parser.add_argument(
            "--queries",
            type=int,
            default=10,
            metavar="N",
            help="list the N queries that lost most and the N that gained most (default 10)",
        )
        parser.add_argument(
            "--draws", type=int, default=1000, help="bootstrap draws (default 1000)"
        )
        parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
        parser.add_argument(
            "--confidence", type=float, default=0.95, help="of the intervals (default 0.95)"
        )
        parser.add_argument("--json", metavar="PATH", help="also write everything to this file")

    def run(self, args: argparse.Namespace) -> None:
        """Compare, print, and write if asked.

        Raises:
            ReidError: An option is out of range, or the runs cannot be compared.
        """
        if os.path.isfile(args.run_b) and not args.gallery:
            raise ReidError(
                f"{args.run_b}: a file, and a folder of a run is expected; if it has features "
                "of the queries, add --gallery FILE with those of the gallery"
            )
        for option in ("queries", "seed"):
            if getattr(args, option) < 0:
                raise ReidError(f"--{option}: must be 0 or larger, got {getattr(args, option)}")
        draws = {name: getattr(args, name) for name in ("draws", "seed", "confidence")}
        found = self._compare(args, draws)
        say(f"A: {args.run_a}")
        say(f"B: {_name_of_b(args)}")
        for compared in found:
            _print(compared, args.confidence)
        say(
            f"Intervals: paired percentile bootstrap over queries, {args.draws} draws, seed "
            f"{args.seed}; they say nothing of other seeds of training."
        )
        if args.json:
            _write(user_path(args.json), args, found, {**draws, "resampled": "queries"})

    def _compare(self, args: argparse.Namespace, draws: dict[str, Any]) -> list[Compared]:
        """Compare A with B, or with features that are scored as A is."""
        from reid_evaluate.statistics.bootstrap import paired_difference
        from reid_plugins.command._compare_runs import compare_scores

        compare = partial(
            compare_scores,
            user_path(args.run_a),
            difference=partial(paired_difference, **draws),
            kind=args.kind,
            evaluation=args.evaluation,
            queries=args.queries,
        )
        if not args.gallery:
            return compare(user_path(args.run_b))
        from reid_plugins.command._score_features import score_features

        with tempfile.TemporaryDirectory() as folder:
            files = (args.run_b, args.gallery)
            score_features(user_path(args.run_a), files, self.catalog, Path(folder))
            return compare(Path(folder))


def _name_of_b(args: argparse.Namespace) -> str:
    return f"{args.run_b} and {args.gallery}" if args.gallery else str(args.run_b)


def _print(compared: Compared, confidence: float) -> None:
    """Print one evaluation."""
    say(f"{compared.evaluation} on {compared.target}")
    say(f"  A: {compared.model_a}, B: {compared.model_b}")
    other = "" if compared.own_ap_b == compared.ap else f", while B reported {compared.own_ap_b}"
    say(f"  {compared.counted} of {compared.queries} queries counted")
    say(f"  AP: {compared.ap}, as A reported{other}")
    if compared.choices:
        say("  warning: protocol or data differ (A | B):")
        for choice in compared.choices:
            say(f"    {choice.key}: {_both(choice)}")
    say(f"  {f'{100 * confidence:g} % intervals':<16} {'A':<25} {'B':<25} B - A")
    for name, change in compared.metrics.items():
        one, other = (
            f"{value:.4f} [{low:.4f}, {high:.4f}]"
            for value, (low, high) in (
                (change.a, change.interval_a),
                (change.b, change.interval_b),
            )
        )
        difference = f"{change.difference:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"
        say(f"  {name:<16} {one:<25} {other:<25} {difference}")
    _print_queries("lost", compared.lost)
    _print_queries("gained", compared.gained)


def _both(choice: Choice) -> str:
    """Return both values; what a run does not have is a dash."""
    return " | ".join(_text(value) for value in (choice.a, choice.b))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _print_queries(word: str, queries: list[Query]) -> None:
    """Print the queries that changed most in one direction."""
    if not queries:
        return
    say(f"  {word} most: AP, rank of the first match, pid, camera, name")
    for query in queries:
        ap, ranks = query.ap, [rank or "-" for rank in query.first_rank]  # 0 means no match
        say(
            f"    {ap[0]:.3f} -> {ap[1]:.3f}  {f'{ranks[0]} -> {ranks[1]}':<12} "
            f"{query.pid}  {query.camid}  {query.name}"
        )


def _write(
    path: Path, args: argparse.Namespace, found: list[Compared], bootstrap: dict[str, Any]
) -> None:
    """Write everything as JSON."""
    evaluations = [asdict(compared) for compared in found]
    runs = {"a": args.run_a, "b": _name_of_b(args), "kind": args.kind}
    write_json(path, {**runs, "bootstrap": bootstrap, "evaluations": evaluations})
    say(f"comparison: {path}")


def build(params: Params, *, catalog: Catalog) -> CompareRunsCommand:
    """Return the subcommand."""
    return CompareRunsCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [
        Component(
            name="compare-runs",
            build=build,
            summary="Differences of two runs' scores with intervals, and the queries behind them",
            reference="Smucker et al., CIKM 2007",
        )
    ]
