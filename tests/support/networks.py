"""Networks of modules that a test has made itself, each with an entry as a params file has it."""

from reid_core import BackboneComponent, Component, hookimpl
from reid_core.discovery import isolated_catalog
from reid_core.network.model import ReIDModel
from reid_core.params.entries import BackboneEntry
from reid_core.params.messages import read_params
from reid_core.params.schema import HeadEntry


class PartsPlugin:
    """Offers a backbone and a head that the tests build themselves, both named ``test``."""

    def __init__(self, side=(), build=print):
        self.side, self.build = side, build

    @hookimpl
    def reid_backbone(self):
        return [BackboneComponent(name="test", build=self.build, summary="-", side=self.side)]

    @hookimpl
    def reid_head(self):
        return [Component(name="test", build=print, summary="-")]


def network_of(backbone, *heads, num_pids=5, side_values=None):
    """Return a model of a backbone and heads; a head may come as (fields of its entry, head)."""
    values = side_values or {}
    catalog = isolated_catalog(PartsPlugin(tuple(values)))
    pairs = [head if isinstance(head, tuple) else ({}, head) for head in heads]
    entries = [
        (read_params(HeadEntry, {"name": "test", **fields}, catalog), head)
        for fields, head in pairs
    ]
    entry = read_params(BackboneEntry, {"name": "test"}, catalog)
    return ReIDModel((entry, backbone), entries, num_pids, values)
