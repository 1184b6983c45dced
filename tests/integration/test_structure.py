"""The house rules: what is on disk is declared, and imports follow the order of the rooms."""

import ast
import configparser
import functools
import importlib
import re
from fnmatch import fnmatchcase
from importlib.metadata import distribution
from pathlib import Path

import pytest

from import_graph import (
    ABOVE_ROOMS,
    PACKAGES,
    all_imports,
    attributes_of,
    circles,
    graph_of,
    module_files,
    read_sources,
    room_of,
    strings_of,
)
from listing import listed
from reid_core.discovery import isolated_catalog
from reid_core.hookspecs import KINDS

ROOT = Path(__file__).parents[2]
REINSTALL = "run again: pip install -e ."

SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


tree_of = functools.cache(ast.parse)


def lines_of(section, key):
    return SETUP[section][key].split("\n")[1:]


FILES = module_files()
SOURCES = read_sources()
DECLARED = dict(line.split(" = ") for line in lines_of("options.entry_points", "reid_core"))

LAYERS = (
    ("params",),
    ("compute",),
    ("storage",),
    ("data",),
    ("network", "features"),
    ("training",),
    ("evaluation",),
    ("runs",),
    ABOVE_ROOMS,
)
"""The rooms of reid_core from the ground up; those of one layer stand side by side."""

TOOLKIT = "reid_plugins.toolkit"
COMPARING = "evaluation"
"""The room whose work the numbers of reid_evaluate are: it tries distances and steps."""

UNBOUND = "command"
"""The kind whose plugins may use all of reid_core."""

FOREIGN = {
    "nn.modules.batchnorm._BatchNorm": "torch has no public name for what its batch norms share",
    "tensor._version": "torch has no public name for how often a tensor was written into",
}
"""Private names of other people's libraries that we read, and why."""


# ---- files, setup.cfg and the installation agree ----------------------------------------


def test_every_plugin_file_is_declared_and_every_declaration_has_its_file():
    plugins = {
        f"{path.parent.name}.{path.stem}": f"reid_plugins.{path.parent.name}.{path.stem}"
        for path in PACKAGES["reid_plugins"].glob("*/*.py")
        if not path.stem.startswith("_") and path.parent.name != "toolkit"
    }
    assert plugins == DECLARED, "make [options.entry_points] of setup.cfg agree"


def test_the_installation_declares_what_setup_cfg_declares():
    installed = distribution("reid-core").entry_points.select(group="reid_core")
    assert {entry.name: entry.value for entry in installed} == DECLARED, REINSTALL


def test_the_installation_has_the_version_and_the_program_of_setup_cfg():
    installed = distribution("reid-core")
    assert installed.version == SETUP["metadata"]["version"], REINSTALL
    scripts = installed.entry_points.select(group="console_scripts")
    declared = lines_of("options.entry_points", "console_scripts")
    assert [f"{entry.name} = {entry.value}" for entry in scripts] == declared, REINSTALL


def test_every_package_folder_is_listed_and_every_listed_package_has_its_folder():
    folders = {path.parent for path in FILES.values()}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
    names = {name for name, path in FILES.items() if path.name == "__init__.py"}
    assert names == set(lines_of("options", "packages")), "make 'packages' of setup.cfg agree"


def test_package_dir_names_the_three_source_roots():
    declared = dict(line.split(" = ") for line in lines_of("options", "package_dir"))
    assert {name: ROOT / folder for name, folder in declared.items()} == PACKAGES


@pytest.mark.parametrize("folder", ["plugins", "evaluate", "tools", "tests", "params"])
def test_top_level_folders_hide_nobodys_package(folder):
    assert not (ROOT / folder / "__init__.py").exists()


def test_built_in_plugins_offer_components_of_their_own_kind():
    wrong = []
    for name, module in DECLARED.items():
        catalog = isolated_catalog(importlib.import_module(module))
        kind = name.partition(".")[0]
        offered = {offer.kind for offer in catalog.offers}
        wrong += [f"{module}: {fault}" for fault in catalog.faults]
        if kind not in KINDS or offered != {kind}:
            wrong.append(f"{module} offers {sorted(offered)}; it stands among '{kind}'")
    assert not wrong, listed(wrong)


# ---- the rooms and who may import whom --------------------------------------------------


