"""Identities that are no persons in Market-1501 and in copies of it: -1 is junk, 0000 a distractor.

A dataset in Market-1501's own form marks them by ``stands_for``. Elsewhere ``-1`` or ``0000`` may
well be a person, so that nothing is marked: ``taken_for_persons`` words a warning for each of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from reid_core.contracts import ImageRecord
from reid_core.errors import counted

Mark = Literal["junk", "distractor"]

MARKED = ("-1", "0000")
"""Identities as Market-1501 and its copies spell them."""


def stands_for(pid: str) -> Mark | None:
    """Return what an identity of Market-1501 stands for; None: a person.

    >>> stands_for("-1"), stands_for("0000"), stands_for("0002")
    ('junk', 'distractor', None)
    """
    if pid == "-1":
        return "junk"
    return "distractor" if pid and not pid.strip("0") else None


def taken_for_persons(records: Iterable[ImageRecord], advice: Mapping[Mark, str]) -> list[str]:
    """Return a warning for each identity that Market-1501 would not take for a person.

    Args:
        records: The images, marked as the user has said.
        advice: How junk or distractors are marked in this dataset, for those marks of which the
            user has said nothing yet.
    """
    counts = Counter(r.pid for r in records if r.pid and not (r.junk or r.distractor))
    # A lone 0 is the first person of many a list.
    marks = {pid: mark for pid in MARKED if pid in counts and (mark := stands_for(pid)) in advice}
    return [
        f"'{pid}' is taken for a person, with {counted(counts[pid], 'image')}; in Market-1501 it "
        f"stands for {'junk' if mark == 'junk' else 'distractors'}: {advice[mark]}"
        for pid, mark in marks.items()
        if mark
    ]
