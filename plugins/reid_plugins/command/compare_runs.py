"""``reid compare-runs``: what changed from one run to another, and whether by more than chance.

Idea: both runs ranked the same queries, so the measures are compared query by query. The
interval of a difference is a paired bootstrap over queries.

Reference: Smucker, Allan and Carterette, CIKM 2007; Efron and Tibshirani, 1993.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.console import say
from reid_core.files import user_path, write_json

if TYPE_CHECKING:
    from reid_plugins.command._compare_runs import Choice, Compared, Query


class CompareRunsCommand:
    """The subcommand; it reads saved scores and needs neither model nor images."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        a_run = "directory of a run, or an output_dir of reid evaluate"
        parser.add_argument("run_a", metavar="RUN_A", help=f"{a_run}; what is compared with")
        parser.add_argument("run_b", metavar="RUN_B", help=f"{a_run}; differences are B - A")
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
        from reid_evaluate.statistics.bootstrap import paired_difference
        from reid_plugins.command._compare_runs import compare_scores

        for option in ("queries", "seed"):
            if getattr(args, option) < 0:
                raise ReidError(f"--{option}: must be 0 or larger, got {getattr(args, option)}")
        draws = {name: getattr(args, name) for name in ("draws", "seed", "confidence")}
        found = compare_scores(
            user_path(args.run_a),
            user_path(args.run_b),
            partial(paired_difference, **draws),
            kind=args.kind,
            evaluation=args.evaluation,
            queries=args.queries,
        )
        say(f"A: {args.run_a}")
        say(f"B: {args.run_b}")
        for compared in found:
            _print(compared, args.confidence)
        say(
            f"Intervals: paired percentile bootstrap over queries, {args.draws} draws, seed "
            f"{args.seed}; they say nothing of other seeds of training."
        )
        if args.json:
            _write(user_path(args.json), args, found, {**draws, "resampled": "queries"})


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
    runs = {"a": args.run_a, "b": args.run_b, "kind": args.kind}
    write_json(path, {**runs, "bootstrap": bootstrap, "evaluations": evaluations})
    say(f"comparison: {path}")


def build(params: Params) -> CompareRunsCommand:
    """Return the subcommand."""
    return CompareRunsCommand()


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
