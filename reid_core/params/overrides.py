"""``path=value`` overrides of params, as ``--set`` takes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from reid_core.errors import ParamsError, shortened
from reid_core.params.json_file import Raw, repeated_keys


def apply_overrides(raw: Raw, overrides: Sequence[str], source: str) -> Raw:
    """Return a copy of the params with overrides applied; see ``overridden``.

    Raises:
        ParamsError: With all overrides that cannot be applied.
    """
    problems: list[str] = []
    result = overridden(raw, overrides, problems)
    if problems:
        raise ParamsError(source, problems)
    return result


def overridden(raw: Raw, overrides: Sequence[str], problems: list[str]) -> Raw:
    """Return a copy of the params with ``a.b.0.c=value`` overrides applied.

    The value is read as JSON; what is not JSON is taken as a string.

    Args:
        raw: The params; they are not changed.
        overrides: The overrides in order.
        problems: Receives one line per override that has no '=', a path that does not fit the
            params, or an object with a key given twice; it is not applied.
    """
    result = json.loads(json.dumps(raw))
    for override in overrides:
        path, equals, text = override.partition("=")
        try:
            if not (path and equals):
                raise LookupError("expected path=value")
            _assign(result, path.split("."), _json_or_text(text))
        except (LookupError, ValueError, TypeError) as error:
            problems.append(
                f"--set {shortened(override)}: {error.args[0] if error.args else error}"
            )
    return cast(Raw, result)


def _json_or_text(text: str) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> Raw:
        if twice := repeated_keys(items):
            raise LookupError(f"key '{twice[0]}' is given twice; keep one")
        return dict(items)

    try:
        return json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError:
        return text
    except RecursionError:
        raise ValueError("lists or objects are nested too deep") from None


def _assign(node: Any, keys: Sequence[str], value: Any) -> None:
    """Set one value deep in the params, making objects on the way where there are none."""
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        if isinstance(node, list):
            if not key.isdecimal() or int(key) > len(node) - (0 if last else 1):
                raise LookupError(f"'{key}' is no position in a list of {len(node)}")
            if int(key) == len(node):
                node.append(value)
                return
            if last:
                node[int(key)] = value
            else:
                node = node[int(key)]
        elif isinstance(node, dict):
            if last:
                node[key] = value
            else:
                node = node.setdefault(key, {})
        else:
            raise LookupError(f"'{'.'.join(keys[:position])}' is not an object or a list")
