"""The command line: every subcommand is a plugin of the kind ``command``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from reid_core.boundary import Origin, traceback_text
from reid_core.catalog import Catalog, Offer
from reid_core.contracts import Command
from reid_core.discovery import load_catalog
from reid_core.errors import ReidError
from reid_core.interrupt import Interrupted
from reid_core.library_warnings import libraries_warn_as_we_do
from reid_core.output import outlived
from reid_core.printable import lines, one_line

EXAMPLES = """\
train, and look at what was reached:
  reid check params/quickstart.json --model
  reid train params/quickstart.json --sub_working_dir first
  reid report runs/first
go on with a run that was stopped, score it again, score by other choices:
  reid train --operation resume_train --sub_working_dir runs/first
  reid train --operation evaluate --sub_working_dir runs/first
  reid evaluate params/eval_run.json
compare two runs, tune re-ranking:
  reid compare-runs runs/first runs/second
  reid tune-rerank runs/first
images, components, a plugin of your own:
  reid pack params/quickstart.json
  reid plugins triplet
  reid new-plugin loss my_loss
Every command explains its options: reid COMMAND --help
"""
"""What to type for what one wants to do."""


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
        with libraries_warn_as_we_do():
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


@dataclass(frozen=True)
class _Word:
    """A command that can be called: what it does, whose it is, and what reads its arguments."""

    command: Command
    origin: Origin
    parser: _CommandParser


def _run(catalog: Catalog, arguments: list[str], prog: str | None) -> int:
    """Parse the arguments with the subcommand's own parser and run it."""
    parser = _parser(catalog)
    broken: dict[str, str] = {}
    words = _words(catalog, parser, prog, broken)
    if not arguments:
        parser.print_help()
        return 0
    word = arguments[0]
    if word in broken:
        raise ReidError(broken[word])
    if not word.startswith("-") and word not in words:
        _check_is_no_path(word)
        catalog.offer("command", word)  # says what there is and which plugins failed
    if word in words:
        words[word].parser.is_alone = len(arguments) == 1
    args = parser.parse_args(arguments)
    chosen = words[args.command]
    with chosen.origin.calling():
        status: Any = chosen.command.run(args)
    if not isinstance(status, int | None):
        raise chosen.origin.fault(
            f"returned {status!r}; expected the exit status, a whole number or None"
        )
    return int(status or 0)


def _parser(catalog: Catalog) -> argparse.ArgumentParser:
    """Return the program's parser, without the commands."""
    parser = _Parser(
        prog="reid",
        description="Person re-identification: train, evaluate, and look inside.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    packages = sorted({(o.distribution, o.version) for o in catalog.offers})
    version = "\n".join(" ".join(package) for package in packages)
    parser.add_argument(
        "--version", action="version", version=version, help="list the packages and their versions"
    )
    return parser


def _words(
    catalog: Catalog, parser: argparse.ArgumentParser, prog: str | None, broken: dict[str, str]
) -> dict[str, _Word]:
    """Give the parser every command that works, and return them by word.

    Args:
        catalog: Offers the commands.
        parser: That of the program.
        prog: Name of the program, when a script stands for one command.
        broken: Receives, by word, why a command does not work; the others do.
    """
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_CommandParser
    )
    words: dict[str, _Word] = {}
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
            words[name] = _Word(command, offer.origin, subparser)
        except ReidError as error:
            broken[name] = str(error)
        except Exception as error:  # the fault of one plugin; the other commands work
            broken[name] = f"{offer} cannot be used: {type(error).__name__}: {error}"
    return words


class _CommandParser(_Parser):
    """The parser of a command; to nobody's words it answers with its whole help.

    Attributes:
        is_alone: Whether nothing but the command was given.
    """

    is_alone = False

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        if self.is_alone:
            self.print_help(sys.stderr)
            self.exit(2)
        super().error(message)


def _check_is_no_path(word: str) -> None:
    """Refuse a file or a folder in place of a command.

    Raises:
        ReidError: It is one; the message names commands that take it.
    """
    if os.path.isdir(word):
        raise ReidError(
            f"'{word}' is a folder and no command; of a run: reid report {word}, or: reid train "
            f"--operation evaluate --sub_working_dir {word}"
        )
    if os.path.isfile(word):
        raise ReidError(
            f"'{word}' is a file and no command; to train by it: reid train {word}, to score by "
            f"it: reid evaluate {word}, to look it over: reid check {word}"
        )


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


if __name__ == "__main__":
    sys.exit(main())
