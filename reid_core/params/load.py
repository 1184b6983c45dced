"""From a file's path to checked params: read, translate another vocabulary, override, check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reid_core.catalog import Catalog
from reid_core.console import say
from reid_core.contracts import ParamsKind, Translation
from reid_core.discovery import OFF_SWITCH
from reid_core.errors import ParamsError
from reid_core.params.json_file import Raw, parse_json
from reid_core.params.overrides import overridden
from reid_core.params.purpose import check_purpose
from reid_core.params.recognition import recognitions
from reid_core.params.schema import EvalParams, RunParams
from reid_core.params.validation import Further, check_eval_params, check_run_params


@dataclass(frozen=True)
class LoadedParams:
    """Resolved params, and the translation that they come from, if they were another system's."""

    params: RunParams
    translation: Translation | None = None


def load_run_params(
    path: Path,
    catalog: Catalog,
    overrides: Sequence[str] = (),
    further: Further = lambda sections: (),
) -> LoadedParams:
    """Read, translate, override and check a params.json.

    Args:
        path: The file.
        catalog: Whose components it may name.
        overrides: ``path=value`` strings, applied after the translation.
        further: Yields further problems; see ``check_run_params``.

    Raises:
        ReidError: With all problems of the file.
    """
    problems: list[str] = []
    failed: list[str] = []
    raw = parse_json(path, problems)
    check_purpose(raw, "run", path, catalog)
    with _joined(path, problems, failed):
        raw, translation = _in_our_vocabulary(raw, "run", path, catalog, failed)
        recorded = raw.get("plugins")
        given = overridden(raw, overrides, problems)
        params = check_run_params(given, catalog, str(path), further)
    if isinstance(recorded, dict):
        for name, version in params.plugins.items():
            if recorded.get(name, version) != version:
                say(f"{path}: written with {name} {recorded[name]}, {version} is installed")
    return LoadedParams(params, translation)


def load_eval_params(
    path: Path,
    catalog: Catalog,
    overrides: Sequence[str] = (),
    further: Further = lambda sections: (),
) -> EvalParams:
    """Read, translate, override and check an eval_params.json; see ``load_run_params``."""
    problems: list[str] = []
    failed: list[str] = []
    raw = parse_json(path, problems)
    check_purpose(raw, "eval", path, catalog)
    with _joined(path, problems, failed):
        raw, _ = _in_our_vocabulary(raw, "eval", path, catalog, failed)
        given = overridden(raw, overrides, problems)
        params = check_eval_params(given, catalog, str(path), further)
    return params


@contextmanager
def _joined(path: Path, problems: list[str], failed: list[str]) -> Iterator[None]:
    """Report the problems that were found before together with those of the block.

    Of a place that has a problem already, such as a key given twice, nothing more is said. Of
    translators that could not be asked nothing is said when the file is right without them.

    Raises:
        ParamsError: There are problems.
    """
    try:
        yield
    except ParamsError as error:
        places = {problem.partition(": ")[0] for problem in problems}
        problems += [p for p in error.problems if p.partition(": ")[0] not in places]
    if problems:
        raise ParamsError(str(path), [*problems, *failed])


def _in_our_vocabulary(
    raw: Raw, kind: ParamsKind, path: Path, catalog: Catalog, failed: list[str]
) -> tuple[Raw, Translation | None]:
    """Return the params, translated if they are another system's, and the translation.

    Raises:
        ParamsError: The file has problems, its translator fails, or several recognise it.
    """
    found = recognitions(raw, kind, catalog, failed)
    if not found:
        return raw, None
    if len(found) > 1:
        names = " and ".join(str(recognition.offer) for recognition in found)
        advice = f"uninstall one, or keep all but the built-in plugins out with {OFF_SWITCH}=1"
        raise ParamsError(str(path), [f"recognised by {names}; {advice}"])
    translation = found[0].translate(raw, kind, str(path))
    say(f"{path}: written for {found[0].system}; translated:")
    for note in translation.notes:
        say(f"  {note}")
    return translation.params, translation
