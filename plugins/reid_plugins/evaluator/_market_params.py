"""The params of ``market_evaluate``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from reid_core import Params
from reid_core.limits import LARGEST_COUNT, LARGEST_SEED, MOST_DRAWS
from reid_evaluate.protocols.rule_data import JUNK_RULES, JunkRule, NamedRule
from reid_plugins.toolkit.junk_columns import JunkColumns

NAME = "market_evaluate"

Fraction = Annotated[float, Field(gt=0, lt=1)]


class MarketParams(Params):
    """Every choice that can change a number; all are written on the card."""

    protocol: Literal["market1501", "cuhk03", "no_camera"] = Field(
        "market1501",
        description="market1501: images of the query's pid and camera are no matches (MSMT17, "
        "DukeMTMC too); cuhk03: the same, and rank<k> is the mean over draws of a gallery with "
        "one image per identity; no_camera: data without cameras, all but the query's own "
        "image count.",
    )
    junk_rule: NamedRule | JunkColumns | None = Field(
        None,
        description="Gallery images that a query is not scored on; default: by the protocol. "
        "cross_camera: of the query's pid, unless known to be from another camera; "
        "exclude_self: the query's own image: the one with the same name, which a copy in "
        "another folder has not; none: no image; "
        '{"same": [columns], "different": [columns]}: of the query\'s pid, with the same value in '
        "one of the columns 'same', another one in one of 'different', or an unknown one in any "
        'of both, e.g. {"same": ["camid", "clothes"]} for changed clothes. '
        "Images flagged junk are removed under every rule.",
    )
    ap: Literal["standard", "trapezoid"] = Field(
        "standard",
        description="Definition of average precision behind mAP. Both are reported, as "
        "mAP_standard and mAP_trapezoid.",
    )
    output: Literal["embedding", "feature"] = Field(
        "embedding",
        description="Vector of an image: embedding is after the neck's batch norm, feature "
        "before it.",
    )
    denominator: Literal["valid", "all"] = Field(
        "valid",
        description="Queries that every mean is taken over. valid: those with a match; all: "
        "every query, those without a match count as 0.",
    )
    ranks: tuple[Annotated[int, Field(ge=1, le=LARGEST_COUNT)], ...] = Field(
        (1, 5, 10),
        strict=False,  # a strict tuple would refuse the lists that JSON has
        min_length=1,
        description="Ranks k at which the CMC is reported as rank<k>, 1 or larger.",
    )
    false_rates: tuple[Fraction, ...] = Field(
        (1e-4, 1e-3, 1e-2),
        strict=False,
        description="Rates, between 0 and 1, at which a threshold on the distance is scored. "
        "tpr@<rate>: share of the pairs of one person that it accepts when it accepts that "
        "share of the pairs of different persons; dir@<rate>: detection and identification "
        "rate when that share of unknown persons raises a false alarm. []: not at all.",
    )
    camera_pairs: bool = Field(
        True, description="Keep a table of the scores by camera of the query and of the gallery."
    )
    single_shot_draws: int = Field(
        10,
        ge=1,
        le=MOST_DRAWS,
        description="Draws of a gallery for cuhk03, each with one image per identity.",
    )
    seed: int = Field(
        0, ge=0, le=LARGEST_SEED, description="Seed of the draws and of the bootstrap."
    )
    bootstrap_draws: int = Field(
        1000,
        ge=0,
        le=MOST_DRAWS,
        description="Resamplings of the queries behind the 95 % intervals; 0: no intervals.",
    )
    top_k: int = Field(
        10,
        ge=0,
        le=LARGEST_COUNT,
        description="Images of each ranking to keep for pictures, 0 or larger.",
    )
    block_size: int = Field(
        1024,
        ge=1,
        le=LARGEST_COUNT,
        description="Queries ranked at a time; memory is about 5 bytes x block_size x gallery "
        "images.",
    )

    @property
    def rule(self) -> JunkRule:
        """Return the junk rule that holds: the chosen one, or that of the protocol."""
        if isinstance(self.junk_rule, JunkColumns):
            return self.junk_rule.rule
        return self.junk_rule or JUNK_RULES[self.protocol]