def may_import(room):
    """Return the patterns of rooms and modules that a room's files may import."""
    root, _, part = room.partition(".")
    if room in ("reid_evaluate", "reid_core"):
        return (room,)
    if root == "reid_core":
        below = []
        for layer in LAYERS:
            if part in layer:
                break
            below += [f"reid_core.{name}" for name in layer]
        numbers = ("reid_evaluate",) if part in (*ABOVE_ROOMS, COMPARING) else ()
        return ("reid_core", *below, room, *numbers)
    own = room if room == TOOLKIT else f"{room}._*"
    all_of_core = ("reid_core.*",) if part == UNBOUND else ()
    return ("reid_core", *all_of_core, "reid_evaluate", *dict.fromkeys((TOOLKIT, own)))


def wrong_imports(sources):
    """Return the imports that the order of the rooms does not allow, in words."""
    wrong = []
    for line in all_imports(sources):
        room, target = room_of(line.importer, sources), room_of(line.imported, sources)
        if room == "reid_core" and target == "reid_evaluate" and line.for_types:
            continue
        # The front door is the package's own: type checkers see it there, and it is loaded late.
        if line.importer == "reid_core" and target == "reid_core.api" and line.for_types:
            continue
        allowed = may_import(room)
        if not any(fnmatchcase(x, a) for x in (target, line.imported) for a in allowed):
            wrong.append(f"{line}; {room} may import {', '.join(allowed)}")
    return wrong


def strange_rooms(sources):
    """Return the folders that are neither a room of reid_core, a kind nor the toolkit."""
    known = {
        "reid_core": {name for layer in LAYERS for name in layer},
        "reid_plugins": {*KINDS, "toolkit"},
    }
    rooms = {room_of(name, sources).partition(".")[::2] for name in sources}
    return sorted(f"{root}.{part}" for root, part in rooms if part and part not in known[root])


def private_imports(sources):
    """Return what files take of each other although its name, or a folder's, starts with _."""
    wrong = []
    for line in all_imports(sources):
        folder, _, private = line.imported.partition("._")
        if private and not f"{line.importer}.".startswith(f"{folder}."):
            wrong.append(f"{line}; it is a private piece of {folder}")
        taken = [name for name in line.names if is_private(name)]
        wrong += [f"{line.importer} takes {name} out of {line.imported}" for name in taken]
    for importer in sources:
        reads = private_reads(importer, sources)
        wrong += [f"{importer} takes {n} out of {o}" for o, n in reads if f"{o}.{n}" not in FOREIGN]
    return list(dict.fromkeys(wrong))


def is_private(name):
    return name.startswith("_") and not name.endswith("__")


def private_reads(importer, sources):
    """Return (owner, name) of every private attribute in a file that is not its own classes'."""
    tree = tree_of(sources[importer])
    spelled = attributes_of(tree, sources)
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    # Private modules are imports: whether they are right is told by their folder.
    modules = [n for n in attributes if id(n) in spelled and spelled[id(n)][0] in sources]
    in_modules = {id(below) for node in modules for below in ast.walk(node)}
    own = {"self", "cls"} | {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}
    reads = [
        (spelled[id(node)][0] if id(node) in spelled else ast.unparse(node)).rpartition(".")[::2]
        for node in attributes
        if is_private(node.attr) and id(node) not in in_modules
    ]
    return [(owner, name) for owner, name in reads if owner not in own]


def test_imports_follow_the_order_of_the_rooms():
    wrong = wrong_imports(SOURCES)
    assert not wrong, listed(wrong)


def test_no_files_import_each_other_not_even_for_types():
    found = circles(graph_of(SOURCES))
    assert not found, listed(" and ".join(group) for group in found)


def test_the_kernel_is_the_files_directly_in_reid_core_and_every_folder_is_a_room():
    kernel = {name for name in SOURCES if room_of(name, SOURCES) == "reid_core"}
    directly = {p.stem for p in PACKAGES["reid_core"].glob("*.py")} - {"__init__", *ABOVE_ROOMS}
    assert kernel == {"reid_core", *(f"reid_core.{name}" for name in directly)}
    assert not strange_rooms(SOURCES), "no rooms: " + ", ".join(strange_rooms(SOURCES))


