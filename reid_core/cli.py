"""The command line: every subcommand is a plugin of the kind ``command``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from reid_core.boundary import Origin, traceback_text
from reid_core.catalog import Catalog, Offer
from reid_core.contracts import Command
from reid_core.discovery import load_catalog
from reid_core.errors import ReidError
from reid_core.interrupt import Interrupted


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: Arguments without the program's name; None: those of the process.
        prog: Name of the program for help texts, when a script stands for one command.

    Returns:
        The exit status: 0, 2 for a mistake in the input, 128 + the signal's number after
        an interruption.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        catalog = load_catalog()
        if not catalog.offers:
            raise ReidError("no plugin is installed; run: pip install -e . in the clone")
        try:
            return _run(catalog, arguments, prog)
        finally:
            sys.stdout.flush()
    except ReidError as error:
        print(f"{traceback_text(error)}error: {error}", file=sys.stderr)
        return 2
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return 128 + stop.signal_number
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) is gone; there is nobody to tell, now or when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(catalog: Catalog, arguments: list[str], prog: str | None) -> int:
    """Parse the arguments with the subcommand's own parser and run it."""
    parser = argparse.ArgumentParser(
        prog="reid", description="Person re-identification: train, evaluate, and look inside."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands: dict[str, tuple[Command, Origin]] = {}
    broken: dict[str, str] = {}
    for name, offer in _offered(catalog, broken).items():
        summary = offer.component.summary
        subparser = subparsers.add_parser(
            name, prog=prog, help=summary.replace("%", "%%"), description=summary
        )
        try:
            params = offer.component.params()
            command: Command = offer.build(params, catalog=catalog)
            with offer.origin.calling("when it was asked for its arguments"):
                command.add_arguments(subparser)
            commands[name] = command, offer.origin
        except ReidError as error:
            broken[name] = str(error)
        except Exception as error:  # the fault of one plugin; the other commands work
            broken[name] = f"{offer} cannot be used: {type(error).__name__}: {error}"
    if arguments and arguments[0] in broken:
        raise ReidError(broken[arguments[0]])
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        catalog.offer("command", arguments[0])  # says what there is and which plugins failed
    args = parser.parse_args(arguments)
    command, origin = commands[args.command]
    with origin.calling():
        status: Any = command.run(args)
    if not isinstance(status, int | None):
        raise origin.fault(f"returned {status!r}; expected the exit status, a whole number or None")
    return int(status or 0)


def _offered(catalog: Catalog, broken: dict[str, str]) -> dict[str, Offer]:
    """Return the commands by word; of two with one name each is ``dist:name``."""
    words: dict[str, Offer] = {}
    for offer in catalog.offers:
        name = offer.component.name
        if offer.kind != "command" or name in words:
            continue
        for word in (name, f"{offer.distribution}:{name}"):
            try:
                words[word] = catalog.offer("command", word)
                break
            except ReidError as error:
                broken[word] = str(error)
    return words


def run_as(command: str, script: str) -> int:
    """Run the program as if it were one subcommand, for scripts such as ``train.py``."""
    return main([command, *sys.argv[1:]], prog=script)
