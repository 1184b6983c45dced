"""``reid pack``: pack the datasets of a params file into stores, or verify a store."""

from __future__ import annotations

import argparse
from pathlib import Path

from reid_core import Component, Params, ReidError, hookimpl
from reid_core.catalog import Catalog
from reid_core.console import progress_bar, say
from reid_core.contracts import Command
from reid_core.files import user_path
from reid_core.params.load import load_run_params


class PackCommand:
    """The subcommand."""

    def __init__(self, catalog: Catalog) -> None:
        """Keep the catalog that offers the datasets."""
        self.catalog = catalog

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "params", type=Path, nargs="?", help="params file whose datasets are to be packed"
        )
        parser.add_argument(
            "--dataset", help="pack this dataset instead, e.g. --dataset market1501"
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="PATH=VALUE",
            help="a param, of the params file or of the dataset (e.g. --set root=Market-1501)",
        )
        parser.add_argument("--out", type=Path, help="the store's directory, with --dataset")
        parser.add_argument(
            "--working_dir",
            type=Path,
            help="with --dataset and without --out: the store goes below its stores/ (default: "
            "runs)",
        )
        parser.add_argument(
            "--verify", type=Path, metavar="STORE", help="re-read every image of a packed store"
        )

    def run(self, args: argparse.Namespace) -> None:
        """Pack or verify.

        Raises:
            ReidError: Nothing to pack is named, an option has no meaning with what is named, or
                images are unreadable.
        """
        _check_options(args)
        if args.verify is not None:
            _verify(args.verify)
        elif args.dataset is not None:
            working_dir = args.working_dir or Path("runs")
            self._pack_one(args.dataset, args.set, args.out, working_dir)
        else:
            self._pack_all(args.params, args.set)

    def _pack_all(self, path: Path, overrides: list[str]) -> None:
        """Pack everything that a params file trains on and scores on."""
        params = load_run_params(path, self.catalog, overrides).params
        from reid_core.storage.dataset_stores import Stores

        stores = Stores(user_path(params.working_dir))
        streams = [entry for s in params.data.streams.values() for entry in s.sources]
        for entry in [*params.data.train, *params.data.targets.values(), *streams]:
            say(f"{entry.label}: {stores.open(entry).path}")

    def _pack_one(
        self, name: str, overrides: list[str], out: Path | None, working_dir: Path
    ) -> None:
        """Pack one dataset by name."""
        from reid_core.params.overrides import apply_overrides
        from reid_core.params.validation import check_dataset_entry
        from reid_core.storage.dataset_stores import Stores

        raw = apply_overrides(
            {"name": name, "params": {}}, [f"params.{o}" for o in overrides], name
        )
        entry = check_dataset_entry({**raw, "store": str(out) if out else None}, self.catalog, name)
        say(f"{entry.label}: {Stores(working_dir).open(entry).path}")


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that go with nothing, or not with each other."""
    meaning = {"params": {"--set"}, "dataset": {"--set", "--out", "--working_dir"}, "verify": set()}
    named = [word for word in meaning if getattr(args, word) is not None]
    if len(named) != 1:
        raise ReidError("reid pack: give a params file, --dataset NAME or --verify STORE")
    options = [o for o in ("--set", "--out", "--working_dir") if getattr(args, o[2:])]
    if useless := [option for option in options if option not in meaning[named[0]]]:
        what = {"params": "a params file", "dataset": "--dataset", "verify": "--verify"}[named[0]]
        raise ReidError(f"reid pack: {', '.join(useless)} has no meaning with {what}; leave it out")
    if args.out and args.working_dir:
        raise ReidError("reid pack: give --out or --working_dir, not both: --out is the store")


def _verify(path: Path) -> None:
    """Re-read every image of a store."""
    from reid_core.storage.packing import verify
    from reid_core.storage.store import Store

    store = Store(path)
    with progress_bar(f"verifying {path}") as tick:
        verify(store, tick)
    say(f"{path}: {len(store)} images, all readable, content as packed")


def build(params: Params, *, catalog: Catalog) -> Command:
    """Return the subcommand."""
    return PackCommand(catalog)


@hookimpl
def reid_command() -> list[Component]:
    """Offer the subcommand."""
    return [Component(name="pack", build=build, summary="Pack datasets into stores, or verify one")]
