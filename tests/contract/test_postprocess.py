"""Post-processing beside its contract: it helps, and undoes no other step."""

import pytest
import torch

from cases import cases_of
from reid_core.testing import Subject
from reid_core.testing.postprocesses import compared, images_of
from reid_evaluate.distances.comparison import Comparison, Vectors
from reid_evaluate.distances.distance_matrix import Cosine
from reid_evaluate.ranking.keys import compare
from reid_evaluate.ranking.rank_queries import rank_queries


def test_it_has_a_reference(postprocess):
    assert postprocess.component.reference


def vectors(split):
    found = images_of(split)
    return Vectors(torch.from_numpy(found.features), found.pids, found.camids)


def comparison(step):
    extra = {split: vectors(split) for split in step.component.splits}
    return Comparison(vectors("query"), vectors("gallery"), Cosine(), extra)


ON_FEATURES = cases_of("postprocess", lambda case: case.component.stage == "features")


@pytest.mark.parametrize("postprocess", ON_FEATURES)
def test_a_step_on_features_does_not_undo_one_on_distances(postprocess):
    before = comparison(postprocess)
    ranked = before.with_keys(before.keys)
    with pytest.raises(ValueError, match="features must come before that of distances"):
        postprocess.build()(ranked)


def test_it_helps_where_it_should(postprocess, catalog):
    """On noisy images of people with several pictures, every step makes the ranking better."""
    plain = rank_queries(compare(images_of("query"), images_of("gallery"))).ap.mean()
    helped = rank_queries(compared(Subject(postprocess.offer, catalog))).ap.mean()
    assert helped > plain + 0.03
