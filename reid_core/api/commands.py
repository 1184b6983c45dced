"""Subcommands of ``reid`` as functions of keyword arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from reid_core.catalog import Catalog
from reid_core.contracts import Command
from reid_core.discovery import load_catalog
from reid_core.errors import ReidError, did_you_mean, name_list


def command(name: str, *, catalog: Catalog | None = None) -> Callable[..., int]:
    """Return a subcommand of ``reid`` as a function, e.g. ``command("plugins")(kind="loss")``.

    Args:
        name: The subcommand's word; ``"distribution:name"`` picks one of two.
        catalog: Where the command is looked up; default: what is installed.

    Returns:
        A function of the command's options as keywords, ``-`` written as ``_``. What is left out
        has the command's own default; an option that may be repeated takes a list. It returns
        the exit status.

    Raises:
        ReidError: There is no such command; when it is called: a keyword is unknown, required
            and missing, or has a wrong value, or the command fails.
    """
    installed = catalog or load_catalog()
    offer = installed.offer("command", name)
    built: Command = offer.build(offer.component.params(), catalog=installed)
    parser = _Arguments(prog=f"reid {name}")
    built.add_arguments(parser)

    def run(**arguments: Any) -> int:
        return int(built.run(parser.namespace(arguments)) or 0)

    run.__name__, run.__doc__ = name.replace("-", "_"), offer.component.summary
    return run


class _Arguments(argparse.ArgumentParser):
    """A command's own parser, asked for its options instead of parsing a line."""

    def namespace(self, given: Mapping[str, Any]) -> argparse.Namespace:
        """Return what the command's ``run`` takes.

        Raises:
            ReidError: A keyword is unknown, missing, or has a wrong value.
        """
        actions = {a.dest: a for a in self._actions if a.default != argparse.SUPPRESS}
        for word in given:
            if word not in actions:
                raise ReidError(
                    f"{self.prog}: unknown keyword '{word}'{did_you_mean(word, actions)} "
                    f"(known: {name_list(actions)})"
                )
        for word, action in actions.items():
            if action.required and action.nargs not in ("*", "?") and word not in given:
                raise ReidError(f"{self.prog}: the keyword '{word}' is missing: {action.help}")
        values = {word: given.get(word, action.default) for word, action in actions.items()}
        return argparse.Namespace(**{w: self._value(actions[w], v) for w, v in values.items()})

    def _value(self, action: argparse.Action, value: Any) -> Any:
        """Return a value as the parser would have made it of text."""
        several = action.nargs in ("*", "+") or (isinstance(action.nargs, int) and action.nargs > 0)
        if value is None:
            return [] if several and not action.option_strings else None
        if several or isinstance(action.default, list):
            items = value if isinstance(value, list | tuple) else [value]
            return [self._one(action, item) for item in items]
        return self._one(action, value)

    def _one(self, action: argparse.Action, value: Any) -> Any:
        """Convert one value and check it against the choices."""
        if isinstance(value, str) and callable(action.type):
            try:
                value = action.type(value)
            except (ValueError, TypeError, argparse.ArgumentTypeError) as error:
                raise ReidError(f"{self.prog}: '{action.dest}': {error}") from None
        if value is not None and action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            raise ReidError(
                f"{self.prog}: '{action.dest}' is {value!r}; choose one of {name_list(choices)}"
                f"{did_you_mean(str(value), choices)}"
            )
        return value