def test_files_take_only_public_names_of_each_other():
    wrong = private_imports(SOURCES)
    assert not wrong, listed(wrong)
    reads = {".".join(read) for name in SOURCES for read in private_reads(name, SOURCES)}
    assert reads == FOREIGN.keys(), "take exceptions away that nobody needs"


def test_nothing_packaged_imports_what_is_not():
    outside = {"tools", "tests", "examples", "plugins", "evaluate", "train", "evaluator"}
    outside |= {path.stem for path in (ROOT / "tools").glob("*.py")}
    wrong = []
    for name, text in SOURCES.items():
        for node in ast.walk(tree_of(text)):
            if isinstance(node, ast.Import):
                modules = {alias.name for alias in node.names}
            else:
                modules = {node.module} if isinstance(node, ast.ImportFrom) else set()
            wrong += [f"{name} imports {m}" for m in modules if m.partition(".")[0] in outside]
    assert not wrong, listed(wrong)


HOUSE = {
    f"{folder}.{name}".removesuffix("."): ""
    for folder, names in {
        "reid_evaluate": ["", "ranking", "ranking.keys"],
        "reid_core": ["", "files", "contracts", "api", "testing"],
        "reid_core.params": ["", "schema"],
        "reid_core.data": ["", "store"],
        "reid_core.network": ["", "model"],
        "reid_core.features": ["", "formats"],
        "reid_core.runs": ["", "run", "_lock"],
        "reid_plugins": ["", "toolkit", "toolkit.pooling", "toolkit._sums"],
        "reid_plugins.loss": ["", "center", "triplet", "_center"],
        "reid_plugins.head": ["", "pcb", "_pcb"],
        "reid_plugins.command": ["", "train", "_report", "_report.page"],
    }.items()
    for name in names
}
"""A small house of empty files; a test puts imports into some of them."""

FOR_TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("reid_evaluate.ranking.keys", "from reid_core.files import write"),
        ("reid_core.files", "from reid_evaluate.ranking.keys import Keys"),
        ("reid_core.files", "from reid_core.params import schema"),
        ("reid_core.files", "def f():\n    import reid_core.params.schema"),
        ("reid_core.files", FOR_TYPES + "from reid_core.params.schema import Entry"),
        ("reid_core", "from reid_core.api import load_run"),
        ("reid_core", FOR_TYPES + "from reid_core.testing import check"),
        ("reid_core.files", FOR_TYPES + "from reid_core.api import load_run"),
        ("reid_core.testing", "from reid_core.api import load_run"),
        ("reid_core.files", "from reid_plugins.toolkit.pooling import pool"),
        ("reid_core.data.store", "from reid_core.network.model import Model"),
        ("reid_core.network.model", "from reid_core.features.formats import FORMATS"),
        ("reid_core.features.formats", "from reid_core.network.model import Model"),
        ("reid_core.data.store", FOR_TYPES + "from reid_evaluate.ranking.keys import Keys"),
        ("reid_core.runs.run", "from reid_core.testing import check"),
        ("reid_core.api", "from reid_core.testing import check"),
        ("reid_core.runs.run", "from reid_plugins.loss.triplet import build"),
        ("reid_plugins.toolkit.pooling", "from reid_core.data.store import Store"),
        ("reid_plugins.toolkit.pooling", "from reid_plugins.loss.triplet import build"),
        ("reid_plugins.loss.triplet", "from reid_core.data.store import Store"),
        ("reid_plugins.loss.triplet", "from reid_core.api import load_run"),
        ("reid_plugins.loss.triplet", FOR_TYPES + "from reid_core.data.store import Store"),
        ("reid_plugins.loss.triplet", "from reid_plugins.loss.center import CenterParams"),
        ("reid_plugins.loss._center", "from reid_plugins.loss.center import CenterParams"),
        ("reid_plugins.loss.triplet", "from reid_plugins.head._pcb import PCB"),
        ("reid_plugins.loss.triplet", "from reid_plugins.loss import something"),
        ("reid_plugins.command.train", "from reid_plugins.loss.triplet import build"),
        ("reid_plugins.loss.triplet", "import reid_core\nreid_core.data.store.Store"),
        ("reid_plugins.loss.triplet", "import reid_core as r\ndef f(x: r.data.store.Store): ..."),
        ("reid_plugins.loss.triplet", "import reid_core.files\nreid_core.data.store.Store().x()"),
        ("reid_plugins.loss.center", "import reid_plugins.toolkit\n[reid_plugins.head.pcb.PCB]"),
        ("reid_core.data.store", "import reid_core as r\nx = r.network.model"),
        ("reid_core.files", "import reid_core\nprint(f'{reid_core.params.schema.Entry}')"),
        ("reid_plugins.loss.triplet", "import_module('reid_core.data.store')"),
        (
            "reid_plugins.loss.triplet",
            "from importlib import import_module as i\ni('reid_core.api')",
        ),
        ("reid_plugins.loss.triplet", "__import__('reid_core.data.store').data.store.Store"),
        ("reid_plugins.loss.triplet", "WHERE = 'reid_core.data.store'"),
        ("reid_core.files", "import importlib\nimportlib.import_module(name='reid_plugins')"),
        ("reid_core.files", "__import__('reid_evaluate', fromlist=['ranking'])"),
    ],
)
def test_an_import_against_the_order_of_the_rooms_is_found(name, line):
    (found,) = wrong_imports({**HOUSE, name: line})
    assert found.startswith(f"{name} imports ")
    assert f"; {room_of(name, HOUSE)} may import reid_" in found


