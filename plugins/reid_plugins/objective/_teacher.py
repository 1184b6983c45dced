"""The teacher of the objective `distillation`: open it, and check that it fits the student."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reid_core import ReidError
from reid_core.console import say
from reid_core.errors import name_list
from reid_core.network.model import ReIDModel
from reid_core.network.trained_model import Preprocessing, Trained

if TYPE_CHECKING:
    from reid_plugins.objective.distillation import DistillationParams

Classes = tuple[tuple[str, str], ...]


def check_student(params: DistillationParams, model: ReIDModel) -> None:
    """Refuse a student that lacks what a term compares.

    Raises:
        ReidError: It has no logits.
    """
    if params.terms.logits and not classified(model):
        raise ReidError(
            "distillation: 'logits' needs a classifier, and this training has none; add an ID loss "
            "such as 'softmax', or leave 'logits' out"
        )


def open_teacher(
    params: DistillationParams,
    model: ReIDModel,
    classes: Classes,
    preprocessing: Preprocessing,
    load_trained: Callable[[str], Trained],
) -> Trained:
    """Read the teacher and check all that could make a term fail or mean nothing.

    Args:
        params: Of the objective.
        model: The student.
        classes: (dataset, pid) of the student's labels.
        preprocessing: Of the student's images.
        load_trained: From the core.

    Raises:
        ReidError: There is no teacher, or teacher and student do not fit together.
    """
    try:
        teacher = load_trained(params.teacher)
    except ReidError as error:
        raise ReidError(f"distillation: 'teacher': {error}") from None
    _check_input(params, teacher, preprocessing)
    if params.terms.logits:
        _check_logits(teacher, classes, classified(model))
    if params.terms.features and teacher.model.embedding_dim != model.embedding_dim:
        raise ReidError(
            f"distillation: 'features' compares embeddings of one size; that of {teacher.path} has "
            f"{teacher.model.embedding_dim} values, the student's {model.embedding_dim}; use "
            "'distances' or 'similarities', which take any size"
        )
    say(
        f"teacher: {teacher.path}: {teacher.model.backbone_name}, {len(teacher.classes)} "
        f"identities, embedding of {teacher.model.embedding_dim}"
    )
    return teacher


def classified(model: ReIDModel) -> list[str]:
    """Return the branches that have logits."""
    keys = set(model.classifier)
    return [spec.name for spec in model.branches if spec.classifier in keys]


def _check_input(params: DistillationParams, teacher: Trained, ours: Preprocessing) -> None:
    """Refuse a teacher that is used to other images than those of the student's batches."""
    theirs = teacher.preprocessing
    if not theirs.same_colours(ours):
        raise ReidError(
            f"distillation: {teacher.path} expects images prepared by {theirs.operations}; the "
            f"student's are prepared by {ours.operations}; use the teacher's 'normalize'"
        )
    if not (theirs.same_size(ours) or params.resize_input):
        raise ReidError(
            f"distillation: {teacher.path} expects images of {theirs.height} x {theirs.width} "
            f"pixels, the student's have {ours.height} x {ours.width}; use the teacher's 'resize', "
            "or set 'resize_input' to true"
        )


def _check_logits(teacher: Trained, classes: Classes, own: list[str]) -> None:
    """Refuse logits that mean other people, or none that both networks have."""
    if teacher.classes != classes:
        raise ReidError(
            f"distillation: 'logits' needs a teacher of the same identities in the same order; "
            f"{teacher.path} knows {len(teacher.classes)}, this training has {len(classes)}, and "
            "the lists differ; train both on the same data, or leave 'logits' out"
        )
    theirs = classified(teacher.model)
    if not set(own) & set(theirs):
        raise ReidError(
            f"distillation: 'logits' compares branches of one name; {teacher.path} classifies "
            f"{name_list(theirs)}, the student {name_list(own)}; use the same head, or leave "
            "'logits' out"
        )
