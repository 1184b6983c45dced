"""The distance `visible_parts`: only what both images show is compared.

The mean cosine distance (1 - cosine) over the foreground and the parts that are visible in both
images. The foreground always counts, so that two images without a common part have a distance too.

Reads the value ``visibility`` of the head `visible_parts`, and relies on the order of its vectors;
use that head alone. At 0.5 a part counts as visible: where mirrored images are averaged, one of the
two is enough.

Reference: Somers et al., arXiv:2211.03679, section 3.4, equation 8, by cosines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reid_core import DistanceComponent, Params, hookimpl

if TYPE_CHECKING:
    from reid_evaluate.distances.comparison import Distance

VISIBILITY = "visibility"


def build(params: Params) -> Distance:
    """Return the distance."""
    from reid_visible_parts._distance import VisibleParts

    return VisibleParts()


@hookimpl
def reid_distance() -> list[DistanceComponent]:
    """Offer the distance."""
    return [
        DistanceComponent(
            name="visible_parts",
            build=build,
            summary="Mean cosine distance of the foreground and the parts that both images show",
            reference="arXiv:2211.03679",
            aux=(VISIBILITY,),
        )
    ]
