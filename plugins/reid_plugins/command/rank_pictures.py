"""``reid rank-pictures``: ranked lists of the queries that one wants to see, as a picture.

Reference: the pictures of KaiyangZhou/deep-person-reid (``visrank``) show the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.catalog import Catalog
from reid_core.contracts import Command
from reid_core.errors import did_you_mean
from reid_core.files import user_path

if TYPE_CHECKING:
    from reid_plugins.command._report.collect import Evaluation


class RankPicturesCommand:
    """The subcommand; it reads saved scores and packed images and needs no model."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog that the run's params are checked with."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("run", metavar="RUN", help="directory of a run")
        parser.add_argument(
            "--ranks", type=int, help="images of each list (default 10, or as many as there are)"
        )
        parser.add_argument(
            "--count",
            type=int,
            help="queries, spread evenly from the worst to the best AP (default 8)",
        )
        parser.add_argument(
            "--queries",
            nargs="+",
            metavar="NAME",
            help="these queries instead: names of their images, with or without folder, or their "
            "numbers in the query split, from 0",
        )
        parser.add_argument("--evaluation", metavar="NAME", help="only the evaluation of this name")
        parser.add_argument(
            "--kind",
            choices=("best", "last", "scores"),
            help="model of the run; scores: those of its last --operation evaluate (default: the "
            "best if one has been scored)",
        )
        parser.add_argument(
            "--output",
            metavar="FILE",
            help="the picture (default: pictures/queries-<evaluation>-<target>.png in RUN)",
        )

    def run(self, args: argparse.Namespace) -> None:
        """Draw.

        Raises:
            ReidError: An option cannot be met, or scores or images are not there.
        """
        _check(args)
        from reid_plugins.command._report.collect import collect

        run = user_path(args.run)
        rankings = [found for found in collect(run, args.kind, args.evaluation) if found.is_ranking]
        if not rankings:
            raise ReidError(f"{run}: no scores of a ranking, so that there are no lists to draw")
        if args.output and len(rankings) > 1:
            names = ", ".join(found.title for found in rankings)
            raise ReidError(f"--output: there are several rankings ({names}); add --evaluation")
        for found in rankings:
            self._draw(run, found, args)

    def _draw(self, run: Path, found: Evaluation, args: argparse.Namespace) -> None:
        """Draw the lists of one evaluation."""
        from reid_plugins.command._pictures import draw_ranking
        from reid_plugins.command._report.album import open_album
        from reid_plugins.command._report.collect import LeftOut

        kept = found.arrays["top_indices"].shape[1]
        if (args.ranks or 0) > kept:
            raise ReidError(
                f"--ranks: the scores keep the first {kept} images of each list; keep more with: "
                f"reid train --operation evaluate --sub_working_dir {run} --set "
                f"evaluation.0.params.top_k={args.ranks}, then add --kind scores"
            )
        try:
            store = open_album(run, found, self.catalog).store
        except LeftOut as error:
            raise ReidError(f"{run}: {error}") from None
        rows = [_row(word, found.arrays["name"].tolist()) for word in args.queries or []]
        name = f"queries-{found.facts['evaluation']}-{found.facts['target']}.png"
        picture = user_path(args.output) if args.output else run / "pictures" / name
        draw_ranking(
            found.path,
            store,
            picture,
            rows=args.count or 8,
            shown=args.ranks or min(10, kept),
            queries=rows or None,
        )


def _check(args: argparse.Namespace) -> None:
    """Refuse options that cannot work, before anything is read."""
    for option in ("ranks", "count"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise ReidError(f"--{option}: must be 1 or larger, got {value}")
    if args.queries and args.count is not None:
        raise ReidError("--queries names the queries, and --count chooses some; give one of them")


def _row(word: str, names: list[str]) -> int:
    """Return the row of the query that a word stands for.

    Raises:
        ReidError: None has the name or number, or several have the name.
    """
    for candidates in (names, [name.rpartition("/")[2] for name in names]):
        rows = [row for row, name in enumerate(candidates) if name == word]
        if len(rows) == 1:
            return rows[0]
        if rows:
            raise ReidError(f"--queries: {len(rows)} queries are called '{word}'; name the folder")
    if word.isdecimal() and int(word) < len(names):
        return int(word)
    if word.isdecimal():
        raise ReidError(f"--queries: no query {word}; there are {len(names)}, numbered from 0")
    raise ReidError(f"--queries: no query is called '{word}'{did_you_mean(word, names)}")


def build(params: Params, *, catalog: Catalog) -> Command:
    """Return the subcommand."""
    return RankPicturesCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [
        Component(
            name="rank-pictures",
            build=build,
            summary="Draw the ranked lists of chosen queries",
            reference="KaiyangZhou/deep-person-reid",
        )
    ]
