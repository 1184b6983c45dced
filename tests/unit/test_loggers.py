"""Loggers of other packages: every line reaches them, none can change it, none ends a training."""

import pytest

from reid_core import Component, ReidError, hookimpl
from reid_core.contracts import Logger
from reid_core.params.entries import LoggerEntry
from reid_core.params.messages import read_params
from reid_core.runs.loggers import Loggers

LINE = {"kind": "train", "step": 1, "losses": {"softmax": 1.0}}


@pytest.fixture
def made(catalog_with, tmp_path):
    """A function: the loggers that some functions make, in this order."""

    def make(*makers):
        class Plugin:
            @hookimpl
            def reid_logger(self):
                return [
                    Component(
                        name=f"logger_{i}", build=lambda params, maker=m: maker(), summary="-"
                    )
                    for i, m in enumerate(makers)
                ]

        catalog = catalog_with(Plugin())
        entries = [
            read_params(LoggerEntry, {"name": f"logger_{i}"}, catalog) for i in range(len(makers))
        ]
        return Loggers(entries, tmp_path, step=0)

    return make


class Keeping(Logger):
    def __init__(self):
        self.lines, self.calls = [], []

    def write(self, record):
        self.lines.append(record)

    def flush(self):
        self.calls.append("flush")

    def close(self):
        self.calls.append("close")


def test_a_logger_that_changes_a_line_changes_it_for_nobody_else(made):
    class Greedy(Keeping):
        def write(self, record):
            record["losses"].clear()
            super().write(record)

    first, second = Greedy(), Keeping()
    line = {**LINE, "losses": dict(LINE["losses"])}
    made(lambda: first, lambda: second).write(line)
    assert second.lines == [LINE]
    assert line == LINE


def test_a_logger_that_fails_is_named_once_and_the_others_go_on(made, capsys):
    class Broken(Keeping):
        def write(self, record):
            raise ConnectionError("server is gone")

    broken, well = Broken(), Keeping()
    loggers = made(lambda: broken, lambda: well)
    for _ in range(3):
        loggers.write(LINE)
    loggers.flush()
    loggers.close()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "warning: logger 'logger_0' of local 0 failed at a line of metrics.jsonl"
    )
    assert "ConnectionError: server is gone (test_loggers.py:" in line
    assert line.endswith("the training goes on without this logger")
    assert (len(well.lines), well.calls, broken.calls) == (3, ["flush", "close"], [])


def test_a_logger_needs_nothing_but_write(made):
    class Bare:
        def write(self, record):
            lines.append(record)

    lines = []
    loggers = made(Bare)
    loggers.write(LINE)
    loggers.flush()
    loggers.close()
    assert lines == [LINE]


def test_what_cannot_write_is_no_logger(made):
    with pytest.raises(
        ReidError, match=r"logger 'logger_0' of local 0 was built as 3, which has no"
    ):
        made(lambda: 3)


def test_a_logger_that_cannot_be_built_ends_the_start(made):
    def fail():
        raise PermissionError("not here")

    with pytest.raises(ReidError, match="failed while it was built: PermissionError: not here"):
        made(fail)
