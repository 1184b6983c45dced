"""The terms of the objective `distillation`, and how the teacher takes part in a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_core import ReidError
from reid_core.contracts import LossOutput, ModelOutput, Step
from reid_core.network.trained_model import Trained

if TYPE_CHECKING:
    from reid_plugins.objective.distillation import DistillationParams, LogitsTerm


class Distillation(nn.Module):
    """The terms of the params, of the student's outputs and the teacher's.

    The state dict holds the digest of the teacher's file and nothing else of it, so that a run is
    continued with the teacher that it was started with.
    """

    def __init__(self, name: str, params: DistillationParams, teacher: Trained | None) -> None:
        """Take a checked teacher; None: for shapes alone, there is no step.

        Args:
            name: Prefix of the losses' names.
            params: What is compared.
            teacher: The trained network.
        """
        super().__init__()
        self.name, self.params = name, params
        # In a plain record, the network is no submodule: it is not trained, saved or switched.
        self.teacher = teacher

    def forward(self, step: Step) -> dict[str, LossOutput]:
        """Return every term as ``<name>_<term>``, in float32 outside autocast."""
        assert self.teacher is not None, "built for shapes alone"
        taught = answers(self.teacher, step.batch.images, resize=self.params.resize_input)
        with torch.autocast(step.batch.images.device.type, enabled=False):
            terms = dict(self._terms(step, taught))
        return {f"{self.name}_{term}": output for term, output in terms.items()}

    def _terms(self, step: Step, taught: ModelOutput) -> Iterator[tuple[str, LossOutput]]:
        """Yield the terms that the params ask for, by name."""
        terms = self.params.terms
        ours, theirs = step.outputs.embedding.float(), taught.embedding.float()
        if terms.logits:
            yield "logits", logits_difference(step, taught, terms.logits)
        if terms.features:
            found = feature_difference(ours, theirs, terms.features.measure)
            yield "features", LossOutput(*found, terms.features.weight)
        if terms.distances:
            found = distance_difference(ours, theirs)
            yield "distances", LossOutput(*found, terms.distances.weight)
        if terms.similarities:
            found = similarity_difference(ours, theirs)
            yield "similarities", LossOutput(*found, terms.similarities.weight)

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


def answers(teacher: Trained, images: Tensor, *, resize: bool) -> ModelOutput:
    """Return what the teacher says of images ``(B, 3, H, W)``, on their device.

    Args:
        teacher: It is moved there when it is asked for the first time.
        images: The student's batch.
        resize: To the teacher's input size first.
    """
    size = (teacher.preprocessing.height, teacher.preprocessing.width)
    with torch.no_grad():
        if resize and tuple(images.shape[2:]) != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        return cast(ModelOutput, teacher.model.to(images.device)(images))


def logits_difference(step: Step, taught: ModelOutput, term: LogitsTerm) -> LossOutput:
    """Return the mean of the term over the branches that both networks classify."""
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
    values = [softened_divergence(ours, theirs, term.temperature) for ours, theirs in pairs]
    return LossOutput(_mean(values), monitors, term.weight)


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


def feature_difference(
    student: Tensor, teacher: Tensor, measure: str
) -> tuple[Tensor, dict[str, Tensor]]:
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


def distance_difference(student: Tensor, teacher: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
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
    # By a matrix product: the other way of cdist makes (B, B, D) values for the gradient.
    distmat = torch.cdist(x, x, compute_mode="use_mm_for_euclid_dist")
    # Rounding leaves an image a little away from itself.
    distmat = distmat.masked_fill(torch.eye(len(x), dtype=torch.bool, device=x.device), 0.0)
    mean = distmat.sum() / max(1, len(x) * (len(x) - 1))
    return distmat / mean.clamp(min=1e-12), mean


def similarity_difference(student: Tensor, teacher: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
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
