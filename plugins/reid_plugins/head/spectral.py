"""The head `spectral`: the global head, trained on mixtures of similar images as well.

In training the batch is a graph whose edges are cosine similarities; one step of its random
walk replaces every embedding by a mean over its neighbours, which the same classifier must
recognise. Evaluation uses the plain embedding. Each process mixes its own images only.

Stands on `toolkit/neck.py` and `toolkit/pooling.py`.

Reference: Luo et al., "Spectral Feature Transformation for Person Re-identification",
arXiv:1811.11405, section 3. Unlike the paper: the transform waits for an accuracy gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from reid_core import Component, hookimpl
from reid_plugins.head._global_params import GlobalParams, build_global

if TYPE_CHECKING:
    from reid_plugins.head._spectral import SpectralHead


class SpectralParams(GlobalParams):
    """Params of the head `spectral`: those of `global` and of the transform."""

    temperature: float = Field(
        default=0.3,
        gt=0.0,
        description="Divides cosine similarities, above 0; the smaller, the fewer neighbours.",
    )
    gate: float = Field(
        default=0.9,
        ge=0.0,
        le=1.0,
        description="Running identity accuracy, 0 to 1, from which the transform is on; before "
        "that the branch equals 'global'. 0: always on.",
    )
    normalize: Literal["row", "column"] = Field(
        default="row",
        description='"row": the weights of an image\'s neighbours sum to 1, as in the paper; '
        '"column": the transposed matrix, as in pytorch-reid-lite.',
    )


def build(params: SpectralParams, *, in_channels: int) -> SpectralHead:
    """Build the head for a map of ``in_channels`` channels."""
    from reid_plugins.head._spectral import SpectralHead

    return SpectralHead(
        build_global(params, in_channels),
        temperature=params.temperature,
        gate=params.gate,
        normalize=params.normalize,
    )


@hookimpl
def reid_head() -> list[Component]:
    """Offer the spectral head."""
    return [
        Component(
            name="spectral",
            params=SpectralParams,
            build=build,
            summary="Head 'global' and its batch-transformed copy: 'global', 'spectral'",
            reference="arXiv:1811.11405",
        )
    ]
