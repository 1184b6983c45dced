"""Checkpoints of no training: small, and whole in their form."""

import torch

from reid_core.runs.checkpoint import FORMAT


def content(steps_per_epoch=4, **state):
    """Return what a checkpoint holds, with some of the training's state."""
    return {
        "format": FORMAT,
        "module": {"weight": torch.arange(50.0)},
        "optimizer": {"state": {}, "param_groups": []},
        "state": {
            **{"epoch": 0, "step": 0, "position": 0, "accuracy": 0.0},
            **{"accuracy_mean": torch.zeros(()), "history": [], "best": None},
            **{"unscored": False, "ended_by": ""},
            **state,
        },
        "steps_per_epoch": steps_per_epoch,
        "labels": None,
        "callbacks": {},
        "rng": {
            **{"torch": torch.get_rng_state(), "cuda": [], "numpy": torch.zeros(624)},
            **{"numpy_rest": [], "python": torch.zeros(625), "python_rest": []},
        },
        "log_bytes": 0,
    }
