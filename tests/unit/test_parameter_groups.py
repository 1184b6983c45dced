"""Parameter groups by owner and name, optimizers, and the table that is printed."""

from fnmatch import fnmatchcase

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from reid_core import ReidError
from reid_core.discovery import isolated_catalog
from reid_core.params.messages import read_params
from reid_core.params.schema import OptimizerParams
from reid_core.params.validation import check_run_params
from reid_core.training.assembly import check_on_meta
from reid_core.training.build_module import ModuleBuilder
from reid_core.training.parameter_groups import (
    build_optimizer,
    group_table,
    parameter_groups,
    rates_by_role,
    set_rates,
)

NAMES = (
    "model.backbone.layer4.weight",
    "model.backbone.layer4.bias",
    "model.heads.0.weight",
    "model.classifier.of_global.weight",
    "objectives.0.terms.1.centers",
)


def named(names=NAMES):
    return [(name, nn.Parameter(torch.ones(2, 3))) for name in names]


def optimizer_params(**changes):
    return read_params(OptimizerParams, {"name": "sgd", "lr": 0.1, **changes}, isolated_catalog())


def groups_of(pairs=None, **changes):
    """Return {name: (role, lr, weight decay)}."""
    groups = parameter_groups(optimizer_params(**changes), named() if pairs is None else pairs)
    return {
        name: (settings.role, settings.lr, settings.weight_decay)
        for settings, members in groups.items()
        for name, _ in members
    }


def test_a_parameter_belongs_to_its_owner():
    found = groups_of(lr_backbone=0.01, lr_loss=0.5, weight_decay=0.2)
    assert found == {
        NAMES[0]: ("backbone", 0.01, 0.2),
        NAMES[1]: ("backbone", 0.01, 0.2),
        NAMES[2]: ("new", 0.1, 0.2),
        NAMES[3]: ("new", 0.1, 0.2),
        NAMES[4]: ("loss", 0.5, 0.2),
    }


def test_without_rates_of_their_own_all_roles_have_the_same_rate():
    assert {lr for _, lr, _ in groups_of().values()} == {0.1}
    assert {lr for _, lr, _ in groups_of(lr_backbone=0.0).values()} == {0.0, 0.1}


def test_a_rate_for_losses_without_weights_is_an_error():
    assert groups_of(named(NAMES[:4]))
    with pytest.raises(ReidError, match=r"^optimizer\.lr_loss: no loss .* leave 'lr_loss' out$"):
        groups_of(named(NAMES[:4]), lr_loss=0.5)


def test_the_last_rule_that_matches_wins():
    rules = [
        {"match": "model.*", "lr": 0.5, "weight_decay": 0.3},
        {"match": "*.bias", "weight_decay": 0.0},
        {"match": "model.heads.*", "lr": 0.7},
    ]
    found = groups_of(groups=rules, weight_decay=0.2)
    assert found == {
        NAMES[0]: ("backbone", 0.5, 0.3),
        NAMES[1]: ("backbone", 0.5, 0.0),
        NAMES[2]: ("new", 0.7, 0.3),
        NAMES[3]: ("new", 0.5, 0.3),
        NAMES[4]: ("loss", 0.1, 0.2),
    }
    assert groups_of(groups=rules[::-1])[NAMES[2]] == ("new", 0.5, 0.3)


def test_lr_scale_multiplies_the_rate_that_there_was():
    rules = [{"match": "*layer4*", "lr_scale": 0.5}, {"match": "*.bias", "lr_scale": 4}]
    found = groups_of(lr_backbone=0.02, groups=rules)
    assert found[NAMES[0]][1] == pytest.approx(0.01)
    assert found[NAMES[1]][1] == pytest.approx(0.04)


globs = st.sampled_from(["*", "model.*", "*bias*", "*.weight", "model.backbone.*", "objectives.*"])
rates = st.sampled_from([0.0, 0.25, 2.0])
rules_of_any_kind = st.lists(
    st.fixed_dictionaries(
        {"match": globs},
        optional={"weight_decay": rates},
    ).flatmap(
        lambda rule: st.sampled_from([{}, {"lr": 0.5}, {"lr": 0.0}, {"lr_scale": 4.0}]).map(
            lambda rate: {**rule, **rate}
        )
    ),
    max_size=4,
)


