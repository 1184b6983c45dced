"""The record of what a run depends on beside its params: its data, and where each start ran."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

from reid_core.files import write_json
from reid_core.params.json_file import read_json
from reid_core.run_directory import RunDirectory
from reid_core.timestamps import timestamp


def record_start(directory: RunDirectory, device: torch.device, data: Mapping[str, str]) -> None:
    """Add a start, the first or one that resumes, to the record.

    Args:
        directory: Of the run; its ``environment.json`` is ``{"data": ..., "starts": [...]}``.
        device: What is computed on.
        data: Content hash of every store by the dataset's name; those of the first start stay.

    Raises:
        ReidError: The record cannot be read or written.
    """
    record = read_json(directory.environment) if directory.environment.is_file() else {}
    starts = record.get("starts", [])
    write_json(
        directory.environment,
        {
            **record,
            "data": record.get("data", dict(data)),
            "starts": [*(starts if isinstance(starts, list) else []), this_start(device)],
        },
    )


def this_start(device: torch.device) -> dict[str, Any]:
    """Return time, command line, versions, device and git state."""
    return {
        "time": timestamp(),
        "command": shlex.join(sys.argv),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "reid_core": version("reid-core"),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": version("numpy"),
        "pillow": version("Pillow"),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine(),
        "cpu_threads": torch.get_num_threads(),
        "git": _git_state(),
    }


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
