"""What a backbone or a head must not be or return, each with its message; both modes on shapes."""

import re

import pytest
import torch
from torch import nn

from networks import network_of
from reid_core import BackboneComponent, Component, ReidError, hookimpl
from reid_core.boundary import Origin
from reid_core.contracts import Branch, BranchSpec, FeatureMap, HeadOutput
from reid_core.network.first_results import check_backbone, check_head
from reid_core.network.trial_runs import not_finite
from reid_core.params.validation import check_run_params
from reid_core.training.assembly import check_on_meta
from reid_core.training.build_module import ModuleBuilder

ORIGIN = Origin("head", "mine", "reid-mine", "0.3")
BOTH = frozenset({"id", "metric"})
LETTERS = "must consist of letters (A-Z, a-z), digits and '_'"
SPEC = BranchSpec("global", 3, "global", BOTH)
IMAGES = torch.zeros(2, 3, 32, 16)


class Backbone(nn.Module):
    """Gives what ``make`` makes of the map ``(B, 4, H / 8, W / 8)``."""

    out_channels, stride = 4, 8

    def __init__(self, make=FeatureMap):
        super().__init__()
        self.conv, self.make = nn.Conv2d(3, 4, 8, stride=8), make

    def forward(self, images, side):
        return self.make(self.conv(images))


class Head(nn.Module):
    """Gives what ``make`` makes of a vector ``(B, 3)``."""

    branches = (SPEC,)

    def __init__(self, make=lambda v: HeadOutput({"global": Branch(v, v)})):
        super().__init__()
        self.linear, self.make = nn.Linear(4, 3), make

    def forward(self, features):
        return self.make(self.linear(features.map.mean((2, 3))))


def with_attributes(module, **attributes):
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def message_of(call):
    with pytest.raises(ReidError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---- what is built ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("built", "fault"),
    [
        (7, "was built as a int; expected a torch.nn.Module"),
        (None, "was built as None; expected a torch.nn.Module"),
        (Backbone, "was built as a type; expected a torch.nn.Module"),
        (nn.Identity(), "when it was asked for 'out_channels': AttributeError: "),
        (
            with_attributes(Backbone(), out_channels=0),
            "has out_channels = 0; expected a whole number of 1 or more",
        ),
        (
            with_attributes(Backbone(), out_channels=True),
            "has out_channels = True; expected a whole number of 1 or more",
        ),
        (
            with_attributes(Backbone(), stride=16.0),
            "has stride = 16.0; expected a whole number of 1 or more",
        ),
    ],
)
def test_a_backbone_that_cannot_be_one_is_refused(built, fault):
    text = message_of(lambda: check_backbone(built, ORIGIN))
    assert text.startswith("head 'mine' of reid-mine 0.3 ")
    assert fault in text