def test_the_message_tells_the_edge_and_what_is_allowed():
    source = "from reid_core.network.model import Model\nfrom reid_core.params import schema"
    assert wrong_imports({**HOUSE, "reid_core.data.store": source}) == [
        "reid_core.data.store imports reid_core.network.model; reid_core.data may import "
        "reid_core, reid_core.params, reid_core.compute, reid_core.storage, reid_core.data"
    ]
    source = FOR_TYPES + "from reid_plugins.loss.triplet import TripletParams"
    assert wrong_imports({**HOUSE, "reid_plugins.loss.center": source}) == [
        "reid_plugins.loss.center imports reid_plugins.loss.triplet for types; reid_plugins.loss "
        "may import reid_core, reid_evaluate, reid_plugins.toolkit, reid_plugins.loss._*"
    ]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("reid_core.contracts", FOR_TYPES + "from reid_evaluate.ranking.keys import Keys"),
        ("reid_core.contracts", "from reid_core import files"),
        ("reid_core.data.store", "from reid_core import files\nimport reid_core.params.schema"),
        ("reid_core.runs.run", "from reid_core.features import formats"),
        ("reid_core.api", "from reid_core.runs.run import Run"),
        ("reid_core.api", "from reid_evaluate.ranking import keys"),
        ("reid_core", FOR_TYPES + "from reid_core.api import load_run"),
        ("reid_core.testing", "from reid_core.runs.run import Run"),
        ("reid_plugins.toolkit.pooling", "from reid_plugins.toolkit import _sums"),
        ("reid_plugins.loss.center", "from reid_plugins.loss._center import Center"),
        ("reid_plugins.loss.center", "from reid_core import Component\nimport torch.nn._x"),
        ("reid_plugins.loss.center", "from reid_evaluate.ranking import keys"),
        ("reid_plugins.command.train", "from reid_core.runs.run import Run"),
        ("reid_plugins.command.train", "from reid_core.api import load_run"),
        ("reid_plugins.command.train", "from reid_plugins.command._report import page"),
        ("reid_plugins.command._report", "from reid_plugins.command._report import page"),
        ("reid_core.contracts", FOR_TYPES + "import reid_evaluate as e\nx: e.ranking.keys.Keys"),
        ("reid_core.runs.run", "import reid_core\nreid_core.data.store.Store"),
        ("reid_core.files", "'reid_core.data.store'\ndef f():\n    'reid_core.data.store'"),
        ("reid_core.files", "GROUP = 'reid_core'\nTEXT = 'reid_core.data.store has it'"),
        ("reid_plugins.loss.center", "HOST = 'reid_plugins'\nreid_core.data.store.Store"),
        ("reid_plugins.command._report.page", "files('reid_plugins.command._report')"),
        ("reid_core.data.store", "import reid_core as r\nr.data.store.x"),
        ("reid_plugins.command.train", "import reid_plugins.command._report as r\nr.page.write()"),
        (
            "reid_plugins.command.train",
            "import reid_plugins.command._report\nreid_plugins.command._report.page.write()",
        ),
        ("reid_plugins.loss.center", "class A:\n    def f(self):\n        self._a = A._b"),
        ("reid_plugins.loss.center", "@classmethod\ndef f(cls, x):\n    cls._a = x.__name__"),
        ("reid_plugins.loss.center", "isinstance(x, nn.modules.batchnorm._BatchNorm)"),
    ],
)
def test_an_import_in_the_order_of_the_rooms_is_right(name, line):
    sources = {**HOUSE, name: line}
    assert wrong_imports(sources) == []
    assert private_imports(sources) == []


