"""Everything that can be said of a run's params without its data."""

from __future__ import annotations

from reid_core.catalog import Catalog
from reid_core.evaluation.trials import try_evaluations
from reid_core.params.schema import RunParams
from reid_core.runs.callbacks import check_callbacks
from reid_core.training.assembly import check_on_meta


def check_without_data(params: RunParams, catalog: Catalog) -> None:
    """Build the whole training on shapes, and try its parts on made-up input.

    Args:
        params: Resolved params.
        catalog: Offers the components of trained models that an objective opens.

    Raises:
        ReidError: Parts do not fit together, or a plugin is wrong.
    """
    check_on_meta(params, catalog)
    check_callbacks(params)
    try_evaluations(params.evaluation)
