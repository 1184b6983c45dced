"""The head `uncertain`: the global head, and how uncertain it is about each image.

The norm of a feature tells how recognisable the person is. A small learned function maps it to
the uncertainty ``uc``, with the mean 0 over images. The losses `uncertain_pair`,
`uncertain_triplet` and `uncertain_softmax` turn it into a margin for each image, by which it is
learned; the distance `uncertain` may read it in evaluation. It is 0 for all at the start.

Its weights want a decay of their own, e.g. in ``optimizer``:
``"groups": [{"match": "*.uncertainty.weight", "weight_decay": 0.1}]``.

Stands on `toolkit/neck.py` and `toolkit/pooling.py`.

Reference: Huang et al., "Norm-Aware Margin Assignment for Person Re-Identification" (NAMA),
2022. Names of its code: ``nn_128`` is ``{"basis": "hinges", "terms": 128}``, ``tlr_5`` is
``{"basis": "taylor", "terms": 3}``, ``lgd_all_3`` is ``{"basis": "legendre", "terms": 8,
"even_orders": true}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from reid_core import Component, hookimpl
from reid_plugins.head._global_params import GlobalParams, build_global

if TYPE_CHECKING:
    from reid_plugins.head._uncertain import UncertainHead

HIGHEST_ORDER = 16
"""Polynomials of higher orders leave float32 at norms that occur."""


class UncertainParams(GlobalParams):
    """Params of the head `uncertain`: those of `global` and of the map from norm to ``uc``."""

    norm_of: Literal["feature", "embedding"] = Field(
        default="feature",
        description='Vector whose norm is read: "feature" before the neck, "embedding" after it '
        "(and after dropout).",
    )
    log_norm: bool = Field(
        default=False, description="Whether the logarithm of the norm is mapped."
    )
    basis: Literal["hinges", "taylor", "legendre"] = Field(
        default="hinges",
        description='"hinges": a learned piecewise linear function, constant beyond 4 standard '
        'deviations of the norm; "taylor", "legendre": a learned polynomial.',
    )
    terms: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Number of basis functions, from 1; for polynomials at most 8, or 16 with "
        "even_orders. null: 32 hinges, or 5 terms of a polynomial.",
    )
    even_orders: bool = Field(
        default=False,
        description="Polynomials: orders 1, 2, 3, ... instead of 1, 3, 5, ...",
    )

    @model_validator(mode="after")
    def _check(self) -> UncertainParams:
        if self.basis == "hinges" and self.even_orders:
            raise ValueError(
                "even_orders: hinges have no orders; leave it out, or choose the basis 'taylor' or "
                "'legendre'"
            )
        most = HIGHEST_ORDER if self.even_orders else HIGHEST_ORDER // 2
        if self.basis != "hinges" and (self.terms or 0) > most:
            raise ValueError(
                f"terms: at most {most} for basis '{self.basis}' with even_orders "
                f"{str(self.even_orders).lower()} (order {HIGHEST_ORDER}), got {self.terms}"
            )
        return self


def build(params: UncertainParams, *, in_channels: int) -> UncertainHead:
    """Build the head for a map of ``in_channels`` channels."""
    from reid_plugins.head._norm_to_uncertainty import NormToUncertainty
    from reid_plugins.head._uncertain import UncertainHead

    uncertainty = NormToUncertainty(
        params.basis,
        params.terms or (32 if params.basis == "hinges" else 5),
        even_orders=params.even_orders,
        log_norm=params.log_norm,
    )
    return UncertainHead(build_global(params, in_channels), uncertainty, norm_of=params.norm_of)


@hookimpl
def reid_head() -> list[Component]:
    """Offer the uncertain head."""
    return [
        Component(
            name="uncertain",
            params=UncertainParams,
            build=build,
            summary="Head 'global' and the uncertainty 'uc' of each image, from its norm",
            reference="Huang et al., Norm-Aware Margin Assignment, 2022",
        )
    ]
