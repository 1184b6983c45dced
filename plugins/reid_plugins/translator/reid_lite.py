"""The translator `reid_lite`: params.json and eval_params.json of pytorch-reid-lite.

A translated run does what the predecessor did with the same file, and notes name every key that
has no effect or another meaning. `_reid_lite` holds its vocabulary and the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reid_core import Params, TranslatorComponent, hookimpl
from reid_core.contracts import ParamsKind, Translation, Translator
from reid_plugins.translator._reid_lite.eval_params import is_eval, translate_eval
from reid_plugins.translator._reid_lite.run_params import is_run, translate_run


class ReidLite:
    """Both files of pytorch-reid-lite; see ``Translator``."""

    def recognises(self, raw: Mapping[str, Any], kind: ParamsKind) -> bool:
        """Return whether the file has keys of the predecessor's and no section of ours."""
        return is_run(raw) if kind == "run" else is_eval(raw)

    def translate(self, raw: Mapping[str, Any], kind: ParamsKind, source: str) -> Translation:
        """Return the file in our vocabulary.

        Raises:
            ParamsError: With all problems: unknown, missing and wrong keys, absent features.
        """
        return translate_run(raw, source) if kind == "run" else translate_eval(raw, source)


def build(params: Params) -> Translator:
    """Return the translator."""
    return ReidLite()


@hookimpl
def reid_translator() -> list[TranslatorComponent]:
    """Offer the translator of the predecessor's files."""
    return [
        TranslatorComponent(
            name="reid_lite",
            build=build,
            system="pytorch-reid-lite",
            summary="Params files of pytorch-reid-lite, for training and for evaluation",
        )
    ]
