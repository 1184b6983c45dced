"""The parts of a page: what is told of one evaluation, and of the training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from reid_core.catalog import Catalog
from reid_core.errors import ReidError
from reid_plugins.command._report.album import open_album
from reid_plugins.command._report.collect import Evaluation, LeftOut
from reid_plugins.command._report.curves import ap_chart, cmc_chart
from reid_plugins.command._report.distances import distance_chart
from reid_plugins.command._report.markup import Markup, element, join
from reid_plugins.command._report.ranked_strips import (
    Pictures,
    best_and_worst,
    check_rankings,
    legend,
    strips,
    without_match,
)
from reid_plugins.command._report.tables import camera_matrix, metrics_table, number, protocol_card
from reid_plugins.command._report.training import training_charts

Room = Literal["half", "tall", "wide"]
"""Half of the page's width, that and two rows, or all of the width."""


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    heading: str
    content: Markup
    room: Room = "half"


@dataclass(frozen=True)
class Part:
    """A group of sections.

    Attributes:
        name: Its address in the page.
        heading: Its title.
        headline: What the list of contents says of it.
        sections: In reading order.
        left_out: What is not shown, and why.
    """

    name: str
    heading: str
    headline: Markup
    sections: list[Section]
    left_out: list[str]

    def links(self) -> Markup:
        """Return the links to the sections."""
        names = [f"#{self.name}-{i}" for i in range(1, len(self.sections) + 1)]
        links = zip(names, self.sections, strict=True)
        return element(
            "ul", *(element("li", element("a", s.heading, href=href)) for href, s in links)
        )

    def html(self) -> Markup:
        """Return the part with its sections beside each other where there is room."""
        cells = []
        for i, section in enumerate(self.sections, start=1):
            heading = element("h3", section.heading, id=f"{self.name}-{i}")
            cells.append(element("section", heading, section.content, class_=section.room))
        aside = []
        if self.left_out:
            items = [element("li", text) for text in self.left_out]
            aside = [element("aside", element("p", "Left out:"), element("ul", *items))]
        return element(
            "section",
            element("h2", self.heading, id=self.name),
            element("div", *cells, class_="grid"),
            *aside,
        )


def evaluation_part(run: Path, found: Evaluation, catalog: Catalog, name: str) -> Part:
    """Return everything about one evaluation.

    Args:
        run: The directory that the scores were collected from.
        found: The scores.
        catalog: Has the components that the run's params name.
        name: The part's address in the page.
    """
    sections = [
        Section("Metrics", metrics_table(found)),
        Section("Protocol", protocol_card(found), "tall"),
    ]
    left_out: list[str] = []

    def add(heading: str, make: Callable[[], Markup], room: Room = "half") -> None:
        try:
            sections.append(Section(heading, make(), room))
        except LeftOut as reason:
            left_out.append(f"{heading}: {reason}.")

    if found.is_ranking:
        add("CMC curve", lambda: cmc_chart(found, f"{name}-cmc"))
        add("AP of the queries", lambda: ap_chart(found, f"{name}-ap"))
        add("mAP by pair of cameras", lambda: camera_matrix(found))
        add("Distances of pairs", lambda: distance_chart(found, f"{name}-distances"), "wide")
        add("Ranked lists", lambda: _ranked_lists(run, found, catalog), "wide")
    return Part(name, found.title, _headline(found), sections, left_out)


def training_part(metrics_file: Path) -> Part:
    """Return the curves of a training, if any were recorded; see ``training_charts``."""
    charts = training_charts(metrics_file)
    sections = [Section(heading.capitalize(), chart) for heading, chart in charts.items()]
    if len(sections) % 2:
        sections[-1] = replace(sections[-1], room="wide")
    return Part("training", "Training", Markup(""), sections, [])


def _headline(found: Evaluation) -> Markup:
    """Return the metric that chooses the best model."""
    primary, metrics = str(found.facts["primary"]), found.facts.get("metrics", {})
    if primary not in metrics:
        return Markup("")
    return join([f"{primary} ", element("b", number(metrics[primary]))])


def _ranked_lists(run: Path, found: Evaluation, catalog: Catalog) -> Markup:
    """Return the best and the worst queries, with pictures if there are any."""
    check_rankings(found)
    best, worst = best_and_worst(found)
    if not best:
        raise LeftOut("no query has a match")
    try:
        pictures: Pictures = open_album(run, found, catalog).picture
        lists = [strips(found, rows, pictures) for rows in (best, worst)]
        note = Markup("")
    except (LeftOut, ReidError) as reason:
        lists = [strips(found, rows, None) for rows in (best, worst)]
        note = element("p", f"There are no pictures: {reason}.", class_="remark")
    titles = [f"The {len(best)} best queries", f"The {len(worst)} worst queries"]
    return join(
        [
            element("p", without_match(found)),
            note,
            legend(),
            *(
                join([element("h4", title), strip])
                for title, strip, rows in zip(titles, lists, (best, worst), strict=True)
                if rows
            ),
        ]
    )
