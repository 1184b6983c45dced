"""Ask the installed translators about a params file: whose it is, and what it says in our words."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

from reid_core.boundary import Origin, PluginError
from reid_core.catalog import Catalog, Offer
from reid_core.component import TranslatorComponent
from reid_core.contracts import ParamsKind, Translation, Translator
from reid_core.errors import ParamsError, ReidError
from reid_core.params.json_file import Raw


@dataclass(frozen=True)
class Recognition:
    """A translator that has recognised a file as its system's."""

    offer: Offer
    translator: Translator

    @property
    def system(self) -> str:
        """The system that the file is written for."""
        return cast(TranslatorComponent, self.offer.component).system

    def translate(self, raw: Raw, kind: ParamsKind, source: str) -> Translation:
        """Return the file in our vocabulary.

        Raises:
            ParamsError: The file has problems, or the translator fails.
        """
        origin = self.offer.origin
        try:
            with origin.calling(f"on the {kind} params"):
                # A copy: what is translated may go on to change.
                found: Any = self.translator.translate(deepcopy(raw), kind, source)
            return _checked(found, origin)
        except PluginError as error:
            raise ParamsError(source, [str(error)]) from error


def recognitions(
    raw: Raw, kind: ParamsKind, catalog: Catalog, failed: list[str]
) -> list[Recognition]:
    """Return the translators that recognise a file; a broken one stands in nobody's way.

    Args:
        raw: The JSON object.
        kind: What the file is for.
        catalog: Whose translators are asked.
        failed: Receives one line per translator that could not be asked.
    """
    found = []
    for offer in catalog.offers:
        if offer.kind == "translator":
            try:
                if recognition := _recognition(offer, raw, kind):
                    found.append(recognition)
            except ReidError as error:
                failed.append(str(error))
    return found


def _recognition(offer: Offer, raw: Raw, kind: ParamsKind) -> Recognition | None:
    """Return the translator of an offer if it recognises a file.

    Raises:
        ReidError: It fails, or does not say so by True or False.
    """
    with offer.origin.calling("when it was asked about the file"):
        translator: Translator = offer.build(offer.component.params())
        # A copy: whatever it does to what it reads, others read the file as it is.
        answer: Any = translator.recognises(deepcopy(raw), kind)
    if not isinstance(answer, bool):
        raise offer.origin.fault(f"returned {answer!r} from 'recognises'; expected True or False")
    return Recognition(offer, translator) if answer else None


def _checked(answer: Any, origin: Origin) -> Translation:
    """Return what a translator has returned.

    Raises:
        PluginError: It is no translation, or its params cannot stand in a JSON file.
    """
    if not isinstance(answer, Translation) or not isinstance(answer.params, dict):
        found = answer if not isinstance(answer, Translation) else answer.params
        raise origin.fault(
            f"returned a {type(found).__name__}; expected a Translation with params of a dict"
        )
    notes: Any = answer.notes
    if not isinstance(notes, tuple | list) or not all(isinstance(note, str) for note in notes):
        raise origin.fault(f"returned notes {notes!r}; expected a tuple of strings")
    if fault := next(_json_faults(answer.params, ""), ""):
        raise origin.fault(f"returned params that are not JSON: {fault}")
    return answer


def _json_faults(value: Any, place: str) -> Iterator[str]:
    """Yield what of a value JSON does not have, by its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield f"{place or 'params'} has the key {key!r}"
            yield from _json_faults(inner, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _json_faults(inner, f"{place}.{position}")
    elif value is not None and not isinstance(value, str | int | float):
        yield f"{place} is a {type(value).__name__}"
