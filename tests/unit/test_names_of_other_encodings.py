"""Identities and values that are no UTF-8 text: told before the training, not after it."""

import os

import pytest

from reid_core import ReidError
from reid_core.contracts import ImageRecord
from stores import packed, png

LATIN_1 = os.fsdecode("andr\xe9".encode("latin-1"))


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"pid": LATIN_1}, "the pid is no UTF-8 text"),
        ({"columns": {"clothes": LATIN_1}}, "column 'clothes' is no UTF-8 text"),
    ],
)
def test_no_store_is_made(tmp_path, facts, text):
    given = {"name": "1.png", "split": "train", "pid": "a", "camid": 0, **facts}
    record = ImageRecord(source=lambda: png(1), junk=False, distractor=False, **given)
    with pytest.raises(ReidError, match=f"{text}.*; rename the folder"):
        packed(tmp_path / "store", [record])
    assert not (tmp_path / "store").exists()
