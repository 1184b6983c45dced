"""What is printed with a number says one image, and two images."""

import re
from pathlib import Path

import numpy as np
import pytest

from reid_core import ReidError
from reid_core.errors import counted
from reid_core.problems import raise_problems
from reid_core.storage.statistics_lines import statistics_lines
from reid_core.storage.store import Index

ROOT = Path(__file__).parents[2]
ROOMS = ("reid_core/storage", "reid_core/evaluation", "plugins/reid_plugins/dataset")
NUMBERED = re.compile(
    r"\{([^{}]+)\} (?:[a-z]+ )?"
    "(?:images|files|folders|rows|problems|queries|identities|cameras|persons|columns|values)\\b"
)
NO_NUMBER = {"side", "MOST_DRAWN", "len(several)"}
"""No number stands there, or never 1."""


@pytest.mark.parametrize(
    ("number", "words", "said"),
    [
        (1, ("image",), "1 image"),
        (0, ("image",), "0 images"),
        (21, ("image",), "21 images"),
        (1, ("query has", "queries have"), "1 query has"),
        (2, ("query has", "queries have"), "2 queries have"),
    ],
)
def test_the_words_follow_the_number(number, words, said):
    assert counted(number, *words) == said


@pytest.mark.parametrize(("lines", "said"), [(["a: x"], "1 bad"), (["a: x", "b: x"], "2 are bad")])
def test_problems_are_counted_in_their_words(lines, said):
    with pytest.raises(ReidError) as error:
        raise_problems(lines, "are bad", one="bad")
    assert str(error.value).splitlines()[0] == f"{said}:"


def test_messages_of_data_and_scores_leave_the_words_to_one_function():
    found = [
        (file.name, text.group())
        for room in ROOMS
        for file in sorted((ROOT / room).rglob("*.py"))
        for text in NUMBERED.finditer(file.read_text())
        if text[1] not in NO_NUMBER and not text[1].startswith("share(")
    ]
    assert found == []


def test_statistics_are_told_with_what_there_is_one_of():
    def index(*camids):
        count = len(camids)
        return Index(
            name=np.array([f"{i}.jpg" for i in range(count)]),
            pid=np.array(["1"] * count),
            camid=np.array(camids),
            split=np.array(["query"] * count),
            junk=np.zeros(count, bool),
            distractor=np.zeros(count, bool),
        )

    assert list(statistics_lines(index(0))) == ["query: 1 image, 1 identity, 1 camera"]
    assert list(statistics_lines(index(0, 1, -1))) == [
        "query: 3 images, 1 identity, 2 cameras, 1 without camera"
    ]