@pytest.mark.parametrize(
    ("branches", "fault"),
    [
        ((), "has branches = (); expected a tuple of BranchSpec"),
        ([SPEC], "; expected a tuple of BranchSpec"),
        (("global",), "has the branch 'global'; expected a BranchSpec"),
        ((SPEC, SPEC), "has two branches named global; expected every name once"),
        ((BranchSpec("", 3, "a", BOTH),), f"has the branch '', whose name {LETTERS}, got ''"),
        ((BranchSpec("left-arm", 3, "a", BOTH),), f"whose name {LETTERS}, got 'left-arm'"),
        ((BranchSpec("a/b", 3, None, BOTH),), f"whose name {LETTERS}, got 'a/b'"),
        (
            (BranchSpec("a", 0, "a", BOTH),),
            "has the branch 'a', whose dim must be 1 or more, got 0",
        ),
        ((BranchSpec("a", 3.0, "a", BOTH),), "whose dim must be a whole number, got 3.0"),
        ((BranchSpec("a", 3, "", BOTH),), f"whose classifier {LETTERS}, got ''"),
        ((BranchSpec("a", 3, "b.c", BOTH),), f"whose classifier {LETTERS}, got 'b.c'"),
        ((BranchSpec("a", 3, "b\n", BOTH),), f"whose classifier {LETTERS}, got 'b\\n'"),
        ((BranchSpec("a", 3, "ﬁ", BOTH),), f"whose classifier {LETTERS}, got 'ﬁ'"),
        ((BranchSpec("a", 3, 5, BOTH),), "whose classifier must be a string or None, got 5"),
        (
            (BranchSpec("a", 3, "a", frozenset({"metrics"})),),
            "has the branch 'a', whose roles must be a set of 'id', 'metric', got "
            "frozenset({'metrics'}); did you mean 'metric'?",
        ),
        ((BranchSpec("a", 3, "a", "id"),), "whose roles must be a set of 'id', 'metric', got 'id'"),
        ((BranchSpec("a", 3, "a", BOTH, 1),), "whose in_test must be True or False, got 1"),
    ],
)
def test_a_head_whose_branches_cannot_be_used_is_refused(branches, fault):
    head = with_attributes(Head(), branches=branches)
    text = message_of(lambda: check_head(head, ORIGIN))
    assert text.startswith("head 'mine' of reid-mine 0.3 has ")
    assert fault in text
    assert text.endswith("; the plugin must be corrected")


def test_a_part_named_by_a_keyword_is_refused():
    """No graph that is exported could name it."""
    head = with_attributes(Head(), parts=nn.ModuleDict({"in": nn.Linear(2, 2), "match": nn.ReLU()}))
    assert (
        "has parts.in, parts.in.bias, parts.in.weight, named by a keyword of Python"
        in message_of(lambda: check_head(head, ORIGIN))
    )
    backbone = Backbone()
    backbone.register_buffer("None", torch.zeros(1))
    assert "has None, named by a keyword" in message_of(lambda: check_backbone(backbone, ORIGIN))


def test_a_head_without_branches_or_without_a_module_is_refused():
    assert "when it was asked for 'branches': AttributeError: " in message_of(
        lambda: check_head(nn.Identity(), ORIGIN)
    )
    assert "was built as a Component" in message_of(
        lambda: check_head(Component(name="x", build=print, summary=""), ORIGIN)
    )


# ---- what a backbone returns ------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (
            lambda x: x,
            "returned a tensor of torch.float32 and shape (2, 4, 4, 2); expected a FeatureMap",
        ),
        (
            lambda x: FeatureMap(x[:, :3]),
            "returned as map a tensor of torch.float32 and shape (2, 3, 4, 2); expected floats of "
            "at most 32 bits and of shape (2, 4, h, w): 2 images, and its out_channels is 4",
        ),
        (
            lambda x: FeatureMap(x[:1]),
            "returned as map a tensor of torch.float32 and shape (1, 4, ",
        ),
        (lambda x: FeatureMap(x.flatten(2)), "and shape (2, 4, 8); expected floats of at most 32"),
        (lambda x: FeatureMap(x.long()), "returned as map a tensor of torch.int64 and shape "),
        (lambda x: FeatureMap([x]), "returned as map a list; expected floats"),
        (
            lambda x: FeatureMap(x[:, :, ::2, ::2]),
            "announces a stride of 8 and has 16 x 16: images of 32 x 16 pixels became a map of "
            "2 x 1 cells",
        ),
        (lambda x: FeatureMap(x[:, :, :3]), "announces a stride of 8 and has 10.7 x 8: images of "),
        (lambda x: FeatureMap(x[:, :, :0]), "became a map of 0 x 2 cells"),
        (
            lambda x: FeatureMap(x, tokens=x.mean((2, 3))),
            "returned as tokens a tensor of torch.float32 and shape (2, 4); expected None or "
            "floats of shape (2, K, 4)",
        ),
        (lambda x: FeatureMap(x, tokens=torch.zeros(2, 1, 5)), "returned as tokens a tensor of "),
        (lambda x: FeatureMap(x, tokens=torch.zeros(2, 0, 4)), "returned as tokens a tensor of "),
        (lambda x: FeatureMap(x, tokens=torch.zeros(3, 1, 4)), "returned as tokens a tensor of "),
        (lambda x: FeatureMap(x, maps=[x]), "returned as maps a list; expected a dict by name"),
        (
            lambda x: FeatureMap(x, maps={"early": x[0]}),
            "returned as map 'early' a tensor of torch.float32 and shape (4, 4, 2); expected float",
        ),
        (lambda x: FeatureMap(x, maps={"early": None}), "returned as map 'early' None; expected "),
    ],
)
def test_what_a_backbone_must_not_return(make, fault):
    text = message_of(lambda: network_of(Backbone(make), Head())(IMAGES))
    assert text.startswith("backbone 'test' of local 0 ")
    assert fault in text
    assert text.endswith("; the plugin must be corrected")


