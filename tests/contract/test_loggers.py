"""Loggers beside their contract: ours leave something in the run directory."""

from reid_core.contracts import Logger
from reid_core.testing import Subject
from reid_core.testing.loggers import write_lines


def test_a_built_in_logger_leaves_something_in_the_run_directory(logger, catalog, tmp_path):
    write_lines(Subject(logger.offer, catalog), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()]
    built = logger.build(directory=tmp_path, step=5)
    assert isinstance(built, Logger)
    if callable(close := getattr(built, "close", None)):
        close()
