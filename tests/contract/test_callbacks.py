"""Callbacks and loggers: what they define is called, and what they keep survives a checkpoint."""

import io
import json

import torch

from reid_core.contracts import Callback, Logger
from reid_core.params.schema import RunParams
from reid_core.runs.callbacks import MOMENTS, Callbacks
from reid_core.runs.loggers import Loggers


def entry_of(case, section):
    """Return the checked entry of a component in the params."""
    from reid_core.discovery import load_catalog
    from reid_core.params.messages import read_params

    (model,) = RunParams.model_fields[section].annotation.__args__
    given = {"name": f"{case.offer.distribution}:{case.name}", "params": case.minimal}
    return read_params(model, given, load_catalog())


def test_a_callback_is_called_at_one_moment_at_least(callback):
    built = callback.build(name=callback.name, num_images=10)
    assert any(getattr(type(built), name, None) is not getattr(Callback, name) for name in MOMENTS)


def test_the_state_of_a_callback_comes_back_through_a_checkpoint(callback):
    one, two = (Callbacks([entry_of(callback, "callback")], 10) for _ in range(2))
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    two.load_state_dict(torch.load(file, weights_only=True))
    assert two.state_dict() == one.state_dict()


def test_shapes_alone_are_enough_to_build_a_callback(callback):
    Callbacks([entry_of(callback, "callback")], num_images=1)


LINES = (
    {
        "kind": "train",
        "step": 1,
        "epoch": 0.5,
        "total": 1.0,
        "losses": {"softmax": 1.0},
        "monitors": {"accuracy": 0.5},
        "rates": {"new": 0.1},
    },
    {
        "kind": "evaluation",
        "step": 2,
        "evaluation": "market_evaluate",
        "target": "market",
        "primary": "mAP",
        "metrics": {"mAP": 0.5},
        "card": {},
    },
    {"kind": "callback", "step": 2, "epoch": 1, "name": "clusters", "values": {"number": 3.0}},
    {"kind": "something_new", "step": 3},
)


def test_a_logger_takes_every_line_and_leaves_something_in_the_run_directory(
    logger, tmp_path, capsys
):
    loggers = Loggers([entry_of(logger, "logger")], tmp_path, step=0)
    before = json.dumps(LINES)
    for line in LINES:
        loggers.write(line)
    loggers.flush()
    loggers.close()
    assert capsys.readouterr().out == "", "a logger that fails is named"
    assert json.dumps(LINES) == before
    assert [path for path in tmp_path.rglob("*") if path.is_file()]
    assert isinstance(logger.build(directory=tmp_path, step=5), Logger)