@pytest.mark.parametrize("size", [(32, 16), (39, 23), (33, 9)])
def test_the_sides_of_a_map_may_be_rounded_either_way(size):
    down, up = Backbone(), Backbone()
    up.conv = nn.Conv2d(3, 4, 3, stride=8, padding=1)
    shapes = [network_of(b, Head())(torch.zeros(2, 3, *size)).embedding.shape for b in (down, up)]
    assert shapes == [(2, 3)] * 2


def test_tokens_and_maps_reach_the_heads():
    seen = []

    class Looks(Head):
        def forward(self, features):
            seen.append(features)
            return super().forward(features)

    def make(x):
        return FeatureMap(x, tokens=x.flatten(2).mT, maps={"early": x})

    network_of(Backbone(make), Looks())(IMAGES)
    assert seen[0].tokens.shape == (2, 8, 4)
    assert seen[0].maps["early"] is seen[0].map


# ---- what a head returns ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda v: v, "returned a tensor of torch.float32 and shape (2, 3); expected a HeadOutput"),
        (lambda v: None, "returned None; expected a HeadOutput"),
        (lambda v: HeadOutput({}), "returned the branches none; it has declared global"),
        (
            lambda v: HeadOutput({"global": Branch(v, v), "more": Branch(v, v)}),
            "returned the branches global, more; it has declared global",
        ),
        (lambda v: HeadOutput([v]), "returned the branches none; it has declared global"),
        (
            lambda v: HeadOutput({"global": v}),
            "returned as branch 'global' a tensor of torch.float32 and shape (2, 3); expected a Br",
        ),
        (
            lambda v: HeadOutput({"global": Branch(v, v[:, :2])}),
            "returned as embedding of branch 'global' a tensor of torch.float32 and shape (2, 2); "
            "it has declared 3 values: expected floats of at most 32 bits and of shape (2, 3)",
        ),
        (
            lambda v: HeadOutput({"global": Branch(v[:1], v)}),
            "returned as feature of branch 'global' a tensor of torch.float32 and shape (1, 3); ",
        ),
        (
            lambda v: HeadOutput({"global": Branch(v.long(), v)}),
            "returned as feature of branch 'global' a tensor of torch.int64 and shape (2, 3); ",
        ),
        (
            lambda v: HeadOutput({"global": Branch(v, v)}, {"uc": 5}),
            "returned as aux 'uc' a int; expected a tensor with 2 rows",
        ),
        (
            lambda v: HeadOutput({"global": Branch(v, v)}, {"uc": v[:1]}),
            "returned as aux 'uc' a tensor of torch.float32 and shape (1, 3); expected a tensor w",
        ),
        (
            lambda v: HeadOutput({"global": Branch(v, v)}, {"uc": v.sum()}),
            "returned as aux 'uc' a tensor of torch.float32 and shape (); expected a tensor with 2",
        ),
        (
            lambda v: HeadOutput({"global": Branch(v, v)}, [v]),
            "returned as aux a list; expected a dict by name",
        ),
    ],
)
def test_what_a_head_must_not_return(make, fault):
    text = message_of(lambda: network_of(Backbone(), Head(make))(IMAGES))
    assert text.startswith("head 'test' of local 0 ")
    assert fault in text
    assert text.endswith("; the plugin must be corrected")


