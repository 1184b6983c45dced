"""The network: its branches, its classifiers, its joint embedding, and what freezing holds."""

import keyword
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from networks import PartsPlugin, network_of
from reid_core import ReidError
from reid_core.contracts import Batch, Branch, BranchSpec, FeatureMap, HeadOutput
from reid_core.data.training_images import TrainingImages
from reid_core.network.classifiers import keys_of
from reid_core.network.model import build_model
from reid_core.params.validation import check_run_params
from reid_core.storage.dataset_stores import Stores
from reid_core.training.assembly import build_training, check_on_meta
from reid_core.training.build_module import ModuleBuilder
from reid_core.training.parameter_groups import build_optimizer, parameter_groups


class Backbone(nn.Module):
    out_channels, stride = 4, 1

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, images, side=None):
        return FeatureMap(self.bn(self.conv(images)))


class Head(nn.Module):
    """Branches of given (name, dim, classifier, in_test)."""

    def __init__(self, *branches, aux=None):
        super().__init__()
        self.branches = tuple(
            BranchSpec(name, dim, classifier, frozenset({"id", "metric"}), in_test)
            for name, dim, classifier, in_test in branches
        )
        self.layers = nn.ModuleList(nn.Linear(4, dim) for _, dim, _, _ in branches)
        self.aux = aux

    def forward(self, features):
        pooled = features.map.mean((2, 3))
        vectors = [layer(pooled) for layer in self.layers]
        branches = {s.name: Branch(v, v + 1) for s, v in zip(self.branches, vectors, strict=True)}
        return HeadOutput(branches, {self.aux: pooled.sum(1)} if self.aux else {})


def model_of(*heads, num_pids=5):
    """Return a model of heads; a head may come with what its entry has in the params."""
    torch.manual_seed(0)
    return network_of(Backbone(), *heads, num_pids=num_pids)


images = torch.randn(6, 3, 5, 3, generator=torch.Generator().manual_seed(1))
one = ("global", 3, "global", True)


def run_params(catalog, tiny_params, **changes):
    return check_run_params({**tiny_params, **changes}, catalog, "test")


# ---- branches ---------------------------------------------------------------------------


def test_an_alias_renames_branches_and_their_classifiers():
    model = model_of(Head(one), ({"alias": "second"}, Head(one, ("free", 2, None, True))))
    assert [(s.name, s.classifier) for s in model.branches] == [
        ("global", "global"),
        ("second_global", "second_global"),
        ("second_free", None),
    ]
    output = model(images)
    assert list(output.branches) == ["global", "second_global", "second_free"]
    assert model.embedding_dim == 8 == output.embedding.shape[1]


def test_two_heads_with_one_branch_name_need_an_alias():
    with pytest.raises(ReidError, match=r"two heads declare branch global; give one of them an 'a"):
        model_of(Head(one), Head(one))


def test_an_alias_can_collide_too():
    with pytest.raises(ReidError, match="two heads declare branch a_global"):
        model_of(({"alias": "a"}, Head(one)), Head(("a_global", 2, None, True)))


def test_a_model_without_a_test_branch_is_refused():
    with pytest.raises(ReidError, match="no branch is part of the test embedding"):
        model_of(Head(("only", 3, None, False)))


def test_heads_of_real_params_collide_by_name(catalog, tiny_params):
    params = run_params(catalog, tiny_params, head=[{"name": "global"}, {"name": "global"}])
    with pytest.raises(ReidError, match="give one of them an 'alias'"):
        check_on_meta(params, catalog)


def test_aux_of_every_head_is_there_under_its_alias():
    model = model_of(Head(one, aux="uc"), ({"alias": "b"}, Head(one, aux="uc")))
    assert set(model(images).aux) == {"uc", "b_uc"}


def test_two_heads_with_one_aux_name_need_an_alias():
    model = model_of(Head(one, aux="uc"), Head(("other", 2, None, True), aux="uc"))
    with pytest.raises(ReidError, match=r"an extra value named uc; give one of them an 'alias'"):
        model(images)


# ---- the joint embedding ----------------------------------------------------------------


