"""The distance that an evaluator is given, for tests that build evaluators themselves."""

from reid_core.contracts import NamedPart
from reid_evaluate.distances.distance_matrix import Cosine


def cosine():
    """Return the distance that evaluators have by default, as the core hands it over."""
    return NamedPart("cosine", {}, Cosine())
