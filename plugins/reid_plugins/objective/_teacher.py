"""The teacher of the objective `distillation`: open it, and check that it fits the student."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from reid_core import ReidError
from reid_core.console import say
from reid_core.contracts import Classes, Network, Preprocessing, TrainedModel
from reid_core.errors import name_list

if TYPE_CHECKING:
    from torch import Tensor


def check_student(model: Network) -> None:
    """Refuse a student that lacks what the term of the logits compares.

    Raises:
        ReidError: It has no logits.
    """
    if not classified(model):
        raise ReidError(
            "distillation: 'logits' needs a classifier, and no branch of this network can have "
            "one; use another head, or leave 'logits' out"
        )


def open_teacher(path: str, load_trained: Callable[[str], TrainedModel]) -> TrainedModel:
    """Read the teacher.

    Args:
        path: Its run directory or weights file.
        load_trained: From the core.

    Raises:
        ReidError: There is no teacher.
    """
    try:
        return load_trained(path)
    except ReidError as error:
        raise ReidError(f"distillation: 'teacher': {error}") from None


def check_input(teacher: TrainedModel, ours: Preprocessing, *, resize: bool) -> None:
    """Refuse a teacher that is used to other images than those of the student's batches.

    Args:
        teacher: The trained network.
        ours: How the student's images are prepared.
        resize: Whether they are resized to the teacher's size.

    Raises:
        ReidError: Mean, std or order of the channels differ, or the size and there is no leave
            to resize.
    """
    theirs = teacher.preprocessing
    if not theirs.same_colours(ours):
        raise ReidError(
            f"distillation: {teacher.path} expects images prepared by {theirs.operations}; the "
            f"student's are prepared by {ours.operations}; use the teacher's 'normalize'"
        )
    if not (theirs.same_size(ours) or resize):
        raise ReidError(
            f"distillation: {teacher.path} expects images of {theirs.height} x {theirs.width} "
            f"pixels, the student's have {ours.height} x {ours.width}; use the teacher's 'resize', "
            "or set 'resize_input' to true"
        )


def check_logits(teacher: TrainedModel, model: Network, classes: Classes) -> None:
    """Refuse logits that mean other people than the student's, or none that both networks have.

    Raises:
        ReidError: The lists of identities differ, or no branch is classified by both.
    """
    if teacher.classes != classes:
        raise ReidError(
            f"distillation: 'logits' needs a teacher of the same identities in the same order; "
            f"{teacher.path} knows {len(teacher.classes)}, this training has {len(classes)}, and "
            "the lists differ; train both on the same data, or leave 'logits' out"
        )
    own, theirs = classified(model), classified(teacher.model)
    if not set(own) & set(theirs):
        raise ReidError(
            f"distillation: 'logits' compares branches of one name; {teacher.path} classifies "
            f"{name_list(theirs)}, the student {name_list(own)}; use the same head, or leave "
            "'logits' out"
        )


def check_features(teacher: TrainedModel, model: Network) -> None:
    """Refuse embeddings that cannot be compared value by value.

    Raises:
        ReidError: They differ in size.
    """
    if teacher.model.embedding_dim != model.embedding_dim:
        raise ReidError(
            f"distillation: 'features' compares embeddings of one size; that of {teacher.path} has "
            f"{teacher.model.embedding_dim} values, the student's {model.embedding_dim}; use "
            "'distances' or 'similarities', which take any size"
        )


def numbers_of(teacher: Network, student: Network) -> dict[str, Tensor]:
    """Return the teacher's number for each number of the student, in the columns both look at.

    Args:
        teacher: A network with numbers of its own, such as for cameras.
        student: The network that is trained, whose numbers a batch has.

    Returns:
        ``(n + 1,)`` int64 by column; -1 for what the teacher does not know, and at the last place,
        where the student's own -1 leads.
    """
    import torch

    found = {}
    for name, known in teacher.side_values.items():
        if name in student.side_values:
            numbers = {value: number for number, value in enumerate(known)}
            theirs = [numbers.get(value, -1) for value in student.side_values[name]]
            found[name] = torch.tensor([*theirs, -1])
    return found


def announce(teacher: TrainedModel, numbers: Mapping[str, Tensor]) -> None:
    """Print which teacher was opened, and what it is told beside the images."""
    for name in teacher.model.side_values:
        if name in numbers:
            known, count = int((numbers[name] >= 0).sum()), len(numbers[name]) - 1
            text = f"knows {known} of the {count} values of this training; others are unknown to it"
        else:
            text = "takes it as unknown: the student does not look at it"
        say(f"teacher: it looks at '{name}' and {text}")
    say(
        f"teacher: {teacher.path}: {teacher.model.backbone_name}, {len(teacher.classes)} "
        f"identities, embedding of {teacher.model.embedding_dim}"
    )


def classified(model: Network) -> list[str]:
    """Return the branches that have logits."""
    keys = set(model.classifier)
    return [spec.name for spec in model.branches if spec.classifier in keys]
