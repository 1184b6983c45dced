"""The words of params files are public: one that goes or changes breaks somebody's file.

``public_names.json`` has every section and key, and every kind, component and param that reid-core
offers. After a change that
is meant, renew it with ``python tests/contract/test_public_names.py`` and say so in CHANGELOG.md.
"""

import json
from pathlib import Path

from reid_core.component import is_params
from reid_core.discovery import load_catalog
from reid_core.params import schema

RECORD = Path(__file__).with_name("public_names.json")


def public_names():
    """Return the keys of every section, and the params of our components by kind and name."""
    sections = {n: m for n, m in vars(schema).items() if n.isidentifier() and is_params(m)}
    names = {"sections": {n: sorted(model.model_fields) for n, model in sections.items()}}
    for offer in load_catalog().offers:
        if offer.distribution == "reid-core":
            params = sorted(offer.component.params.model_fields)
            names.setdefault(offer.kind, {})[offer.component.name] = params
    return names


def test_no_name_that_params_files_use_has_changed_unnoticed():
    recorded, now = json.loads(RECORD.read_text(encoding="utf-8")), public_names()
    assert recorded.keys() == now.keys()
    for kind, components in recorded.items():
        assert components == now[kind], kind


if __name__ == "__main__":
    RECORD.write_text(json.dumps(public_names(), indent=1) + "\n", encoding="utf-8")
