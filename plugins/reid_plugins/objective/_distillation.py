"""The terms of the objective `distillation`, and how the teacher takes part in a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_core import ReidError
from reid_core.contracts import ModelOutput, Step, Term, TrainedModel
from reid_plugins.toolkit.loss_distances import common_center

Difference = tuple[Tensor, dict[str, Tensor]]
"""A value, 0-d and attached to the graph, and monitors."""

Compare = Callable[[Step, ModelOutput], Difference]
"""Compares a step of the student with what the teacher says of its images."""


class Distillation(nn.Module):
    """The weighted differences between the student's outputs and the teacher's.

    The state dict holds the digest of the teacher's file and nothing else of it, so that a run is
    continued with the teacher that it was started with.
    """

    def __init__(
        self,
        name: str,
        terms: Mapping[str, tuple[float, Compare]],
        teacher: TrainedModel | None,
        *,
        numbers: Mapping[str, Tensor] = MappingProxyType({}),
        resize_input: bool = False,
    ) -> None:
        """Take a checked teacher; None: for shapes alone, there is no step.

        Args:
            name: Prefix of the terms' names.
            terms: Weight and comparison by name.
            teacher: The trained network.
            numbers: Of the columns that the teacher looks at, its number for each of the
                student's, from ``_teacher.numbers_of``; it takes what is not here as unknown.
            resize_input: Whether images are resized to the teacher's input size.
        """
        super().__init__()
        self.name, self.terms, self.resize_input = name, terms, resize_input
        # In a plain record, the network is no submodule: it is not trained, saved or switched.
        self.teacher, self.numbers = teacher, numbers

    def forward(self, step: Step) -> dict[str, Term]:
        """Return every term as ``<name>_<term>``, in float32 outside autocast."""
        assert self.teacher is not None, "built for shapes alone"
        images, columns = step.batch.images, step.batch.columns
        side = {
            name: numbers.to(images.device)[columns[name]]
            for name, numbers in self.numbers.items()
            if name in columns
        }
        taught = answers(self.teacher, images, side, resize=self.resize_input)
        with torch.autocast(step.batch.images.device.type, enabled=False):
            found = {name: compare(step, taught) for name, (_, compare) in self.terms.items()}
        return {
            f"{self.name}_{name}": Term(value, self.terms[name][0], monitors)
            for name, (value, monitors) in found.items()
        }

    def get_extra_state(self) -> Tensor:
        """Return the digest of the teacher's file, ``(32,)`` uint8."""
        digest = b"" if self.teacher is None else self.teacher.digest
        return torch.tensor(list(digest), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Compare the teacher with that of a checkpoint.

        Raises:
            ReidError: It is another one.
        """
        if self.teacher is not None and bytes(state.tolist()) != self.teacher.digest:
            raise ReidError(
                f"distillation: {self.teacher.path} is not the teacher that the run was started "
                "with: the file has changed; restore it, or start a new run"
            )


def answers(
    teacher: TrainedModel, images: Tensor, side: Mapping[str, Tensor], *, resize: bool
) -> ModelOutput:
    """Return what the teacher says of images ``(B, 3, H, W)``, on their device.

    Args:
        teacher: It is moved there when it is asked for the first time.
        images: The student's batch.
        side: Of the columns that the teacher looks at, in its own numbers.
        resize: To the teacher's input size first.
    """
    size = (teacher.preprocessing.height, teacher.preprocessing.width)
    with torch.no_grad():
        if resize and tuple(images.shape[2:]) != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return teacher.model.to(images.device)(images, side)


def of_embeddings(compare: Callable[[Tensor, Tensor], Difference]) -> Compare:
    """Return a comparison of both networks' embeddings, ``(B, D)`` and ``(B, D')`` in float32."""
    return lambda step, taught: compare(step.outputs.embedding.float(), taught.embedding.float())


def logits_difference(step: Step, taught: ModelOutput, temperature: float) -> Difference:
    """Return the softened divergence, a mean over the branches that both networks classify.

    Args:
        step: Of the student.
        taught: What the teacher says of the same images.
        temperature: As ``softened_divergence`` takes it.

    Returns:
        The value; how often both choose one identity, and how often the teacher's is right.
    """
    pairs = [
        (logits.float(), taught.logits[name].float())
        for name, logits in step.outputs.logits.items()
        if name in taught.logits
    ]
    chosen = [(ours.argmax(dim=1), theirs.argmax(dim=1)) for ours, theirs in pairs]
    monitors = {
        "agreement": _mean([(ours == theirs).float().mean() for ours, theirs in chosen]),
        "teacher_accuracy": _mean(
            [(theirs == step.batch.pids).float().mean() for _, theirs in chosen]
        ),
    }
    values = [softened_divergence(ours, theirs, temperature) for ours, theirs in pairs]
    return _mean(values), monitors


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return ``T^2 KL(teacher || student)`` of the softened probabilities, a mean over images.

    Args:
        student: ``(B, num_pids)`` logits.
        teacher: Likewise.
        temperature: T, by which both are divided.
    """
    log_q = (student / temperature).log_softmax(dim=1)
    log_p = (teacher / temperature).log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean() * temperature**2


