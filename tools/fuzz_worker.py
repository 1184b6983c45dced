"""One process of the fuzzer: makes right files, damages them one after the other, reads them.

python tools/fuzz_worker.py KIND SEED START STOP [--raise]

It prints a line of JSON per input: its number, what became of it, a few words. At most
``STOP`` are tried, and no more than there are. With ``--raise`` an exception ends it, with its
traceback.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

MEMORY = 6 << 30
"""Bytes of data that the process may have: who believes an absurd length is told so at once."""


def outcomes(
    kind: str, seed: int, start: int, stop: int, folder: Path, reraise: bool
) -> Iterator[tuple[int, str, str]]:
    """Yield number, outcome and words of every input."""
    from fuzz_targets import TARGETS
    from reid_core import ReidError

    target = TARGETS[kind](folder)
    last = min(filter(None, (target.count, stop)))
    for number in range(start, last):
        rng = random.Random(f"{seed}/{kind}/{number}")
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                yield number, target.attempt(number, rng), ""
        except ReidError as error:
            yield number, *_judged(str(error))
        except Exception as error:
            if reraise:
                raise
            yield number, "traceback", f"{type(error).__name__}: {str(error)[:200]}"


RAW = ("BytesIO at 0x", "object at 0x", "Traceback")
"""What no message for people says."""


def _judged(text: str) -> tuple[str, str]:
    """Return the outcome of an input that was refused with a message."""
    raw = [word for word in RAW if word in text]
    return ("traceback", f"the message has '{raw[0]}': {text[:200]}") if raw else ("refused", "")


def main() -> None:
    """Try what the arguments say."""
    kind, seed, start, stop = sys.argv[1:5]
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    with (
        os.fdopen(os.dup(1), "w") as answers,
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
    ):
        os.dup2(2, 1)  # what else is printed is no answer
        os.chdir(folder)
        warnings.simplefilter("error")
        limits = int(seed), int(start), int(stop)
        for outcome in outcomes(kind, *limits, Path(folder), "--raise" in sys.argv):
            answers.write(json.dumps(outcome) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
