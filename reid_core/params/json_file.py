"""Read a params file as text: JSON as it should be."""

from __future__ import annotations

import json
import math
import os
import shlex
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reid_core.errors import ParamsError, ReidError
from reid_core.nearby import nearby
from reid_core.params.messages import Place, dotted

LARGEST_FILE = 64 * 2**20
"""Bytes of a params file."""

Raw = dict[str, Any]
"""A JSON object as read."""


def read_json(path: Path) -> Raw:
    """Read a JSON object; see ``parse_json``.

    Raises:
        ReidError: The file is missing, not JSON or not an object.
        ParamsError: It has duplicate keys or numbers that JSON does not have.
    """
    problems: list[str] = []
    raw = parse_json(path, problems)
    if problems:
        raise ParamsError(str(path), problems)
    return raw


def parse_json(path: Path, problems: list[str]) -> Raw:
    """Read a JSON object that may have problems which do not hide those of its values.

    Args:
        path: The file.
        problems: Receives one line per key that is given twice (the last one is returned) and
            per number that JSON does not have (its text is returned).

    Raises:
        ReidError: The file is missing, not JSON or not an object.
    """
    twice: list[tuple[Raw, str]] = []

    def pairs(items: list[tuple[str, Any]]) -> Raw:
        node = dict(items)
        twice.extend((node, key) for key in repeated_keys(items))
        return node

    try:
        text = _text(path)
        raw = json.loads(
            text, object_pairs_hook=pairs, parse_constant=_NoNumber, parse_float=_number
        )
        found = list(_text_problems((), raw, twice))
    except FileNotFoundError:
        raise ReidError(f"{path}: no such file{nearby(path)}") from None
    except UnicodeDecodeError:
        raise ReidError(f"{path}: {_of_binary(path)}") from None
    except OSError as error:
        raise ReidError(f"{path}: cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise ReidError(
            f"{path}: not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except RecursionError:
        raise ReidError(f"{path}: lists or objects are nested too deep") from None
    except ValueError as error:  # a whole number of thousands of digits
        raise ReidError(f"{path}: cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise ReidError(f"{path}: expected a JSON object {{...}}, got {_json_type(raw)}")
    problems += found
    return raw


def _text(path: Path) -> str:
    """Return the text of a params file; nothing is waited for and no more than one is read.

    Raises:
        ReidError: It is no ordinary file, or larger than any params.
        OSError: It cannot be read.
        UnicodeDecodeError: It is no text.
    """
    if "\0" in str(path):
        raise ReidError(f"{path}: holds the character NUL, which no path can have")
    mode = os.stat(path).st_mode  # before opening: that of a pipe would wait for a writer
    if stat.S_ISDIR(mode):
        raise ReidError(f"{path}: {_of_folder(path)}")
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        what = kinds.get(stat.S_IFMT(mode), "a device")
        raise ReidError(f"{path}: is {what}; name a file (of a pipe, save its text in one)")
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise ReidError(f"{path}: larger than {LARGEST_FILE // 2**20} MB; no params are")
    return data.decode("utf-8")


def _of_folder(path: Path) -> str:
    """Say what a folder is that stands for a file, and what to do with it."""
    text = "a folder, and a params file is expected"
    if not (path / "params.json").is_file():
        return text
    run = f"--sub_working_dir {shlex.quote(str(path))}"
    return (
        f"{text}; to score this run: reid train --operation evaluate {run}, to continue it: reid "
        f"train --operation resume_train {run}"
    )


def _of_binary(path: Path) -> str:
    """Say what a file is that is no text, and what to do with it."""
    kinds = {".safetensors": "weights", ".npz": "features", ".mat": "features"}
    key = kinds.get(path.suffix)
    named = f"; an eval_params.json names it in '{key}'" if key else ""
    return f"cannot be read as text, and a params file is JSON in UTF-8{named}"


class _NoNumber(str):
    """``NaN``, ``Infinity`` and the like, which Python reads and JSON does not have."""


def _number(text: str) -> float | _NoNumber:
    """Read a number with a point or an exponent."""
    value = float(text)
    return value if math.isfinite(value) else _NoNumber("a number as large as this")


def repeated_keys(items: list[tuple[str, Any]]) -> list[str]:
    """Return the keys that an object is given more than once."""
    return [key for key, count in Counter(key for key, _ in items).items() if count > 1]


def _text_problems(place: Place, node: Any, twice: list[tuple[Raw, str]]) -> Iterator[str]:
    """Yield what is wrong with the text itself, each with its path."""
    if isinstance(node, _NoNumber):
        yield f"{dotted(place)}: {node} is not a JSON number; write a finite number"
    elif isinstance(node, dict):
        yield from (
            f"{dotted((*place, key))}: given twice; keep one"
            for owner, key in twice
            if owner is node
        )
        for key, value in node.items():
            yield from _text_problems((*place, key), value, twice)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from _text_problems((*place, i), value, twice)


def _json_type(value: Any) -> str:
    """Name the type of a value as JSON does."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, _NoNumber):
        return value
    if isinstance(value, list):
        return "a list"
    return "a string" if isinstance(value, str) else "a number"