def test_circles_are_found_whatever_their_imports_are_for():
    sources = {
        **HOUSE,
        "reid_core.files": "from reid_core.contracts import Batch",
        "reid_core.contracts": FOR_TYPES + "from reid_core import ReidError",
        "reid_core": "def f():\n    from reid_core import files",
        "reid_core.runs.run": "from reid_core import files",
    }
    assert circles(graph_of(sources)) == [["reid_core", "reid_core.contracts", "reid_core.files"]]
    assert circles({"a": {"a"}, "b": {"a"}}) == [["a"]]


def test_a_folder_that_is_no_room_is_found():
    legacy = {"reid_core.legacy": "", "reid_core.legacy.keys": ""}
    other = {"reid_plugins.losses": "", "reid_plugins.losses.x": ""}
    assert strange_rooms(HOUSE) == []
    assert strange_rooms({**HOUSE, **legacy, **other}) == [
        "reid_core.legacy",
        "reid_plugins.losses",
    ]
    importing = {**legacy, "reid_core.params.schema": "import reid_core.legacy.keys"}
    assert len(wrong_imports({**HOUSE, **importing})) == 1


@pytest.mark.parametrize(
    ("name", "line", "taken"),
    [
        ("reid_plugins.loss.center", "from reid_core.files import _write", "_write"),
        ("reid_plugins.loss.center", "from reid_plugins.loss._center import _step", "_step"),
        ("reid_plugins.loss.center", "from reid_core import files\nfiles._write()", "_write"),
        ("reid_plugins.loss.center", "import reid_core.files as f\nf._write()", "_write"),
        ("reid_core.data.store", "import reid_core.files\nreid_core.files._x()", "_x"),
        ("reid_plugins.command.train", "from reid_core.runs import _lock", "reid_core.runs._lock"),
        ("reid_plugins.command.train", "import reid_plugins.head._pcb", "reid_plugins.head._pcb"),
        ("reid_plugins.loss.center", "import reid_core\nreid_core.files._write()", "_write"),
        ("reid_plugins.loss.center", "import reid_core as r\nr.files._x()", "reid_core.files"),
        (
            "reid_plugins.command.train",
            "import reid_core as r\nr.runs._lock",
            "reid_core.runs._lock",
        ),
        ("reid_plugins.command.train", "x = 'reid_plugins.head._pcb'", "reid_plugins.head._pcb"),
        ("reid_plugins.loss.center", "def build(model):\n    model._layers[0].x", "_layers"),
        ("reid_core.data.store", "def f(run):\n    run.store._env = 1", "run.store"),
        ("reid_core.data.store", "class A:\n    def f(self):\n        self.x._step()", "self.x"),
        ("reid_core.data.store", "from reid_core.params.schema import A\nA()._x", "A()"),
        ("reid_core.files", "from torch import nn\nnn.modules.batchnorm._NormBase", "_NormBase"),
    ],
)
def test_a_private_name_of_another_file_is_found(name, line, taken):
    (found,) = private_imports({**HOUSE, name: line})
    assert found.startswith(f"{name} ")
    assert taken in found.replace(";", "").split()


def test_relative_imports_and_imports_of_no_file_are_refused():
    with pytest.raises(ValueError, match="relative import in line 1"):
        wrong_imports({**HOUSE, "reid_core.files": "from . import contracts"})
    with pytest.raises(ValueError, match=r"reid_core\.files imports reid_core\.gone, which is no"):
        wrong_imports({**HOUSE, "reid_core.files": "import reid_core.gone"})


# ---- the core knows no plugin by name ---------------------------------------------------

VOCABULARY = {
    "evaluate": "a function of the front door",
    "flip": "the switch of the extraction params, noted in a feature file",
    "multi_query": "a split of the contracts",
    "normalize": "a key of the entries of losses",
    "plugins": "the section of the params that the program writes",
    "train": "a split, and a section of the params",
}
"""Component names that are words of the params or contracts as well, and which."""