def test_the_embedding_joins_the_test_branches_in_order():
    model = model_of(Head(("a", 2, None, True), ("b", 3, None, False), ("c", 1, None, True)))
    output = model(images)
    for part in ("embedding", "feature"):
        parts = [getattr(output.branches[name], part) for name in "ac"]
        assert torch.equal(getattr(output, part), torch.cat(parts, dim=1))
    assert model.embedding_dim == 3


def test_part_norm_and_scale_act_on_each_branch_of_their_head():
    head = Head(("a", 2, None, True), ("b", 3, None, True))
    model = model_of(
        ({"part_norm": "each", "scale": 2.0}, head),
        ({"alias": "raw", "scale": 0.5}, Head(one)),
    )
    output = model(images)
    for part in ("embedding", "feature"):
        joined = getattr(output, part)
        for start, end in ((0, 2), (2, 5)):
            torch.testing.assert_close(joined[:, start:end].norm(dim=1), torch.full((6,), 2.0))
        raw = getattr(output.branches["raw_global"], part)
        assert torch.equal(joined[:, 5:], raw * 0.5)
        a = getattr(output.branches["a"], part)
        torch.testing.assert_close(joined[:, :2], 2 * a / a.norm(dim=1, keepdim=True))


def test_the_output_is_the_same_record_in_training_and_evaluation():
    model = model_of(Head(one))
    model.add_classifiers(["global"], bias=False, init_std=0.001)
    training, evaluation = model.train()(images), model.eval()(images)
    assert training.branches.keys() == evaluation.branches.keys()
    assert training.logits.keys() == evaluation.logits.keys() == {"global"}


# ---- columns ----------------------------------------------------------------------------


class Noting(Backbone):
    """Keeps the columns that it is given."""

    def forward(self, images, side):
        self.seen = side
        return super().forward(images)


def test_the_backbone_receives_exactly_its_columns_and_unknown_for_what_is_left_out():
    values = {"camid": (("a", 1), ("b", 1)), "viewpoint": (("a", "front"),)}
    model = network_of(Noting(), Head(one), side_values=values)
    assert model.side == ("camid", "viewpoint")
    camids = torch.tensor([0, 1, -1, 0, 1, 1])
    model(images, {"camid": camids, "clothes": camids})
    assert list(model.backbone.seen) == ["camid", "viewpoint"]
    assert model.backbone.seen["camid"] is camids
    unknown = model.backbone.seen["viewpoint"]
    assert unknown.dtype == torch.int64
    assert unknown.tolist() == [-1] * 6
    for nothing in ((), ({},), (None,)):
        model(images, *nothing)
        assert all(column.tolist() == [-1] * 6 for column in model.backbone.seen.values())


def test_unknown_columns_are_on_the_device_of_the_images():
    model = network_of(
        Noting().to("meta"), Head(one).to("meta"), side_values={"camid": (("a", 0),)}
    )
    model(images.to("meta"))
    assert model.backbone.seen["camid"].device.type == "meta"


def test_a_backbone_without_columns_receives_none():
    model = network_of(Noting(), Head(one))
    model(images, {"camid": torch.zeros(6, dtype=torch.int64)})
    assert model.backbone.seen == {}


@pytest.mark.parametrize(
    ("column", "form"),
    [
        (torch.zeros(5, dtype=torch.int64), r"\(5,\) and type torch\.int64"),
        (torch.zeros(6, 1, dtype=torch.int64), r"\(6, 1\) and type torch\.int64"),
        (torch.zeros(6), r"\(6,\) and type torch\.float32"),
    ],
)
def test_a_column_of_another_form_is_refused(column, form):
    model = network_of(Noting(), Head(one), side_values={"camid": (("a", 0),)})
    message = rf"the column 'camid' of 6 images has shape {form}; expected \(6,\) and torch\.int64"
    with pytest.raises(ReidError, match=message):
        model(images, {"camid": column})