def test_an_aux_may_hold_whole_numbers_of_any_shape():
    values = {"part": torch.zeros(2, 6, dtype=torch.int64), "seen": torch.ones(2, dtype=torch.bool)}
    head = Head(lambda v: HeadOutput({"global": Branch(v, v)}, values))
    assert network_of(Backbone(), head)(IMAGES).aux == values


# ---- what a plugin raises ---------------------------------------------------------------


def test_an_error_of_torch_in_a_forward_is_one_line_with_the_place_in_the_plugin(tmp_path):
    wrong = Backbone()
    wrong.conv = nn.Conv2d(5, 4, 8)
    text = message_of(lambda: network_of(wrong, Head())(IMAGES))
    assert text.startswith(
        "backbone 'test' of local 0 failed on images of shape (2, 3, 32, 16): RuntimeError: "
    )
    narrow = Head()
    narrow.linear = nn.Linear(7, 3)
    text = message_of(lambda: network_of(Backbone(), narrow)(IMAGES))
    assert text.startswith(
        "head 'test' of local 0 failed on a map of shape (2, 4, 4, 2): RuntimeError: "
    )


PLUGIN = """
from torch import nn
from reid_core import Component, hookimpl
from reid_core.contracts import BranchSpec

class Head(nn.Module):
    branches = (BranchSpec("global", 3, None, frozenset({"metric"})),)

    def forward(self, features):
        return features.map @ features.map

@hookimpl
def reid_head():
    return [Component(name="square", build=lambda params: Head(), summary="-")]
"""


def test_the_message_of_a_failed_forward_names_the_plugins_own_line(
    install_plugin, catalog_with, tiny_params
):
    install_plugin("reid-square", {"reid_square": PLUGIN}, version="1.2")
    catalog = catalog_with()
    raw = {**tiny_params, "backbone": {"name": "tiny"}, "head": [{"name": "square"}]}
    params = check_run_params({**raw, "loss": [{"name": "triplet"}]}, catalog, "test")
    text = message_of(lambda: check_on_meta(params, catalog))
    assert re.match(
        r"head 'square' of reid-square 1\.2 failed on a map of shape \(2, 8, 2, 1\): RuntimeError: "
        r".* \(reid_square\.py:10\); if your params and data are right, the plugin must be",
        text,
    )


# ---- on shapes alone --------------------------------------------------------------------


class PartsPlugin:
    """Offers the backbone and the head ``mine``, which ``build`` makes."""

    def __init__(self, head=Head, backbone=Backbone, side=()):
        self.head, self.backbone, self.side = head, backbone, side
        self.context = {}

    @hookimpl
    def reid_backbone(self):
        def build(params, **context):
            self.context = context
            return self.backbone()

        return [BackboneComponent(name="mine", build=build, summary="-", side=self.side)]

    @hookimpl
    def reid_head(self):
        return [Component(name="mine", build=lambda params: self.head(), summary="-")]


@pytest.fixture
def checked(catalog_with, tiny_params):
    """A function that runs the check on shapes with a plugin's backbone and head."""

    def check(plugin):
        catalog = catalog_with(plugin)
        parts = {"backbone": {"name": "mine"}, "head": [{"name": "mine"}]}
        params = check_run_params({**tiny_params, **parts}, catalog, "test")
        check_on_meta(params, catalog)
        return params, catalog

    return check


class Moody(Head):
    """A head that gives something else in one of the modes."""

    def __init__(self, mode, output):
        super().__init__()
        self.mode, self.output = mode, output

    def forward(self, features):
        output = super().forward(features)
        return self.output if self.training == self.mode else output


