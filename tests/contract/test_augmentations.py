"""Augmentations beside their contract: what is random is no preprocessing."""

from reid_core.testing import Subject
from reid_core.testing.augmentations import content, operation, randomness, sample_of


def test_an_operation_of_training_alone_is_random(augmentation, catalog):
    subject = Subject(augmentation.offer, catalog)
    apply, given = operation(subject), sample_of(subject, (64, 32))
    results = {tuple(content(apply(given, randomness(subject, seed)))) for seed in range(30)}
    # An operation without randomness is preprocessing: its use is 'both'.
    assert (len(results) > 1) == (augmentation.component.use == "train")
