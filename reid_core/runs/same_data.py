"""A continued run works on the data that it was started on: the content decides, not the place."""

from __future__ import annotations

from collections.abc import Mapping

from reid_core.errors import ReidError, name_list
from reid_core.files import write_json
from reid_core.params.json_file import read_json
from reid_core.params.schema import RunParams
from reid_core.run_directory import RunDirectory
from reid_core.storage.dataset_stores import Stores
from reid_core.storage.recorded_data import Recorded, named_entries

DATA = "data"
"""Where the environment record has the content hash of every dataset."""


def check_same_data(
    directory: RunDirectory,
    params: RunParams,
    stores: Stores,
    hashes: Mapping[str, str],
    *,
    scored: bool,
) -> None:
    """Compare the data with what the run was started on.

    What only scores are measured on may be another until the first score; it is recorded anew.

    Args:
        directory: The run; its environment record holds the hashes of the start.
        params: That are to continue it.
        stores: Of the run; they know where its packed data may lie.
        hashes: Content hash of every store in use now, by the dataset's name in the run.
        scored: Whether scores have been measured.

    Raises:
        ReidError: A dataset's content differs; the message names both.
    """
    if not directory.environment.is_file():
        return  # stopped before it was written: nothing is trained
    record = read_json(directory.environment)
    before = record.get(DATA, {})
    changed = [name for name, found in hashes.items() if before.get(name, found) != found]
    free = () if scored else params.data.targets
    if wrong := [name for name in changed if name not in free]:
        started = {found.record: found for found in stores.recorded.datasets}
        details = "; ".join(
            _difference(name, params, stores, started.get(name), before[name], hashes[name])
            for name in wrong
        )
        raise ReidError(
            f"{directory.path}: the images of {name_list(wrong)} are not those that the run was "
            f"started on: {details}. Restore the data, or start anew"
        )
    if (now := {**before, **hashes}) != before:
        write_json(directory.environment, {**record, DATA: now})


def _difference(
    name: str, params: RunParams, stores: Stores, started: Recorded | None, was: str, now: str
) -> str:
    """Say what a dataset was, what it is, and where the store of the start still lies."""
    raw = params.model_dump(mode="json")[DATA]
    entry = next((entry for key, _, entry in named_entries(raw) if key == name), None)
    given = dict(entry.get("params", {})) if entry else {}
    before = dict(started.params) if started else {}
    moved = [key for key in given if key in before and before[key] != given[key]]
    text = f"'{name}' had the content {was[:16]}, and has {now[:16]} now"
    if moved:
        text += "".join(f" ({key} was '{before[key]}', is '{given[key]}')" for key in moved)
    if started and (place := stores.recorded.store(started)):
        text += f"; the store of the start is still there: --set {started.place}.store={place}"
    return text
