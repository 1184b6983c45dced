"""Runs of the whole network that find a plugin's fault: on shapes alone, and on NaN."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from reid_core.contracts import ModelOutput
from reid_core.errors import ReidError, name_list
from reid_core.network.model import ReIDModel

IMAGES = 2
"""Images of a run on shapes: training needs more than one."""


def run_on_shapes(model: ReIDModel, size: tuple[int, int]) -> ModelOutput:
    """Run a network of the meta device in training and in evaluation mode, where it is left.

    Args:
        model: The network.
        size: (height, width) of its images, in pixels.

    Returns:
        What it gives for two images in evaluation.

    Raises:
        ReidError: A plugin fails, or does not give what it has declared, in one of the modes; or a
            head gives other extra values in training than in evaluation.
    """
    images = torch.empty(IMAGES, 3, *size, device="meta")
    names = []
    for mode in (True, False):
        model.train(mode)
        outputs = model.head_outputs(model.feature_map(images))
        names.append([set(output.aux) for output in outputs])
    for origin, training, evaluation in zip(model.origins[1:], *names, strict=True):
        if training != evaluation:
            raise origin.fault(
                f"gives in training the extra values {name_list(training)}, and in evaluation "
                f"{name_list(evaluation)}; they must be the same"
            )
    output: ModelOutput = model(images)
    return output


def not_finite(model: ReIDModel, images: Tensor, side: Mapping[str, Tensor]) -> ReidError:
    """Return the error of images whose vectors are NaN or infinite; it names the first such part.

    Args:
        model: The network, in the mode in which they are.
        images: ``(B, 3, H, W)``.
        side: Their columns.
    """
    backbone, *heads = model.origins
    features = model.feature_map(images, side)
    parts = [(str(backbone), [features.map])]
    for origin, output in zip(heads, model.head_outputs(features), strict=True):
        vectors = [v for b in output.branches.values() for v in (b.feature, b.embedding)]
        parts.append((str(origin), vectors))
    wrong = [name for name, values in parts if not all(torch.isfinite(v).all() for v in values)]
    return ReidError(
        f"{(wrong or ['a classifier'])[0]} gives values that are NaN or infinite for the first "
        f"{len(images)} images; if its weights and its input are numbers of a usual size (a lower "
        "optimizer.lr keeps them so), the plugin must be corrected"
    )