def test_the_model_of_a_training_knows_its_cameras_in_their_order(catalog_with, tiny_params):
    catalog = catalog_with(PartsPlugin(("camid",), build=lambda params: Noting()))
    raw = {**tiny_params, "backbone": {"name": "test"}}
    stride_of_one = [{"name": "resize", "params": {"height": 5, "width": 3}}]
    params = check_run_params({**raw, "augmentation": stride_of_one}, catalog, "test")
    stores = Stores(Path(params.working_dir))
    images_of = TrainingImages.of([(e.label, stores.open(e)) for e in params.data.train])
    model = build_training(params, catalog, images_of, None, torch.device("cpu")).module.model
    (label,) = {label for label, _ in images_of.stores}
    known = sorted(set(images_of.camids.tolist()))
    assert model.side_values == {"camid": tuple((label, camid) for camid in known)}
    ((_, store),) = images_of.stores
    store.index = replace(store.index, camid=np.full(len(store), -1))
    nobody = TrainingImages.of([(label, store)])
    with pytest.raises(
        ReidError, match=r"'test' looks at 'camid', which is not known of any train"
    ):
        build_training(params, catalog, nobody, None, torch.device("cpu"))


# ---- classifiers ------------------------------------------------------------------------


def test_branches_of_one_key_share_one_classifier():
    model = model_of(Head(("a", 3, "shared", True), ("b", 3, "shared", False)))
    model.add_classifiers(["shared"], bias=False, init_std=0.001)
    assert list(model.classifier) == ["shared"]
    output = model(images)
    layer = model.classifier["shared"]
    for name in "ab":
        assert torch.equal(output.logits[name], layer(output.branches[name].embedding))


@pytest.mark.parametrize("key", [*keyword.kwlist, *keyword.softkwlist, *dir(nn.ModuleDict()), "0"])
def test_every_word_is_the_key_of_a_classifier(key):
    """Also those that are keywords of Python or attributes of a module."""
    model = model_of(Head(("global", 3, key, True), ("other", 3, f"of_{key}", True)))
    model.add_classifiers([key, f"of_{key}"], bias=False, init_std=0.1)
    found = model.classifier
    assert set(found) == set(found.keys()) == set(dict(found.items())) == {key, f"of_{key}"}
    assert [key in found, f"of_{key}" in found, "elsewhere" in found] == [True, True, False]
    assert len(found) == 2
    output = model(images)
    for name, layer in (("global", found[key]), ("other", found[f"of_{key}"])):
        assert torch.equal(output.logits[name], layer(output.branches[name].embedding))
    names = [name for name in model.state_dict() if name.startswith("classifier.")]
    parts = [part for name in names for part in name.split(".")]
    assert all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)
    assert keys_of(names) == {key, f"of_{key}"}
    del found[key]
    assert list(found) == [f"of_{key}"]


def test_the_spectral_head_shares_the_classifier_of_global(catalog, tiny_params):
    params = run_params(catalog, tiny_params, head=[{"name": "spectral"}])
    module = ModuleBuilder(params, catalog).module(4)
    assert list(module.model.classifier) == ["global"]
    assert {s.name for s in module.model.branches} == {"global", "spectral"}


def test_branches_of_one_key_must_agree_in_size():
    model = model_of(Head(("a", 3, "shared", True), ("b", 2, "shared", True)))
    with pytest.raises(ReidError, match=r"classifier 'shared' is shared by .* sizes: \[2, 3\]"):
        model.add_classifiers(["shared"], bias=False, init_std=0.001)


@pytest.mark.parametrize("bias", [False, True])
def test_a_classifier_has_a_bias_only_if_asked_for(bias):
    model = model_of(Head(("global", 400, "global", True)), num_pids=300)
    model.add_classifiers(["global"], bias=bias, init_std=0.02)
    layer = model.classifier["global"]
    assert layer.weight.shape == (300, 400)
    assert abs(float(layer.weight.detach().std()) - 0.02) < 1e-3
    assert (layer.bias is not None) == bias
    assert not bias or not layer.bias.any()


def test_only_classifiers_that_a_loss_needs_are_made(catalog, tiny_params):
    params = run_params(catalog, tiny_params, loss=[{"name": "triplet"}])
    module = ModuleBuilder(params, catalog).module(4)
    assert len(module.model.classifier) == 0
    assert module.model(torch.zeros(2, 3, 32, 16)).logits == {}