@pytest.mark.parametrize("mode", [True, False])
def test_a_head_with_other_branches_in_one_mode_is_found_on_shapes(checked, mode):
    with pytest.raises(ReidError, match=r"^head 'mine' of local 0 returned the branches none; it"):
        checked(PartsPlugin(head=lambda: Moody(mode, HeadOutput({}))))


def test_a_head_with_other_extra_values_in_training_is_found_on_shapes(checked):
    class Extra(Head):
        def forward(self, features):
            output = super().forward(features)
            return HeadOutput(output.branches, {} if self.training else {"uc": features.map})

    message = (
        "head 'mine' of local 0 gives in training the extra values none, and in evaluation uc; "
        "they must be the same"
    )
    with pytest.raises(ReidError, match=message):
        checked(PartsPlugin(head=Extra))


def test_what_is_built_wrong_is_found_on_shapes(checked):
    with pytest.raises(ReidError, match=r"^backbone 'mine' of local 0 was built as a list; expec"):
        checked(PartsPlugin(backbone=list))
    with pytest.raises(ReidError, match=r"^head 'mine' of local 0 was built as a dict; expected "):
        checked(PartsPlugin(head=dict))


def test_a_backbone_is_told_its_input_size_and_how_many_values_its_columns_have(checked):
    plugin = PartsPlugin(side=("camid", "viewpoint"))
    params, catalog = checked(plugin)
    assert plugin.context == {
        "input_size": (32, 16),
        "side_values": {"camid": 2, "viewpoint": 2},
    }
    values = {"viewpoint": (("a", "front"),), "camid": (("a", 1), ("a", 2), ("b", 1))}
    module = ModuleBuilder(params, catalog, side_values={**values, "time": ()}).module(3)
    assert plugin.context["side_values"] == {"camid": 3, "viewpoint": 1}
    assert module.model.side == ("camid", "viewpoint")
    assert module.model.side_values == {name: values[name] for name in module.model.side}


def test_values_that_a_backbone_needs_must_be_given(checked):
    params, catalog = checked(PartsPlugin(side=("camid", "time")))
    message = r"backbone: 'mine' looks at 'time' of the images, .* not given \(given: camid\)"
    with pytest.raises(ReidError, match=message):
        ModuleBuilder(params, catalog, side_values={"camid": (("a", 1),)}).module(3)


@pytest.mark.parametrize(
    ("side", "fault"),
    [
        (lambda params: ["camid"], r"declares side \['camid'\]; expected a tuple of names"),
        (("camid", "camid"), r"declares side \('camid', 'camid'\); expected every name once"),
        (lambda params: params.missing, "failed when it was asked for its side: AttributeError"),
    ],
)
def test_columns_that_cannot_be_are_the_plugins_fault(checked, side, fault):
    with pytest.raises(ReidError, match=rf"^backbone 'mine' of local 0 {fault}"):
        checked(PartsPlugin(side=side))


# ---- values that are no numbers ---------------------------------------------------------


def test_the_first_part_whose_values_are_no_numbers_is_named():
    def spoilt(v):
        return HeadOutput({"global": Branch(v, v / 0)})

    images = torch.ones(2, 3, 32, 16)
    network = network_of(Backbone(), Head(), ({"alias": "b"}, Head(spoilt))).eval()
    assert str(not_finite(network, images, {})).startswith(
        "head 'test' of local 0 gives values that are NaN or infinite for the first 2 images; "
    )
    network = network_of(Backbone(lambda x: FeatureMap(x / 0)), Head(spoilt)).eval()
    assert str(not_finite(network, images, {})).startswith("backbone 'test' of local 0 gives ")
    network = network_of(Backbone(), Head()).eval()
    assert str(not_finite(network, images, {})).startswith("a classifier gives values that ")
