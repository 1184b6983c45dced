"""The rows of the logger, and what is left of them when a run is resumed."""

import csv

import reid_file_logger
from reid_file_logger import CsvParams, build, numbers_of

from reid_core.discovery import isolated_catalog
from reid_core.testing import check_component

TRAIN = {"kind": "train", "step": 10, "total": 0.5, "losses": {"softmax": 0.5}, "card": {"a": "b"}}
SCORES = {"kind": "evaluation", "step": 20, "metrics": {"mAP": 0.25}, "primary": "mAP"}


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def written(directory, step, *records):
    logger = build(CsvParams(), directory=directory, step=step)
    for record in records:
        logger.write(record)
    logger.flush()
    logger.close()
    return rows_of(directory / "numbers.csv")


def test_it_keeps_the_contract_of_loggers():
    check_component("logger", "csv", isolated_catalog(reid_file_logger))


def test_every_number_has_a_row(tmp_path):
    assert written(tmp_path, 0, TRAIN, SCORES) == [
        ["step", "name", "value"],
        ["10", "train.total", "0.5"],
        ["10", "train.losses.softmax", "0.5"],
        ["20", "evaluation.metrics.mAP", "0.25"],
    ]


def test_a_resumed_run_cuts_off_what_came_after_its_checkpoint(tmp_path):
    written(tmp_path, 0, TRAIN, SCORES)
    steps = [row[0] for row in written(tmp_path, 10, SCORES)]
    assert steps == ["step", "10", "10", "20"]


def test_words_and_switches_are_no_numbers():
    assert list(numbers_of({"a": True, "b": "x", "c": {"d": 1}})) == [("c.d", 1)]
