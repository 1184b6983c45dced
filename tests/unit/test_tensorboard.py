"""The logger `tensorboard`: what a reader finds, and a disk that is full."""

import os
import resource
import struct

import pytest

from reid_core.params.entries import LoggerEntry
from reid_core.params.messages import read_params
from reid_core.runs.loggers import Loggers
from reid_plugins.logger import tensorboard
from reid_plugins.logger.tensorboard import TensorboardLogger


def line(step, value=0.5):
    return {"kind": "train", "step": step, "losses": {"a": value}, "monitors": {}, "rates": {}}


def events_of(path):
    """Return the events of a file: records of length, its checksum, content, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return found


def test_a_file_begins_with_what_is_purged_and_goes_on_with_the_points(tmp_path):
    logger = TensorboardLogger(tmp_path, 7)
    logger.write(line(8, 0.25))
    logger.write(line(9, 0.125))
    logger.close()
    (path,) = tmp_path.iterdir()
    version, start, *points = events_of(path)
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (8, start.session_log.START)
    found = [(e.step, e.summary.value[0].tag, e.summary.value[0].simple_value) for e in points]
    assert found == [(8, "losses/a", 0.25), (9, "losses/a", 0.125)]


def test_who_looks_on_sees_the_points_of_a_minute_ago(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(tensorboard.time, "monotonic", lambda: now[0])
    logger = TensorboardLogger(tmp_path, 0)
    (path,) = tmp_path.iterdir()
    seen = []
    for step, now[0] in ((1, 100.0), (2, 130.0), (3, 161.0)):
        logger.write(line(step))
        seen.append(len(events_of(path)) - 2)
    assert seen == [1, 1, 3]
    logger.close()


def test_a_clock_that_is_set_back_leaves_the_files_in_their_order(tmp_path, monkeypatch):
    for step, seconds in enumerate((5_000_000_000, 5_000_000_000, 4_997_408_000)):
        monkeypatch.setattr(tensorboard.time, "time", lambda seconds=seconds: seconds)
        logger = TensorboardLogger(tmp_path, step)
        for other in range(100):
            logger.write(line(step + other))
        logger.close()
    starts = [events_of(path)[1].step for path in sorted(tmp_path.iterdir())]
    assert starts == [1, 2, 3]


def test_a_full_disk_costs_the_curves_and_one_warning(catalog, tmp_path, capfd):
    entry = read_params(LoggerEntry, {"name": "tensorboard"}, catalog)
    loggers = Loggers([entry], tmp_path, 0)
    (path,) = (tmp_path / "tensorboard").iterdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # as a disk without room for more
    try:
        for step in range(1, 2000):
            loggers.write(line(step))
        loggers.flush()
        loggers.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == 4096
    said = capfd.readouterr()
    (warning,) = said.out.splitlines()
    assert warning.startswith("warning: logger 'tensorboard' of reid-core")
    assert "File too large" in warning
    assert warning.endswith("the training goes on without this logger")
    assert said.err == ""
    assert str(path) not in [os.readlink(f"/proc/self/fd/{n}") for n in open_files()]


def open_files():
    return [n for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]


def test_a_folder_that_cannot_be_made_ends_the_start_by_name(catalog, tmp_path):
    from reid_core import ReidError

    (tmp_path / "tensorboard").write_text("a file")
    entry = read_params(LoggerEntry, {"name": "tensorboard"}, catalog)
    with pytest.raises(ReidError, match=r"logger 'tensorboard' of reid-core .*tensorboard'"):
        Loggers([entry], tmp_path, 0)
