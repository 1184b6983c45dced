"""From a file's path to checked params: read, translate an older vocabulary, override, check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.errors import ParamsError
from reid_core.legacy import (
    Translation,
    is_legacy_eval,
    is_legacy_run,
    translate_eval,
    translate_run,
)
from reid_core.params.json_file import overridden, parse_json
from reid_core.params.schema import EvalParams, RunParams
from reid_core.params.validation import check_eval_params, check_run_params


@dataclass(frozen=True)
class LoadedParams:
    """Resolved params, and the translation that they come from, if the file was an older one."""

    params: RunParams
    translation: Translation | None = None


def load_run_params(path: Path, catalog: Catalog, overrides: Sequence[str] = ()) -> LoadedParams:
    """Read, translate, override and check a params.json.

    Args:
        path: The file.
        catalog: Whose components it may name.
        overrides: ``path=value`` strings, applied after the translation.

    Raises:
        ReidError: With all problems of the file.
    """
    problems: list[str] = []
    raw, translation = parse_json(path, problems), None
    with _joined(path, problems):
        if is_legacy_run(raw):
            translation = translate_run(raw, str(path))
            raw = translation.params
            _say_notes(path, translation)
        recorded = raw.get("plugins")
        params = check_run_params(overridden(raw, overrides, problems), catalog, str(path))
    if isinstance(recorded, dict):
        for name, version in params.plugins.items():
            if recorded.get(name, version) != version:
                say(f"{path}: written with {name} {recorded[name]}, {version} is installed")
    return LoadedParams(params, translation)


def load_eval_params(path: Path, catalog: Catalog, overrides: Sequence[str] = ()) -> EvalParams:
    """Read, translate, override and check an eval_params.json; see ``load_run_params``."""
    problems: list[str] = []
    raw = parse_json(path, problems)
    with _joined(path, problems):
        if is_legacy_eval(raw):
            translation = translate_eval(raw, str(path))
            raw = translation.params
            _say_notes(path, translation)
        params = check_eval_params(overridden(raw, overrides, problems), catalog, str(path))
    return params


@contextmanager
def _joined(path: Path, problems: list[str]) -> Iterator[None]:
    """Report the problems that were found before together with those of the block.

    Of a place that has a problem already, such as a key given twice, nothing more is said.

    Raises:
        ParamsError: There are problems.
    """
    try:
        yield
    except ParamsError as error:
        places = {problem.partition(": ")[0] for problem in problems}
        problems += [p for p in error.problems if p.partition(": ")[0] not in places]
    if problems:
        raise ParamsError(str(path), problems)


def _say_notes(path: Path, translation: Translation) -> None:
    say(f"{path}: written for pytorch-reid-lite; translated:")
    for note in translation.notes:
        say(f"  {note}")
