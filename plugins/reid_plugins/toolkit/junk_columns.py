"""The params of a junk rule by columns, for evaluators that rank."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from reid_core import Params
from reid_evaluate.protocols.rule_data import ColumnRule

Names = list[Annotated[str, Field(min_length=1)]]


class JunkColumns(Params):
    """Gallery images of the query's pid that are removed, by columns of the images."""

    same: Names = Field(
        default=[],
        description="Columns such as 'camid' and 'clothes': an image is removed that has the "
        "query's value in one of them, or an unknown one.",
    )
    different: Names = Field(
        default=[],
        description="Columns: an image is removed that has another value than the query in one of "
        "them, or an unknown one.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> JunkColumns:
        """Refuse a rule without columns, and one that no image can pass."""
        if not (self.same or self.different):
            raise ValueError("expected a column in 'same' or in 'different'")
        if both := sorted({*self.same} & {*self.different}):
            raise ValueError(f"expected column '{both[0]}' in one of 'same' and 'different' alone")
        return self

    @property
    def rule(self) -> ColumnRule:
        """Return the rule that they describe."""
        return ColumnRule(tuple(self.same), tuple(self.different))
