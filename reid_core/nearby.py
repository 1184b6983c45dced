"""What a person may have meant by a path at which there is nothing."""

from __future__ import annotations

import difflib
import os
from pathlib import Path


def nearby(path: Path) -> str:
    """Return what there is instead of a path, as the end of a message.

    Args:
        path: Where nothing is.

    Returns:
        ``"; did you mean 'x.json'?"`` for a similar name in its folder, ``"; there is no folder
        'x'"`` for the first one on the way that is missing, or an empty string.
    """
    missing = path
    while missing.parent != missing and not os.path.isdir(missing.parent):
        missing = missing.parent
    names = {name.lower(): str(missing.parent / name) for name in _names_in(missing.parent)}
    close = difflib.get_close_matches(missing.name.lower(), names, n=1, cutoff=0.7)
    meant = f"; did you mean '{names[close[0]]}'?" if close else ""
    return meant if missing == path else f"; there is no folder '{missing}'{meant}"


def _names_in(folder: Path) -> list[str]:
    """Return the names in a folder; none of one that cannot be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []
