"""The folder of one run: where everything lies, and that only one process writes to it."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from reid_core.errors import ReidError
from reid_core.files import saving, write_json
from reid_core.legacy import Translation
from reid_core.schema import RunParams

PARAMS = "params.json"


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
        self.tensorboard = path / "tensorboard"
        self.checkpoint = path / "checkpoints" / "last.pt"
        self.best_weights = path / "weights" / "best.safetensors"
        self.last_weights = path / "weights" / "last.safetensors"
        self.pictures = path / "pictures"
        self.evaluations = path / "evaluations"

    @classmethod
    def create(cls, path: Path, params: RunParams, translation: Translation | None) -> RunDirectory:
        """Make a new run directory with its resolved params, whole or not at all.

        Args:
            path: The directory, from ``new_run_path``.
            params: Resolved params.
            translation: Of a params file in the predecessor's vocabulary, to be kept.

        Raises:
            ReidError: The directory cannot be made.
        """
        with saving(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            try:
                temporary.chmod(0o755)
                cls(temporary).write_params(params)
                if translation is not None:
                    write_json(temporary / "translation.json", asdict(translation))
                temporary.rename(path)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return cls(path)

    def write_params(self, params: RunParams) -> None:
        """Write the resolved params; they run again to the same result."""
        write_json(self.params, params.model_dump(mode="json"))

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open an existing run directory.

        Raises:
            ReidError: There is none.
        """
        if not (path / PARAMS).is_file():
            raise ReidError(f"{path}: no run directory ({PARAMS} is not there)")
        return cls(path)

    def remove_leftovers(self) -> None:
        """Remove what a killed process has left half-written."""
        for leftover in self.path.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training here.

        Raises:
            ReidError: Another process does already.
        """
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ReidError(f"{self.path}: another process is training here") from None
        try:
            yield
        finally:
            lock.release()


def new_run_path(params: RunParams, name: str) -> Path:
    """Return the path of a new run: a name below the working directory, or the time.

    Raises:
        ReidError: It exists already.
    """
    path = Path(params.working_dir) / (name or time.strftime("%Y%m%d-%H%M%S"))
    if path.exists():
        raise ReidError(
            f"{path}: exists already; choose another --sub_working_dir, or continue that run "
            f"with: python train.py --operation resume_train --sub_working_dir {path}"
        )
    return path


def write_environment(directory: RunDirectory, device: torch.device, data: dict[str, str]) -> None:
    """Write what the run depends on beside its params: versions, device, git, data hashes."""
    write_json(
        directory.environment,
        {
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "torch": torch.__version__,
            "torchvision": _version("torchvision"),
            "numpy": _version("numpy"),
            "pillow": _version("Pillow"),
            "device": str(device),
            "device_name": torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else platform.processor() or platform.machine(),
            "cpu_threads": torch.get_num_threads(),
            "git": _git_state(),
            "data": data,
        },
    )


def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)


def _git_state() -> dict[str, Any] | None:
    """Return commit and cleanliness of the working directory's repository, if it is one."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed_files": len(changes.splitlines())}


def read_params_of(directory: RunDirectory) -> dict[str, Any]:
    """Return the resolved params of a run as read from its directory."""
    return dict(json.loads(directory.params.read_text(encoding="utf-8")))
