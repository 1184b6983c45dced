"""The time of day as records of runs have it."""

from __future__ import annotations

from datetime import datetime


def timestamp() -> str:
    """Return the local time with its distance from UTC, such as ``2026-05-01T13:07:59+02:00``."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
