"""The objective `distillation`: a trained network, the teacher, helps to train a smaller one.

Both see the same batch. Four terms, alone or together, draw the student to the teacher:
`logits` (how likely the teacher finds each identity), `features` (its embeddings), `distances`
(how far apart it puts two images) and `similarities` (which images of the batch it finds alike).
The last two compare images within each network, so the embeddings may differ in size. RKD's term of
angles is left out: it needs B^3 numbers for a batch of B images.

Reference: logits: Hinton et al., "Distilling the Knowledge in a Neural Network",
arXiv:1503.02531, section 2; features: Romero et al., "FitNets", arXiv:1412.6550, equation 3;
distances: Park et al., "Relational Knowledge Distillation", arXiv:1904.05068, equations 5 to 8;
similarities: Tung and Mori, "Similarity-Preserving Knowledge Distillation", arXiv:1907.09682,
equations 1 to 4.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from reid_core import ObjectiveComponent, Params, PathText, hookimpl
from reid_core.contracts import Classes, Network, Preprocessing, TrainedModel

if TYPE_CHECKING:
    from reid_plugins.objective._distillation import Compare, Distillation


class TermParams(Params):
    """Params of every term."""

    weight: float = Field(gt=0.0, description="Factor in the total loss, above 0.")


class LogitsParams(TermParams):
    """Params of the term `logits`."""

    temperature: float = Field(
        default=4.0,
        gt=0.0,
        description="T, above 0, by which both networks' logits are divided: a large one shows "
        "more of the unlikely identities. The term is multiplied by T^2: its gradients keep their "
        "size.",
    )


class FeaturesParams(TermParams):
    """Params of the term `features`."""

    measure: Literal["l2", "cosine"] = Field(
        default="cosine",
        description='"cosine": 1 - cosine, 0 to 2; "l2": mean squared difference of the values.',
    )


class Terms(Params):
    """What is compared."""

    logits: LogitsParams | None = Field(
        default=None,
        description="Compare the logits of branches of one name; the teacher must have been "
        "trained on the same identities.",
    )
    features: FeaturesParams | None = Field(
        default=None, description="Compare the embeddings, which must have one size."
    )
    distances: TermParams | None = Field(
        default=None, description="Compare the Euclidean distances of all pairs of images."
    )
    similarities: TermParams | None = Field(
        default=None,
        description="Compare the rows of inner products of all pairs of images. Its values are "
        "small: the paper's weight is 3000.",
    )

    @model_validator(mode="after")
    def _some_term(self) -> Terms:
        names = type(self).model_fields
        if all(getattr(self, name) is None for name in names):
            raise ValueError(f"give at least one of {', '.join(names)}")
        return self


class DistillationParams(Params):
    """Params of the objective `distillation`."""

    teacher: PathText = Field(
        description="The teacher's run directory (its best weights are taken) or weights file.",
    )
    terms: Terms = Field(description="What is compared, one term or several, each with a weight.")
    resize_input: bool = Field(
        default=False,
        description="Resize the batch to the teacher's input size where it differs; otherwise "
        "another size is an error. Mean, std and order of the channels must always be the same.",
    )


def comparisons(terms: Terms) -> dict[str, tuple[float, Compare]]:
    """Return weight and comparison of the terms that are asked for, by name."""
    from reid_plugins.objective import _distillation as by

    found: dict[str, tuple[float, Compare]] = {}
    if terms.logits:
        compare = partial(by.logits_difference, temperature=terms.logits.temperature)
        found["logits"] = terms.logits.weight, compare
    if terms.features:
        of_two = partial(by.feature_difference, measure=terms.features.measure)
        found["features"] = terms.features.weight, by.of_embeddings(of_two)
    if terms.distances:
        found["distances"] = terms.distances.weight, by.of_embeddings(by.distance_difference)
    if terms.similarities:
        found["similarities"] = (
            terms.similarities.weight,
            by.of_embeddings(by.similarity_difference),
        )
    return found


def build(
    params: DistillationParams,
    *,
    name: str,
    model: Network,
    classes: Classes,
    preprocessing: Preprocessing | None,
    load_trained: Callable[[str], TrainedModel],
) -> Distillation:
    """Build the objective; the teacher is read and checked here, unless only shapes matter."""
    from reid_plugins.objective import _teacher
    from reid_plugins.objective._distillation import Distillation

    terms = comparisons(params.terms)
    if "logits" in terms:
        _teacher.check_student(model)
    if preprocessing is None:
        return Distillation(name, terms, None)
    teacher = _teacher.open_teacher(params.teacher, load_trained)
    _teacher.check_input(teacher, preprocessing, resize=params.resize_input)
    if "logits" in terms:
        _teacher.check_logits(teacher, model, classes)
    if "features" in terms:
        _teacher.check_features(teacher, model)
    numbers = _teacher.numbers_of(teacher.model, model)
    _teacher.announce(teacher, numbers)
    return Distillation(name, terms, teacher, numbers=numbers, resize_input=params.resize_input)


@hookimpl
def reid_objective() -> list[ObjectiveComponent]:
    """Offer the objective."""
    return [
        ObjectiveComponent(
            name="distillation",
            params=DistillationParams,
            build=build,
            summary="A trained teacher's logits, features or relations, for the student to match",
            reference="arXiv:1503.02531",
            needs=lambda params: ("classifier",) if params.terms.logits else (),
        )
    ]
