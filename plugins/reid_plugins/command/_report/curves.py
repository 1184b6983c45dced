"""How the queries of an evaluation did: CMC curve and histogram of AP."""

from __future__ import annotations

import numpy as np

from reid_plugins.command._report.axis import Axis
from reid_plugins.command._report.charts import Chart
from reid_plugins.command._report.collect import Evaluation, LeftOut
from reid_plugins.command._report.markup import Markup, element
from reid_plugins.command._report.tables import number

AP_BINS = 20
_MARKED_RANKS = (1, 5, 10, 20)


def cmc_chart(found: Evaluation, name: str) -> Markup:
    """Return the cumulative matching characteristic, ranks on a logarithmic axis.

    Args:
        found: The evaluation.
        name: Of the chart, unique in the page.

    Raises:
        LeftOut: It was not saved.
    """
    curve = found.table("cmc", 1, "no CMC curve was saved")
    if len(curve) < 2 or not np.isfinite(curve).all():
        raise LeftOut("the saved CMC curve has no ranks to draw")
    ranks = np.arange(1, len(curve) + 1)
    marked = [k for k in _MARKED_RANKS if k <= len(curve)]
    shares = {k: number(curve[k - 1]) for k in marked}
    chart = Chart(
        name,
        "CMC curve",
        "Share of the queries with a match at a rank or before: "
        + ", ".join(f"rank {k} {share}" for k, share in shares.items()),
        Axis("rank (logarithmic axis)", 1, len(curve), "log"),
        Axis("share of queries", max(0.0, np.floor(10 * curve[0] - 1) / 10), 1),
    )
    drawing = chart.svg(
        chart.line(ranks, curve, "one"),
        chart.dots(marked, curve[np.array(marked) - 1], "one"),
        *(
            chart.note(k, curve[k - 1], share, "middle" if k > 1 else "after", down=22)
            for k, share in shares.items()
        ),
    )
    text = "Share of the queries that have a match at this rank or before."
    if "single_shot_ranks" in found.tables:
        text += " The curve is of the whole gallery, rank<k> above of one image per identity."
    return figure(drawing, text)


def ap_chart(found: Evaluation, name: str) -> Markup:
    """Return the histogram of AP over the queries that the mAP is the mean of.

    Raises:
        LeftOut: There is no such query.
    """
    values = found.precision[found.has_match | found.counts_all].astype(np.float64)
    if not len(values):
        raise LeftOut("no query counts, so there is no AP to draw")
    counts, edges = np.histogram(values, bins=AP_BINS, range=(0, 1))
    mean = float(values.mean())
    chart = Chart(
        name,
        "Average precision of the queries",
        f"Histogram over {len(values)} queries, mean {number(mean)}, median "
        f"{number(float(np.median(values)))}, {int((values < 0.5).sum())} of them below 0.5",
        Axis("average precision", 0, 1),
        Axis("queries", 0, 1.08 * max(1, int(counts.max()))),
    )
    titles = [
        f"AP {low:.2f} to {high:.2f}: {count} of {len(values)} queries"
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    drawing = chart.svg(
        chart.bars(edges, counts.astype(np.float64), titles),
        chart.threshold(mean, f"mean {number(mean)}"),
    )
    without = int((~found.has_match).sum())
    left = f" {without} without a match {'count as 0' if found.counts_all else 'are left out'}."
    return figure(drawing, f"{len(values)} queries.{left if without else ''}")


def figure(drawing: Markup, *text: str) -> Markup:
    """Return a drawing with the text that belongs to it."""
    return element("figure", drawing, element("figcaption", *text))
