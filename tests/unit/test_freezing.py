"""Staged freezing: what is frozen stands still to the last bit, and starts afresh on release."""

import copy
import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reid_core import ReidError
from reid_core.contracts import Batch
from reid_core.discovery import isolated_catalog
from reid_core.params.messages import read_params
from reid_core.params.schema import FreezeRule, OptimizerParams
from reid_core.params.validation import check_run_params
from reid_core.runs.start_and_resume import start_train
from reid_core.training.assembly import check_on_meta
from reid_core.training.build_module import ModuleBuilder
from reid_core.training.freezing import Freezing
from reid_core.training.loop import train_one_epoch
from reid_core.training.module import StepResult
from reid_core.training.parameter_groups import build_optimizer, group_table, parameter_groups

STEPS = 3
OPTIMIZERS = {
    "sgd": {"name": "sgd", "lr": 0.1, "params": {"momentum": 0.9, "nesterov": True}},
    "adam": {"name": "adam", "lr": 0.1, "params": {"amsgrad": True}},
    "adamw": {"name": "adamw", "lr": 0.1},
}


def layer(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs))


class Net(nn.Module):
    """Two layers of a backbone, a neck without a bias, a classifier; names as in a training."""

    def __init__(self):
        super().__init__()
        self.model = nn.ModuleDict(
            {
                "backbone": nn.Sequential(layer(4, 5), nn.Dropout(0.2), layer(5, 5)),
                "heads": nn.ModuleList([nn.BatchNorm1d(5)]),
                "classifier": nn.Linear(5, 3),
            }
        )
        self.model["heads"][0].bias.requires_grad_(False)  # as BN necks have it
        self.double()

    def parts(self):
        return []

    def set_progress(self, progress):
        pass

    def forward(self, batch, streams):
        maps = self.model["backbone"](batch.images)
        total = self.model["classifier"](self.model["heads"][0](maps)).square().mean()
        return StepResult(total, {"square": total.detach()}, {})


NAMES = [name for name, _ in Net().named_parameters()]
FIRST, SECOND = "model.backbone.0.*", "model.backbone.2.*"


def freezing_of(module, *rules):
    return Freezing([FreezeRule(match=match, epochs=epochs) for match, epochs in rules], module)


def batches_of(epoch):
    generator = torch.Generator().manual_seed(epoch)
    ids = torch.zeros(6, dtype=torch.int64)
    return [
        Batch(torch.randn(6, 4, dtype=torch.float64, generator=generator), ids, ids, ids, ids)
        for _ in range(STEPS)
    ]


class Loader:
    """The batches of the epoch that ``set`` chose."""

    def set(self, epoch, position):
        self.epoch = epoch

    def __len__(self):
        return STEPS

    def __iter__(self):
        return iter(batches_of(self.epoch))


class Trained:
    """A training of ``Net`` that keeps the state before every epoch."""

    def __init__(self, training_of, *rules, optimizer="sgd", before=lambda module: None):
        self.make_training = training_of
        torch.manual_seed(0)
        self.module = Net()
        before(self.module)
        self.params = read_params(
            OptimizerParams, {**OPTIMIZERS[optimizer], "weight_decay": 0.2}, isolated_catalog()
        )
        self.optimizer = self.new_optimizer(self.module)
        self.freezing = freezing_of(self.module, *rules)
        self.states = [copy.deepcopy(self.module.state_dict())]
        self.training = self.training_of(self.module, self.optimizer)

    def new_optimizer(self, module):
        return build_optimizer(
            self.params, parameter_groups(self.params, module.named_parameters())
        )

    def training_of(self, module, optimizer):
        loader = Loader()
        return self.make_training(
            module,
            optimizer,
            loader,
            steps=STEPS,
            epochs=9,
            batches=loader,
            freezing=self.freezing,
        )

    def after_step(self):
        pass

    def epochs(self, count):
        for _ in range(count):
            train_one_epoch(self.training, after_step=self.after_step)
            self.states.append(copy.deepcopy(self.module.state_dict()))
        return self

    def moved(self, epoch):
        """Return the names of what an epoch changed, by a bit or more."""
        before, after = self.states[epoch : epoch + 2]
        return {name for name in before if not torch.equal(before[name], after[name])}


def below(glob):
    """Return every weight and statistic of a layer of the backbone, or of all."""
    return {name for name in Net().state_dict() if name.startswith(glob.removesuffix("*"))}


EVERYTHING = set(Net().state_dict()) - {"model.heads.0.bias"}


# ---- what stands still ------------------------------------------------------------------


@pytest.fixture
def trained(training_of):
    """A function: a training of ``Net`` with some rules; see ``Trained``."""
    return functools.partial(Trained, training_of)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_frozen_layers_and_their_statistics_stand_still_and_then_move(trained, optimizer):
    run = trained((FIRST, 2), (SECOND, 1), optimizer=optimizer).epochs(4)

    assert run.moved(0) == EVERYTHING - below(FIRST) - below(SECOND)
    assert run.moved(1) == EVERYTHING - below(FIRST)
    assert run.moved(2) == run.moved(3) == EVERYTHING


