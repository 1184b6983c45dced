"""Ask the installed translators about a params file: whose it is, and what it says in our words."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass
from typing import cast

from reid_core.catalog import Catalog, Offer
from reid_core.component import TranslatorComponent, call_build
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
        try:
            return _checked(self.translator.translate(raw, kind, source))
        except ReidError:
            raise
        except Exception as error:
            fault = f"{self.offer} cannot translate it: {_cause(error)}"
            advice = "its plugin must be corrected or updated"
            raise ParamsError(source, [f"{fault}; {advice}"]) from error


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
                translator = call_build(offer.component, offer.component.params(), str(offer))
                if translator.recognises(raw, kind):
                    found.append(Recognition(offer, translator))
            except Exception as error:
                failed.append(f"{offer} cannot say whether the file is for it: {_cause(error)}")
    return found


def _checked(answer: object) -> Translation:
    """Return what a translator has returned.

    Raises:
        TypeError: It is no translation, or its params cannot stand in a JSON file.
    """
    if not isinstance(answer, Translation) or not isinstance(answer.params, dict):
        raise TypeError(f"expected a Translation with params of a dict, got {answer!r}")
    json.dumps(answer.params)
    return answer


def _cause(error: Exception) -> str:
    """Return an exception's type, text and place in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, ReidError):
        return text
    *_, frame = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {text} ({frame.filename}, line {frame.lineno})"
