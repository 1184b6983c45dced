"""The record of what a run depends on beside its params."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import torch

from reid_core.files import write_json
from reid_core.run_directory import RunDirectory


def write_environment(directory: RunDirectory, device: torch.device, data: dict[str, str]) -> None:
    """Write what the run depends on beside its params: versions, device, git, data hashes."""
    write_json(
        directory.environment,
        {
            "python": sys.version.split()[0],
            "platform": platform.platform(),
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
            "data": data,
        },
    )


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