def test_without_rules_everything_moves_from_the_start(trained):
    run = trained().epochs(1)

    assert run.moved(0) == EVERYTHING
    assert run.freezing.lines() == []


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_on_release_the_optimizer_starts_as_a_fresh_one(trained, optimizer):
    run = trained((FIRST, 2), optimizer=optimizer).epochs(2)
    frozen = [p for name, p in run.module.named_parameters() if name.startswith(FIRST[:-1])]
    others = [p for p in run.module.parameters() if p.requires_grad]
    assert frozen
    assert all(parameter not in run.optimizer.state for parameter in frozen)
    assert all(parameter.grad is None for parameter in frozen)
    assert all(run.optimizer.state[parameter] for parameter in others)

    module = copy.deepcopy(run.module)
    fresh = run.new_optimizer(module)
    generator_state = torch.get_rng_state()  # dropout draws from it
    module.train()
    run.freezing.set_epoch(2)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    module(batches_of(2)[0], {}).total.backward()
    fresh.step()
    torch.set_rng_state(generator_state)
    states = []
    run.after_step = lambda: states.append(copy.deepcopy(run.module.state_dict()))
    run.training = run.training_of(run.module, run.optimizer)
    run.training.state.epoch = 2
    run.epochs(1)

    expected = module.state_dict()
    for name in below(FIRST):
        assert torch.equal(states[0][name], expected[name]), name
    same = {name for name in EVERYTHING if torch.equal(states[0][name], expected[name])}
    assert "model.classifier.weight" not in same, "this one has a past"


def test_a_frozen_module_keeps_its_dropout(trained):
    run = trained((FIRST, 1), (SECOND, 1))
    run.module.train()
    run.freezing.set_epoch(0)
    held = {name for name, part in run.module.named_modules() if not part.training}

    assert held == {"model.backbone.0.1", "model.backbone.2.1"}
    run.module.train()
    run.freezing.set_epoch(1)
    assert all(part.training for part in run.module.modules())


def test_a_bn_layer_with_a_trained_parameter_keeps_counting(trained):
    run = trained(("model.backbone.0.0.*", 1), ("model.backbone.*.1.weight", 1)).epochs(1)

    still = {"model.backbone.0.0.weight", "model.backbone.0.0.bias"}
    still |= {"model.backbone.0.1.weight", "model.backbone.2.1.weight"}
    assert run.moved(0) == EVERYTHING - still


def test_a_bn_layer_without_parameters_follows_the_module_around_it(trained):
    def plain(module):
        module.model["backbone"][0][1] = nn.BatchNorm1d(5, affine=False).double()

    run = trained((FIRST, 1), before=plain).epochs(2)

    statistics = {f"model.backbone.0.1.{name}" for name in ("running_mean", "running_var")}
    assert not statistics & run.moved(0)
    assert statistics <= run.moved(1)


def test_a_bn_layer_that_no_rule_freezes_keeps_counting_though_it_is_never_trained(trained):
    def untrained(module):
        module.model["heads"][0].requires_grad_(False)

    run = trained((FIRST, 1), before=untrained).epochs(1)

    assert run.moved(0) == EVERYTHING - below(FIRST) - {"model.heads.0.weight"}


def test_a_neck_whose_bias_is_never_trained_is_held_and_its_bias_is_not_released(trained):
    run = trained(("model.heads.*", 1)).epochs(2)

    neck = {name for name in EVERYTHING if name.startswith("model.heads.")}
    assert len(neck) == 4
    assert run.moved(0) == EVERYTHING - neck
    assert run.moved(1) == EVERYTHING


# ---- which epoch freezes what -----------------------------------------------------------

RULE = st.tuples(
    st.sampled_from(["model.backbone.*", FIRST, SECOND, "*.bias", "*.1.weight"]),
    st.integers(1, 4),
)


@given(
    rules=st.lists(RULE, max_size=4),
    order=st.lists(st.integers(0, 5), min_size=1, max_size=6),
)
def test_what_is_frozen_depends_on_the_epoch_alone(rules, order):
    def matches(glob, name):
        start, _, end = glob.partition("*")
        return name.startswith(start) and name.endswith(end)

    module = Net()
    freezing = freezing_of(module, *rules)
    for epoch in order:
        module.train()
        freezing.set_epoch(epoch)
        frozen = {
            name
            for name in NAMES
            for glob, epochs in rules
            if matches(glob, name) and epoch < epochs
        }
        never = {"model.heads.0.bias"}
        trained = {name for name, p in module.named_parameters() if p.requires_grad}
        assert trained == set(NAMES) - frozen - never
        for name, part in module.named_modules():
            if isinstance(part, nn.BatchNorm1d):
                own = {f"{name}.weight", f"{name}.bias"}
                assert part.training == (not own & frozen or bool(own & trained)), name