@given(rules=rules_of_any_kind, lr_backbone=st.none() | rates, lr_loss=st.none() | rates)
def test_every_parameter_has_the_settings_of_its_rules(rules, lr_backbone, lr_loss):
    assume(all(any(fnmatchcase(name, rule["match"]) for name in NAMES) for rule in rules))
    expected = {}
    for name in NAMES:
        role, own = "new", None
        if name.startswith("model.backbone."):
            role, own = "backbone", lr_backbone
        elif name.startswith("objectives."):
            role, own = "loss", lr_loss
        lr, decay = 0.1 if own is None else own, 0.2
        for rule in rules:
            if fnmatchcase(name, rule["match"]):
                lr = rule.get("lr", lr) * rule.get("lr_scale", 1)
                decay = rule.get("weight_decay", decay)
        expected[name] = (role, lr, decay)
    changes = {"lr_backbone": lr_backbone, "lr_loss": lr_loss, "weight_decay": 0.2}
    assert groups_of(groups=rules, **changes) == expected

    params = optimizer_params(groups=rules, **changes)
    pairs = named()
    optimizer = build_optimizer(params, parameter_groups(params, pairs))
    set_rates(optimizer, 0.5)
    names = {parameter: name for name, parameter in pairs}
    in_optimizer = {
        names[parameter]: (group["role"], group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert in_optimizer == {name: (r, lr * 0.5, d) for name, (r, lr, d) in expected.items()}


def test_a_rule_that_matches_nothing_is_an_error():
    rules = [{"match": "*", "lr": 1}, {"match": "model.backbone.layer4.weigth", "lr": 1}]
    with pytest.raises(
        ReidError,
        match=r"optimizer\.groups\.1\.match: 'model\.backbone\.layer4\.weigth' matches no "
        r"parameter; did you mean 'model\.backbone\.layer4\.weight'\?; names look like model\.back",
    ):
        groups_of(groups=rules)


def test_a_rule_without_a_match_is_found_before_the_first_image(catalog, tiny_params):
    tiny_params["optimizer"]["groups"] = [{"match": "model.neck.*", "lr": 0.1}]
    params = check_run_params(tiny_params, catalog, "test")
    with pytest.raises(ReidError, match=r"optimizer\.groups\.0\.match: 'model\.neck\.\*' matches"):
        check_on_meta(params, catalog)


def test_groups_come_in_a_fixed_order():
    rules = [{"match": "*.bias", "weight_decay": 0.0}]
    forwards, backwards = (
        list(parameter_groups(optimizer_params(lr_backbone=0.01, groups=rules), pairs))
        for pairs in (named(), named(NAMES[::-1]))
    )
    assert forwards == backwards
    assert [g.role for g in forwards] == ["backbone", "backbone", "loss", "new"]


def test_frozen_parameters_are_members_that_do_not_move():
    pairs = named()
    pairs[0][1].requires_grad_(False)
    params = optimizer_params(weight_decay=0.5, lr_backbone=0.01)
    groups = parameter_groups(params, pairs)
    optimizer = build_optimizer(params, groups)
    sum(p.sum() for _, p in pairs if p.requires_grad).backward()
    optimizer.step()
    assert torch.equal(pairs[0][1], torch.ones(2, 3))
    assert not torch.equal(pairs[1][1], torch.ones(2, 3))
    table = group_table(groups)
    assert table[0].split() == ["group", "rate", "decay", "tensors", "parameters"]
    assert table[1].split() == ["backbone", "0.01", "0.5", "2", "6", "(1", "tensors", "frozen)"]
    assert table[2].split() == ["loss", "0.1", "0.5", "1", "6"]


def test_sgd_takes_its_options():
    params = optimizer_params(params={"momentum": 0.8, "nesterov": True})
    optimizer = build_optimizer(params, parameter_groups(params, named()))
    assert type(optimizer) is torch.optim.SGD
    assert all(g["momentum"] == 0.8 and g["nesterov"] for g in optimizer.param_groups)


def test_nesterov_without_momentum_is_an_error_and_found_early(catalog, tiny_params):
    options = {"momentum": 0.0, "nesterov": True}
    tiny_params["optimizer"] = {"name": "sgd", "lr": 0.1, "params": options}
    params = check_run_params(tiny_params, catalog, "test")
    with pytest.raises(ReidError, match=r"optimizer\.params: 'nesterov' needs a 'momentum' above"):
        check_on_meta(params, catalog)


@pytest.mark.parametrize("rule", [{"lr": 1.0, "lr_scale": 2.0}, {"lr": -1.0}, {"lr_scale": -1.0}])
def test_a_group_has_one_rate_that_is_not_negative(rule):
    with pytest.raises(ValueError, match=r"give either 'lr' or 'lr_scale'|greater than or equal"):
        optimizer_params(groups=[{"match": "*", **rule}])


# ---- published recipes on the real network ----------------------------------------------


@pytest.fixture(scope="module")
def real_names(catalog):
    """(name, parameter) of a network with a neck, a reduction, biases and a classifier."""
    raw = {
        "data": {"train": [{"name": "synthetic_market"}]},
        "backbone": {"name": "resnet18", "params": {"pretrained": "none"}},
        "head": [{"name": "global", "params": {"embedding_dim": 8}}],
        "loss": [{"name": "softmax"}, {"name": "triplet"}, {"name": "center"}],
        "sampler": {"name": "class_balanced"},
        "augmentation": [{"name": "resize"}, {"name": "normalize"}],
        "optimizer": {"name": "sgd", "lr": 0.1},
        "train": {"epochs": 1},
    }
    with torch.device("meta"):
        module = ModuleBuilder(check_run_params(raw, catalog, "test"), catalog).module(3)
    return list(module.named_parameters())


def settings_by_name(real_names, **changes):
    groups = parameter_groups(optimizer_params(**changes), real_names)
    return {name: settings for settings, members in groups.items() for name, _ in members}


def test_a_backbone_at_a_tenth(real_names):
    found = settings_by_name(real_names, lr=0.05, lr_backbone=0.005)
    assert {s.lr for name, s in found.items() if "backbone" in name} == {0.005}
    assert {s.lr for name, s in found.items() if "backbone" not in name} == {0.05}
    assert len(found) == len(real_names)


def test_biases_have_twice_the_rate_and_no_decay(real_names):
    rule = {"match": "*bias*", "lr_scale": 2, "weight_decay": 0.0}
    found = settings_by_name(real_names, lr=3.5e-4, weight_decay=5e-4, groups=[rule])
    assert sum("bias" in name for name in found) > 20
    for name, settings in found.items():
        expected = (7e-4, 0.0) if "bias" in name else (3.5e-4, 5e-4)
        assert (settings.lr, settings.weight_decay) == expected, name


def test_neck_and_classifier_have_a_decay_of_their_own(real_names):
    rules = [
        {"match": "*bias*", "weight_decay": 0.0},
        {"match": "*neck*", "weight_decay": 0.01},
        {"match": "*classifier*", "weight_decay": 0.01},
    ]
    found = settings_by_name(real_names, weight_decay=5e-4, groups=rules)
    assert {name for name, s in found.items() if s.weight_decay == 0.01} == {
        "model.heads.0.neck.bn.weight",
        "model.heads.0.neck.bn.bias",
        "model.classifier.of_global.weight",
    }
    assert found["model.heads.0.reduction.bias"].weight_decay == 0.0
    assert found["model.heads.0.reduction.weight"].weight_decay == 5e-4


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_adam_and_adamw_take_their_options(name, kind):
    options = {"beta1": 0.5, "beta2": 0.9, "amsgrad": True}
    params = optimizer_params(name=name, params=options, weight_decay=0.3)
    optimizer = build_optimizer(params, parameter_groups(params, named()))
    assert type(optimizer) is kind
    for group in optimizer.param_groups:
        assert group["betas"] == (0.5, 0.9)
        assert group["amsgrad"]
        assert group["weight_decay"] == 0.3


def test_adamw_decays_weights_apart_from_the_gradient():
    moved = {}
    for name in ("adam", "adamw"):
        pairs = named(NAMES[2:3])
        params = optimizer_params(name=name, weight_decay=0.5)
        optimizer = build_optimizer(params, parameter_groups(params, pairs))
        pairs[0][1].grad = torch.zeros(2, 3)
        optimizer.step()
        moved[name] = float(pairs[0][1].detach()[0, 0])
    assert moved["adamw"] == pytest.approx(1 - 0.1 * 0.5)
    assert moved["adam"] == pytest.approx(1 - 0.1, abs=1e-4)


def test_the_schedule_s_factor_acts_on_every_group_s_own_rate():
    params = optimizer_params(lr_backbone=0.01, lr_loss=0.5)
    optimizer = build_optimizer(params, parameter_groups(params, named()))
    for factor in (0.1, 0.5):
        set_rates(optimizer, factor)
        assert rates_by_role(optimizer) == pytest.approx(
            {"backbone": 0.01 * factor, "loss": 0.5 * factor, "new": 0.1 * factor}
        )


def test_the_rate_of_a_role_is_that_of_its_largest_group():
    pairs = [
        ("model.backbone.bias", nn.Parameter(torch.ones(7))),
        ("model.backbone.weight", nn.Parameter(torch.ones(4, 2))),
        ("model.heads.0.bias", nn.Parameter(torch.ones(7))),
    ]
    params = optimizer_params(groups=[{"match": "*bias", "lr_scale": 2}])
    optimizer = build_optimizer(params, parameter_groups(params, pairs))
    assert rates_by_role(optimizer) == {"backbone": 0.1, "new": 0.2}