# ---- freezing ---------------------------------------------------------------------------


def test_fine_tuning_moves_heads_and_holds_the_backbone_bit_for_bit(catalog, tiny_params):
    changed = {**tiny_params, "train": {**tiny_params["train"], "fine_tune": True}}
    params = run_params(catalog, changed)
    torch.manual_seed(0)
    module = ModuleBuilder(params, catalog).module(4)
    optimizer = build_optimizer(
        params.optimizer, parameter_groups(params.optimizer, module.named_parameters())
    )
    before = {name: t.clone() for name, t in module.state_dict().items()}
    for mode in (True, False, True):
        module.train(mode)
    pids = torch.tensor([0, 0, 1, 1, 2, 3])
    zeros = torch.zeros(6, dtype=torch.int64)
    for _ in range(3):
        batch = Batch(torch.randn(6, 3, 32, 16), pids, zeros, zeros, zeros)
        optimizer.zero_grad()
        module(batch).total.backward()
        optimizer.step()
    after = module.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("model.backbone.") for name in moved)
    assert {"model.classifier.of_global.weight", "model.heads.0.neck.bn.running_mean"} <= moved


def test_a_frozen_backbone_trains_nothing_but_stays_in_training_mode_elsewhere():
    model = model_of(Head(one))
    model.freeze_backbone()
    assert not model.backbone.bn.training
    assert model.heads.training
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert all(p.requires_grad for p in model.heads.parameters())
    model.eval()
    assert not model.heads.training


# ---- checks without data ----------------------------------------------------------------


def test_a_branch_that_is_not_as_large_as_declared_is_found_before_the_first_image(
    catalog, tiny_params, monkeypatch
):
    from reid_plugins.head._global_head import GlobalHead

    original = GlobalHead.__init__

    def lying(self, *args, **kwargs):
        original(self, *args, **kwargs)
        (spec,) = self.branches
        self.branches = (BranchSpec("global", spec.dim + 1, None, spec.roles),)

    monkeypatch.setattr(GlobalHead, "__init__", lying)
    params = run_params(catalog, tiny_params, loss=[{"name": "triplet"}])
    message = (
        r"^head 'global' of reid-core .* returned as feature of branch 'global' .*512\); it has "
    )
    with pytest.raises(ReidError, match=message + "declared 513 values"):
        check_on_meta(params, catalog)


def test_a_loss_whose_value_no_head_gives_is_refused_before_the_first_image(catalog, tiny_params):
    loss = [{"name": "softmax"}, {"name": "uncertain_pair"}]
    message = r"loss\.1: 'uncertain_pair' needs the value 'uc' of a head \(the heads give none\)"
    with pytest.raises(ReidError, match=message):
        check_on_meta(run_params(catalog, tiny_params, loss=loss), catalog)
    fixed = {"uncertainty": {"lower": 0.1, "upper": -0.1}}
    loss[1] = {"name": "uncertain_pair", "params": fixed}
    check_on_meta(run_params(catalog, tiny_params, loss=loss), catalog)


def test_a_distance_whose_value_no_head_gives_is_refused_before_the_first_image(
    catalog, tiny_params
):
    given = {
        "evaluation": [{"name": "market_evaluate", "distance": {"name": "uncertain"}}],
        "head": [{"name": "uncertain", "alias": "mine"}],
    }
    message = r"evaluation\.0\.distance: 'uncertain' needs .*'uc'.* \(the heads give mine_uc\)"
    with pytest.raises(ReidError, match=message):
        check_on_meta(run_params(catalog, tiny_params, **given), catalog)
    given["head"] = [{"name": "uncertain"}]
    check_on_meta(run_params(catalog, tiny_params, **given), catalog)


def test_the_model_of_params_has_their_parts(catalog, tiny_params):
    params = run_params(
        catalog, tiny_params, head=[{"name": "global", "params": {"embedding_dim": 7}}]
    )
    model = build_model(params, num_pids=4)
    assert model.embedding_dim == 7
    assert model.eval()(torch.zeros(1, 3, 32, 16)).embedding.shape == (1, 7)
