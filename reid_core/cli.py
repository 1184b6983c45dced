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
from reid_core.output import outlived
from reid_core.printable import lines, one_line


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: Arguments without the program's name; None: those of the process.
        prog: Name of the program for help texts, when a script stands for one command.

    Returns:
        The exit status: 0, 2 for a mistake in the input, 128 + the signal's number after
        an interruption, 141 or 74 if all was done but standard output was closed or full.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with outlived() as (output, _):
        try:
            status = _status(arguments, prog)
            sys.stdout.flush()
        except SystemExit as stop:  # of argparse, after its help or a complaint
            sys.stdout.flush()
            if output.lost is None:
                raise
            status = stop.code if isinstance(stop.code, int) else 0
        if output.lost is None or status:
            return status
        if isinstance(output.lost, BrokenPipeError):
            return 141  # the reader (head, less) has seen enough
        _complain(
            f"error: standard output cannot be written: {_reason(output.lost)}; all else was done"
        )
        return os.EX_IOERR


def _status(arguments: list[str], prog: str | None) -> int:
    """Run the subcommand and print what ends it."""
    try:
        catalog = load_catalog()
        if not catalog.offers:
            raise ReidError("no plugin is installed; run: pip install -e . in the clone")
        return _run(catalog, arguments, prog)
    except ReidError as error:
        sys.stderr.write(lines(traceback_text(error)))
        first, *more = map(str, error.args or ("",))
        _complain(f"error: {first}", *more)
        return 2
    except Interrupted as stop:
        _complain(str(stop))
        return 128 + stop.signal_number
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        return 141  # of a plugin that writes to standard output past Python


def _complain(*texts: str) -> None:
    """Print lines to standard error."""
    for text in texts:
        print(one_line(text), file=sys.stderr, flush=True)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


class _Parser(argparse.ArgumentParser):
    """A parser whose help and errors, which repeat texts of plugins and users, are filtered."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            (file or sys.stderr).write(lines(message))


def _run(catalog: Catalog, arguments: list[str], prog: str | None) -> int:
    """Parse the arguments with the subcommand's own parser and run it."""
    parser = _Parser(
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
