"""The folder of one run: where everything lies, and that only one process writes to it."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import Timeout

from reid_core.contracts import Translation
from reid_core.errors import ReidError, shortened
from reid_core.files import remove_leftovers, saving, user_path, write_json
from reid_core.locks import file_lock

PARAMS = "params.json"

STORES = "stores"
"""Folder of the packed datasets, beside the runs."""

LONGEST_NAME = 240
"""Bytes of a run's name: file systems take 255, and its temporary name is a little longer."""


class RunDirectory:
    """Paths of a run.

    Attributes:
        path: The folder itself.
    """

    def __init__(self, path: Path) -> None:
        """Name the folder; nothing is read or written."""
        self.path = path
        self.params = path / PARAMS
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.checkpoint = path / "checkpoints" / "last.pt"
        self.best_weights = path / "weights" / "best.safetensors"
        self.last_weights = path / "weights" / "last.safetensors"
        self.pictures = path / "pictures"
        self.evaluations = path / "evaluations"

    @classmethod
    def create(
        cls, path: Path, params: Mapping[str, Any], translation: Translation | None
    ) -> RunDirectory:
        """Make a new run directory with its resolved params, whole or not at all.

        Args:
            path: The directory, from ``new_run_path``.
            params: Resolved params, as JSON has them.
            translation: Of a params file in another system's vocabulary, to be kept.

        Raises:
            ReidError: The directory cannot be made, or another process was faster.
        """
        with saving(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            try:
                temporary.chmod(0o755)
                cls(temporary).write_params(params)
                if translation is not None:
                    write_json(temporary / "translation.json", asdict(translation))
                _rename(temporary, path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return cls(path)

    def write_params(self, params: Mapping[str, Any]) -> None:
        """Write the resolved params; they run again to the same result."""
        write_json(self.params, params)

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open an existing run directory.

        Raises:
            ReidError: There is none.
        """
        if not os.path.isfile(path / PARAMS):  # unlike Path, no error for a name too long
            raise ReidError(f"{path}: no run directory ({PARAMS} is not there)")
        return cls(path)

    def remove_leftovers(self) -> None:
        """Remove what a killed process has left half-written."""
        remove_leftovers(self.path)

    def check_no_links(self) -> None:
        """Refuse links in the folder: writing through one would change what lies outside.

        Raises:
            ReidError: There is one.
        """
        for folder, folders, files in os.walk(self.path):
            for path in (Path(folder, name) for name in (*folders, *files)):
                if path.is_symlink():
                    raise ReidError(
                        f"{path}: is a link, and a run writes into no file or folder outside its "
                        "own; put what it leads to in its place (cp -r --dereference), or remove it"
                    )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training here.

        Raises:
            ReidError: Another process does already, the directory cannot be written, or there
                are links in it.
        """
        self.check_no_links()
        with ExitStack() as held:
            with saving(self.path):
                try:
                    held.enter_context(file_lock(self.path / ".lock", timeout=0))
                except Timeout:
                    raise ReidError(f"{self.path}: another process is training here") from None
            yield


def new_run_path(working_dir: str, name: str) -> Path:
    """Return the path of a new run: a name below the working directory, or the time.

    Raises:
        ReidError: It exists already, or the name cannot be that of a run.
    """
    parts = Path(name or time.strftime("%Y%m%d-%H%M%S")).parts
    if not parts or Path(name).is_absolute() or ".." in parts or parts[0] == STORES or "\0" in name:
        raise ReidError(
            f"--sub_working_dir: '{name}' cannot name a new run: it must be a name below "
            f"working_dir, and not '{STORES}', where the datasets are"
        )
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in parts):
        raise ReidError(
            f"--sub_working_dir: '{shortened(name)}' is too long to name a new run; "
            f"give it {LONGEST_NAME} characters or fewer"
        )
    path = user_path(working_dir).joinpath(*parts)
    try:
        path.lstat()
    except FileNotFoundError:
        return path
    except OSError as error:
        raise ReidError(
            f"working_dir: no run '{name}' can be made in '{shortened(working_dir)}': "
            f"{error.strerror}; choose another place"
        ) from None
    raise _exists_already(path)


def _rename(temporary: Path, path: Path) -> None:
    """Give a directory its name unless another one has it.

    Raises:
        ReidError: It has been taken since ``new_run_path``.
    """
    try:
        temporary.rename(path)
    except OSError:
        if path.exists():
            raise _exists_already(path) from None
        raise


def _exists_already(path: Path) -> ReidError:
    return ReidError(
        f"{path}: exists already; choose another --sub_working_dir, or continue that run with: "
        f"reid train --operation resume_train --sub_working_dir {shlex.quote(str(path))}"
    )
