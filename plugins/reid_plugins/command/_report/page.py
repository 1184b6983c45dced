"""The page: what every report has around its sections."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from reid_core.catalog import Catalog
from reid_core.files import write_text
from reid_core.run_directory import RunDirectory
from reid_plugins.command._report.collect import Evaluation, collect
from reid_plugins.command._report.distances import most_rates, switching_rules
from reid_plugins.command._report.foot import foot
from reid_plugins.command._report.markup import Markup, element
from reid_plugins.command._report.ranked_strips import signs
from reid_plugins.command._report.sections import Part, evaluation_part, training_part

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""Nothing is loaded and no script runs, whatever a name in the data tries."""


def write_report(
    run: Path,
    catalog: Catalog,
    output: Path | None = None,
    *,
    kind: str | None = None,
    evaluation: str | None = None,
) -> Path:
    """Write the report of a run as one HTML file; equal runs give equal bytes.

    Args:
        run: A run's directory, or a folder of scores that ``reid evaluate`` wrote.
        catalog: Has the components that the run's params name.
        output: The file to write; default: ``report.html`` in the run.
        kind: Which scores of a run, ``"best"`` or ``"last"``; default: the best if there are any.
        evaluation: Only the evaluation of this name.

    Returns:
        The file.

    Raises:
        ReidError: Scores are missing or damaged, or the file cannot be written.
    """
    found = collect(run, kind, evaluation)
    path = output or run / "report.html"
    write_text(path, page(run, found, catalog))
    return path


def page(run: Path, found: list[Evaluation], catalog: Catalog) -> str:
    """Return the report of some evaluations of a run as HTML."""
    name = run.resolve().name
    parts = [evaluation_part(run, e, catalog, f"e{i}") for i, e in enumerate(found, start=1)]
    training = training_part(RunDirectory(run).metrics)
    parts += [training] if training.sections else []
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{name}: evaluation report"),
        element("style", _style_sheet(found)),
    )
    main = element("main", *(part.html() for part in parts), id="main", tabindex=-1)
    body = element(
        "body",
        element("a", "Skip to the scores", href="#main", class_="skip"),
        signs(),
        element("header", *_title(name, found), _contents(parts)),
        main,
        foot(run),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _style_sheet(found: list[Evaluation]) -> Markup:
    text = (files("reid_plugins.command._report") / "style.css").read_text(encoding="utf-8")
    return Markup(text + switching_rules(most_rates(found)))


def _title(name: str, found: list[Evaluation]) -> list[Markup]:
    models = dict.fromkeys(str(e.facts["model"]) for e in found)
    return [
        element("p", "Evaluation report", class_="kicker"),
        element("h1", name),
        element("p", ", ".join(models), class_="model"),
    ]


def _contents(parts: list[Part]) -> Markup:
    items = [
        element(
            "li",
            element("a", part.heading, href=f"#{part.name}"),
            element("span", part.headline, class_="headline"),
            part.links(),
        )
        for part in parts
    ]
    return element("nav", element("ol", *items), aria_label="Contents", class_="contents")
