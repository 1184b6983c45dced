"""Every piece of params.json that the guides show is right, alone and with a model."""

import json
import re
from pathlib import Path

import pytest

from reid_core import ObjectiveComponent, hookimpl
from reid_core.params.validation import check_run_params
from reid_core.training.assembly import check_on_meta

CLONE = Path(__file__).resolve().parents[2]
GUIDES = ("losses.md", "training.md")


def pieces():
    """Yield the sections of every JSON block of the guides."""
    for guide in GUIDES:
        text = (CLONE / "docs" / guide).read_text(encoding="utf-8")
        blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
        assert blocks, guide
        for number, block in enumerate(blocks):
            yield pytest.param(json.loads(block), id=f"{guide}-{number}")


class Agree:
    """The objective that the plugin guide shows, without its code."""

    @hookimpl
    def reid_objective(self):
        return [
            ObjectiveComponent(
                name="agree",
                build=lambda params: lambda step: {},
                summary="-",
                streams=("frames",),
            )
        ]


@pytest.mark.parametrize("sections", list(pieces()))
def test_the_piece_fits_into_the_quick_start(sections, catalog_with):
    catalog = catalog_with(Agree())
    quickstart = json.loads((CLONE / "params" / "quickstart.json").read_text(encoding="utf-8"))
    assert sections.keys() <= quickstart.keys() | {"objective", "callback", "logger", "compute"}
    check_on_meta(check_run_params({**quickstart, **sections}, catalog, "guide"), catalog)


def test_the_guide_says_which_vector_each_loss_sees(catalog):
    text = (CLONE / "docs" / "losses.md").read_text(encoding="utf-8")
    losses = [catalog.component("loss", name) for name in catalog.names("loss")]
    seen = {loss.name: (loss.on, loss.normalize) for loss in losses}
    for words, vector in (
        ("the feature", ("feature", False)),
        ("the normalised embedding", ("embedding", True)),
    ):
        (listed,) = re.findall(rf"^- {words}: (.*?);$", text, re.MULTILINE | re.DOTALL)
        assert set(re.findall("`(.*?)`", listed)) == {n for n in seen if seen[n] == vector}
        seen = {name: found for name, found in seen.items() if found != vector}
    assert "- the embedding as it is: all others.\n" in text
    assert set(seen.values()) == {("embedding", False)}


@pytest.mark.parametrize("kind", ["loss", "sampler", "schedule"])
def test_the_guides_name_every_component_of_the_kind(kind, catalog):
    text = "".join((CLONE / "docs" / guide).read_text(encoding="utf-8") for guide in GUIDES)
    names = catalog.names(kind)
    assert names
    assert [name for name in names if f"`{name}`" not in text] == []
