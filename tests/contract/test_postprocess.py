"""Post-processing: comparisons in, comparisons out, that can be ranked by."""

import numpy as np
import pytest
import torch

from cases import cases_of
from reid_core.component import PostprocessComponent
from reid_core.contracts import SPLITS
from reid_evaluate.distances.comparison import Comparison, Vectors
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.ranking.images import ImageSet
from reid_evaluate.ranking.keys import compare, key_blocks
from reid_evaluate.ranking.rank_queries import rank_queries

PEOPLE, PICTURES = 12, 8


def images(split, noise=1.5):
    """Draw images of every person, under two cameras, around the person's own direction."""
    seed = SPLITS.index(split)
    rng = np.random.default_rng(seed)
    people = np.tile(np.arange(PEOPLE), PICTURES)
    centres = np.random.default_rng(99).standard_normal((PEOPLE, 64))
    features = centres[people] + noise * rng.standard_normal((len(people), 64))
    cameras = np.repeat([0, 1], PEOPLE * PICTURES // 2) + (
        0 if split in ("query", "multi_query") else 2
    )
    flags = np.zeros(len(people), dtype=bool)
    return ImageSet(
        features=features.astype(np.float32),
        pids=people.astype(np.str_),
        camids=cameras,
        names=np.array([f"{split}/{i}" for i in range(len(people))]),
        junk=flags,
        distractor=flags.copy(),
    )


def compared(step, gallery=None):
    extra = {split: images(split) for split in step.component.splits}
    return compare(
        images("query"), gallery or images("gallery"), postprocess=[step.build()], extra=extra
    )


def test_it_declares_where_it_stands_and_what_it_reads(postprocess):
    component = postprocess.component
    assert isinstance(component, PostprocessComponent)
    assert component.stage in ("features", "distances")
    assert set(component.splits) <= set(SPLITS) - {"query", "gallery"}
    assert component.reference


def vectors(split):
    found = images(split)
    return Vectors(torch.from_numpy(found.features), found.pids, found.camids)


def comparison(step):
    extra = {split: vectors(split) for split in step.component.splits}
    return Comparison(vectors("query"), vectors("gallery"), Cosine(), extra)


def test_it_changes_what_its_stage_says(postprocess):
    before = comparison(postprocess)
    after = postprocess.build()(before)
    assert (after.altered is not None) == (postprocess.component.stage == "distances")
    assert len(after.query) == len(before.query)
    assert len(after.gallery) == len(before.gallery)
    assert torch.equal(before.query.features, vectors("query").features)


ON_FEATURES = cases_of("postprocess", lambda case: case.component.stage == "features")


@pytest.mark.parametrize("postprocess", ON_FEATURES)
def test_a_step_on_features_does_not_undo_one_on_distances(postprocess):
    before = comparison(postprocess)
    ranked = before.with_keys(before.keys)
    with pytest.raises(ValueError, match="features must come before that of distances"):
        postprocess.build()(ranked)


def test_keys_are_finite_and_do_not_depend_on_the_blocks(postprocess):
    found = compared(postprocess)
    whole = torch.cat([keys.clone() for _, keys in key_blocks(found, 1000)])
    parts = torch.cat([keys.clone() for _, keys in key_blocks(found, 7)])
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-5)


def test_it_helps_where_it_should(postprocess):
    """On noisy images of people with several pictures, every step makes the ranking better."""
    plain = rank_queries(compare(images("query"), images("gallery"))).ap.mean()
    assert rank_queries(compared(postprocess)).ap.mean() > plain + 0.03


def test_the_order_of_the_gallery_does_not_matter(postprocess):
    gallery = images("gallery")
    order = np.random.default_rng(0).permutation(len(gallery.pids))
    columns = {n: v[order] for n, v in vars(gallery).items() if isinstance(v, np.ndarray)}
    one = rank_queries(compared(postprocess))
    other = rank_queries(compared(postprocess, ImageSet(**columns)))
    np.testing.assert_allclose(one.ap, other.ap, atol=1e-6)


def test_vectors_of_one_kind_give_numbers(postprocess):
    """A model that maps all images to one point, or to zero, must not end in NaN."""
    for value in (0.0, 1.0):
        gallery = images("gallery")
        same = ImageSet(**{**vars(gallery), "features": np.full((PEOPLE * PICTURES, 64), value)})
        for _, keys in key_blocks(compared(postprocess, same), 100):
            assert torch.isfinite(keys).all()