def test_of_several_rules_the_longest_holds(trained):
    run = trained((FIRST, 1), ("model.backbone.*", 2), (SECOND, 3)).epochs(4)

    assert below(FIRST) & run.moved(1) == set()
    assert below(FIRST) <= run.moved(2)
    assert below(SECOND) & run.moved(2) == set()
    assert run.moved(3) == EVERYTHING


def test_the_table_of_groups_shows_what_is_frozen_at_the_start():
    module = Net()
    freezing = freezing_of(module, ("model.backbone.*", 2))
    freezing.set_epoch(0)
    params = OptimizerParams(name="sgd", lr=0.1)

    rows = group_table(parameter_groups(params, module.named_parameters()))
    assert [row.split()[0] for row in rows] == ["group", "backbone", "new"]
    assert rows[1].endswith("0  (8 tensors frozen)")
    assert rows[2].endswith(f"{5 + 5 * 3 + 3}  (1 tensors frozen)")
    assert freezing.lines() == ["frozen in the first 2 epochs: model.backbone.*"]


# ---- together with fine_tune ------------------------------------------------------------


def test_a_backbone_that_fine_tune_froze_is_never_released(tiny_catalog, tiny_params):
    tiny_params["backbone"] = {"name": "tiny"}
    rules = [{"match": "model.backbone.*", "epochs": 1}, {"match": "model.heads.*", "epochs": 2}]
    tiny_params["train"] |= {"fine_tune": True, "freeze": rules}
    params = check_run_params(tiny_params, tiny_catalog, "test")
    module = ModuleBuilder(params, tiny_catalog).module(3)
    freezing = Freezing(params.train.freeze, module)
    for epoch in range(4):
        module.train()
        freezing.set_epoch(epoch)
        trained = {name for name, p in module.named_parameters() if p.requires_grad}
        neck = set() if epoch < 2 else {"model.heads.0.neck.bn.weight"}
        assert trained == neck | {"model.classifier.of_global.weight"}
        assert not module.model.backbone.bn.training
        assert module.model.heads[0].neck.bn.training == (epoch >= 2)


# ---- what goes wrong --------------------------------------------------------------------


def test_a_rule_that_matches_nothing_is_found_before_the_first_image(catalog, tiny_params):
    rules = [{"match": "*", "epochs": 1}, {"match": "model.backbones.*", "epochs": 1}]
    tiny_params["train"]["freeze"] = rules
    params = check_run_params(tiny_params, catalog, "test")
    with pytest.raises(
        ReidError,
        match=r"train\.freeze\.1\.match: 'model\.backbones\.\*' matches no parameter.*; names look",
    ):
        check_on_meta(params, catalog)


@pytest.mark.parametrize("fine_tune", [False, True])
def test_rules_that_leave_nothing_are_found_before_the_first_image(catalog, tiny_params, fine_tune):
    matches = ["model.heads.*", "model.classifier.*"] + ["model.backbone.*"] * (not fine_tune)
    tiny_params["train"]["freeze"] = [{"match": match, "epochs": 1} for match in matches]
    tiny_params["train"]["fine_tune"] = fine_tune
    params = check_run_params(tiny_params, catalog, "test")
    with pytest.raises(
        ReidError,
        match=r"^train\.freeze: the rules leave no parameter to train in the first epoch$",
    ):
        check_on_meta(params, catalog)


@pytest.mark.parametrize(
    "train", [{"freeze": [{"match": "model.backbone.*", "epochs": 1}]}, {"fine_tune": True}]
)
def test_losses_that_depend_on_frozen_parameters_alone_are_an_error(
    tiny_catalog, tiny_params, train
):
    # The triplet loss takes the feature before the neck; the neck is trained and not used.
    changes = {"backbone": {"name": "tiny"}, "loss": [{"name": "triplet"}], "evaluation": []}
    raw = {**tiny_params, **changes, "train": {**tiny_params["train"], **train}}
    with pytest.raises(
        ReidError,
        match=r"^train\.freeze: the losses \(triplet\) depend on no parameter that is trained in "
        r"epoch 1; leave a part that they use out of 'train\.freeze' and 'train\.fine_tune'$",
    ):
        start_train(check_run_params(raw, tiny_catalog, "test"), tiny_catalog, "run")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"match": "*", "epochs": 0}, "train.freeze.0.epochs: "),
        ({"match": "*"}, "train.freeze.0.epochs: "),
        ({"match": "*", "epochs": 1.5}, "train.freeze.0.epochs: "),
        ({"epochs": 1}, "train.freeze.0.match: "),
        ({"match": "*", "epochs": 1, "until": 3}, "train.freeze.0.until: "),
    ],
)
def test_an_impossible_rule_is_named(catalog, tiny_params, rule, problem):
    tiny_params["train"]["freeze"] = [rule]
    with pytest.raises(ReidError) as error:
        check_run_params(tiny_params, catalog, "test")
    assert [p.startswith(problem) for p in error.value.problems] == [True]
