"""Losses beside their contract: classifiers come where they are needed, and the entry decides."""

import pytest
import torch

from reid_core.testing import Subject
from reid_core.testing.losses import PAIRS, Applied
from reid_core.testing.subject import drawn


@pytest.fixture
def apply(catalog, loss):
    """Build the loss and hand it to the core."""
    return lambda **entry: Applied(Subject(loss.offer, catalog), **entry)


def test_a_classifier_is_made_when_the_loss_needs_one_and_not_otherwise(loss, apply):
    assert ("whole" in apply().model.classifier) == ("classifier" in loss.component.needs)


def test_the_entry_decides_on_weight_and_normalisation(apply):
    for normalize in (True, False):
        applied = apply(normalize=normalize, weight=0.25)
        seen = applied.seen()
        assert applied(drawn(8, 16), PAIRS).weight == 0.25
        norms = seen[0][0].features.norm(dim=1)
        assert norms.allclose(torch.ones(8)) == normalize