DEFAULTS = {
    ("reid_core.api.comparing", "cosine"): "the documented default of distance_matrix",
    ("reid_core.api.comparing", "market_evaluate"): "the documented default of evaluate",
    ("reid_core.api.ranking", "cosine"): "the documented default of rank",
    ("reid_core.params.schema", "constant"): "the documented default of 'schedule'",
    ("reid_core.params.schema", "supervised"): "the documented default of 'objective'",
    ("reid_core.params.schema", "tensorboard"): "the documented default of 'logger'",
}
"""(module, name) where the core names a component because it is a documented default."""

ADVICE = {
    ("reid_core.data.transforms", "resize"): "advice in a message",
    ("reid_core.evaluation.rehearsal", "softmax"): "advice in a message",
    ("reid_core.features.extraction", "softmax"): "advice in a message",
    ("reid_core.params.cross_checks", "supervised"): "advice in a message",
    ("reid_core.params.schema", "supervised"): "advice in a description",
    ("reid_core.training.steps", "class_balanced"): "advice in a message",
    ("reid_core.training.parameter_groups", "center"): "advice in a message",
}
"""(module, name) where the core quotes a component within a longer string, and why."""


def named_in_core(sources, names):
    """Return (module, line, name) of every string in reid_core that is a component's name."""
    return [
        (module, node.lineno, name)
        for module, text in sources.items()
        if module.partition(".")[0] == "reid_core"
        for node in strings_of(tree_of(text))
        if (name := node.value.removeprefix("reid-core:")) in names
    ]


def quoted_in_core(sources, names):
    """Return (module, line, name) of every component's name in quotes within a string."""
    return [
        (module, node.lineno, word)
        for module, text in sources.items()
        if module.partition(".")[0] == "reid_core"
        for node in strings_of(tree_of(text))
        for word in re.findall(r"""(?<=['"`])(?:[\w.-]+:)?([\w.-]+)(?=['"`])""", node.value)
        if word in names
    ]


def test_the_core_knows_no_plugin_by_name(catalog):
    kinds = {}
    for offer in catalog.offers:
        kinds.setdefault(offer.component.name, []).append(offer.kind)
    found = named_in_core(SOURCES, kinds)
    wrong = [
        f"{module}:{line} names the {' or '.join(kinds[word])} '{word}'"
        for module, line, word in found
        if word not in VOCABULARY and (module, word) not in DEFAULTS
    ]
    assert not wrong, listed(wrong)
    unused = VOCABULARY.keys() - {word for _, _, word in found}
    unused |= DEFAULTS.keys() - {(module, word) for module, _, word in found}
    assert unused == set(), "take these exceptions away"


def test_the_core_quotes_plugins_only_in_advice(catalog):
    found = quoted_in_core(SOURCES, {offer.component.name for offer in catalog.offers})
    wrong = [
        f"{module}:{line} quotes '{word}'"
        for module, line, word in found
        if word not in VOCABULARY and (module, word) not in ADVICE
    ]
    assert not wrong, listed(wrong)
    unused = ADVICE.keys() - {(module, word) for module, _, word in found}
    assert unused == set(), "take this advice away"


def test_the_search_for_quoted_names_finds_them_within_strings_and_leaves_prose_alone():
    lines = ["\"'triplet'\"", "x = [f\"{y}: use 'triplet'\"]", "y = '\"a:triplet\" `pcb` softmax'"]
    sources = {"reid_core.runs.run": "\n".join(lines), "reid_plugins.loss.center": f"x={lines[0]}"}
    assert quoted_in_core(sources, {"triplet", "pcb", "softmax"}) == [
        ("reid_core.runs.run", 3, "triplet"),
        ("reid_core.runs.run", 3, "pcb"),
        ("reid_core.runs.run", 2, "triplet"),
    ]
    assert quoted_in_core({"reid_core": "x = ['triplet', 'a triplet']"}, {"triplet"}) == []


def test_the_search_for_names_finds_strings_and_leaves_prose_alone():
    source = '"""triplet"""\nx = 1\n"triplet"\n{"name": "triplet", "params": {}}\n"a triplet"\n'
    sources = {"reid_core.runs.run": source, "reid_plugins.loss.center": '["triplet"]'}
    assert named_in_core(sources, {"triplet"}) == [("reid_core.runs.run", 4, "triplet")]