def feature_difference(student: Tensor, teacher: Tensor, measure: str) -> Difference:
    """Return how much two embeddings of the same images differ, a mean over images.

    Args:
        student: ``(B, D)``.
        teacher: ``(B, D)``.
        measure: ``"cosine"`` or ``"l2"``.

    Returns:
        The value, and the mean cosine between the two.
    """
    cosine = F.cosine_similarity(student, teacher, dim=1).mean()
    value = 1 - cosine if measure == "cosine" else (student - teacher).square().mean()
    return value, {"cosine": cosine.detach()}


def distance_difference(student: Tensor, teacher: Tensor) -> Difference:
    """Return the Huber loss between both networks' relative distances, a mean over pairs.

    Args:
        student: ``(B, D)``.
        teacher: ``(B, D')``.

    Returns:
        The value, 0 for a single image, and the mean distances that were divided by.
    """
    ours, our_mean = relative_distances(student)
    theirs, their_mean = relative_distances(teacher)
    pairs = max(1, len(student) * (len(student) - 1))
    value = F.smooth_l1_loss(ours, theirs, reduction="sum") / pairs
    return value, {"distance": our_mean.detach(), "teacher_distance": their_mean}


def relative_distances(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return all distances ``(B, B)`` in units of their mean over pairs, and that mean."""
    # A product of vectors far from the origin leaves nothing of their differences.
    x = x - common_center(x)
    # By a matrix product: the other way of cdist makes (B, B, D) values for the gradient.
    distmat = torch.cdist(x, x, compute_mode="use_mm_for_euclid_dist")
    # Rounding leaves an image a little away from itself.
    distmat = distmat.masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), 0.0)
    mean = distmat.sum() / max(1, len(x) * (len(x) - 1))
    return distmat / mean.clamp(min=1e-12), mean


def similarity_difference(student: Tensor, teacher: Tensor) -> Difference:
    """Return the squared difference of both networks' rows of similarities, over ``B^2``.

    Args:
        student: ``(B, D)``.
        teacher: ``(B, D')``.

    Returns:
        The value, and the mean cosine between the rows.
    """
    ours, theirs = similarity_rows(student), similarity_rows(teacher)
    return (ours - theirs).square().mean(), {"row_cosine": (ours * theirs).sum(1).mean().detach()}


def similarity_rows(x: Tensor) -> Tensor:
    """Return the inner products of all rows of ``x (B, D)``, each row L2-normalised: ``(B, B)``."""
    # The result does not depend on the scale; without it, squares of squares leave float32.
    x = x / x.detach().abs().amax().clamp(min=1e-30)
    return F.normalize(x @ x.T, dim=1)


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()
