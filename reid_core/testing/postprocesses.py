"""Post-processing: comparisons in, comparisons out, that can be ranked by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from reid_core.component import PostprocessComponent
from reid_core.contracts import SPLITS
from reid_core.evaluation.checked_parts import checked_step
from reid_core.testing.subject import Subject, expect
from reid_evaluate.distances.comparison import Comparison, Postprocess, Vectors
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.ranking.images import ImageSet
from reid_evaluate.ranking.keys import Keyed, compare, key_blocks
from reid_evaluate.ranking.rank_queries import rank_queries

PEOPLE, PICTURES, DIM = 12, 8, 64


def _component(subject: Subject) -> PostprocessComponent:
    return cast(PostprocessComponent, subject.component)


def _built(subject: Subject) -> Postprocess:
    """Build the step; the core looks at every comparison and key that it gives."""
    return checked_step(subject.build(), subject.offer.origin, _component(subject).stage)


def images_of(split: str, noise: float = 1.5) -> ImageSet:
    """Return images of every person, under two cameras, around the person's own direction."""
    rng = np.random.default_rng(SPLITS.index(split))
    people = np.tile(np.arange(PEOPLE), PICTURES)
    centres = np.random.default_rng(99).standard_normal((PEOPLE, DIM))
    features = centres[people] + noise * rng.standard_normal((len(people), DIM))
    first = 0 if split in ("query", "multi_query") else 2
    flags = np.zeros(len(people), dtype=bool)
    return ImageSet(
        features=features.astype(np.float32),
        pids=people.astype(np.str_),
        camids=np.repeat([0, 1], PEOPLE * PICTURES // 2) + first,
        names=np.array([f"{split}/{i}" for i in range(len(people))]),
        junk=flags,
        distractor=flags.copy(),
    )


def compared(subject: Subject, gallery: ImageSet | None = None) -> Keyed:
    """Return queries and gallery after the step."""
    extra = {split: images_of(split) for split in _component(subject).splits}
    return compare(
        images_of("query"),
        gallery or images_of("gallery"),
        postprocess=[_built(subject)],
        extra=extra,
    )


def _comparison(subject: Subject) -> Comparison:
    extra = {split: _vectors(split) for split in _component(subject).splits}
    return Comparison(_vectors("query"), _vectors("gallery"), Cosine(), extra)


def _vectors(split: str) -> Vectors:
    found = images_of(split)
    return Vectors(torch.from_numpy(found.features), found.pids, found.camids)


def _all_keys(keyed: Keyed, block_size: int) -> Tensor:
    return torch.cat([keys.clone() for _, keys in key_blocks(keyed, block_size)])


# ---- checks -----------------------------------------------------------------------------


def it_reads_known_splits(subject: Subject) -> None:
    """Those of the evaluator are there already."""
    splits, known = _component(subject).splits, set(SPLITS) - {"query", "gallery"}
    expect(set(splits) <= known, f"splits: {splits!r}; use {', '.join(sorted(known))}")


def it_changes_what_its_stage_says(subject: Subject) -> None:
    """And leaves the images that it is given alone."""
    before = _comparison(subject)
    after = _built(subject)(before)
    if _component(subject).stage == "distances":
        expect(after.altered is not None, "its stage is 'distances', and it leaves the keys")
    same = torch.equal(before.query.features, _vectors("query").features)
    expect(same, "the queries that it was given have been changed")


def keys_are_finite_and_do_not_depend_on_the_blocks(subject: Subject) -> None:
    """Queries are ranked in blocks."""
    found = compared(subject)
    whole, parts = _all_keys(found, 1000), _all_keys(found, 7)
    expect(bool(torch.isfinite(whole).all()), "a key is not finite")
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-5)


def the_order_of_the_gallery_does_not_matter(subject: Subject) -> None:
    """A gallery is a set."""
    gallery = images_of("gallery")
    order = np.random.default_rng(0).permutation(len(gallery.pids))
    shuffled: Any = {n: v[order] for n, v in vars(gallery).items() if isinstance(v, np.ndarray)}
    one = rank_queries(compared(subject)).ap
    other = rank_queries(compared(subject, ImageSet(**shuffled))).ap
    expect(np.allclose(one, other, atol=1e-6), "another order gives other scores")


def vectors_of_one_kind_give_numbers(subject: Subject) -> None:
    """A model that maps all images to one point, or to zero, must not end in NaN."""
    for value in (0.0, 1.0):
        same = np.full((PEOPLE * PICTURES, DIM), value, dtype=np.float32)
        keys = _all_keys(compared(subject, replace(images_of("gallery"), features=same)), 100)
        expect(bool(torch.isfinite(keys).all()), f"of a gallery of {value}: a key is not finite")


CHECKS = (
    it_reads_known_splits,
    it_changes_what_its_stage_says,
    keys_are_finite_and_do_not_depend_on_the_blocks,
    the_order_of_the_gallery_does_not_matter,
    vectors_of_one_kind_give_numbers,
)
