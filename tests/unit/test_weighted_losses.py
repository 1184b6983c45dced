"""How the core applies losses: to which branches, in which form, joined how, and told what."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

from reid_core import Component, LossComponent, ObjectiveComponent, ReidError, hookimpl
from reid_core.contracts import Batch, LossOutput, Progress, Term
from reid_core.data.training_images import TrainingImages
from reid_core.params.validation import check_run_params
from reid_core.storage.dataset_stores import Stores
from reid_core.training.assembly import build_training
from reid_core.training.build_module import ModuleBuilder
from reid_core.training.loop import train_one_epoch
from reid_core.training.state import TrainState
from reid_core.training.weighted_losses import kept_branches

PIDS = torch.tensor([0, 0, 1, 1, 2, 2])
ZEROS = torch.zeros(6, dtype=torch.int64)
BATCH = Batch(
    torch.randn(6, 3, 32, 16, generator=torch.Generator().manual_seed(0)), PIDS, *[ZEROS] * 3
)


def seen_by(loss):
    """Return a plugin with the loss 'probe' (a function) under several declarations."""
    declared = {
        "probe": {"role": "metric"},
        "id_probe": {"role": "id", "on": "embedding", "normalize": True},
        "class_probe": {"role": "metric", "needs": frozenset({"classifier"}), "reads": ("uc",)},
    }

    class Plugin:
        @hookimpl
        def reid_loss(self):
            return [
                LossComponent(
                    name=name, build=lambda params, *, branch: loss(branch), summary="-", **d
                )
                for name, d in declared.items()
            ]

    return Plugin()


class Recorder:
    """A loss that notes what it is given; its value is the mean of the features."""

    def __init__(self):
        self.seen = []

    def __call__(self, branch):
        def loss(x):
            self.seen.append((branch.name, x))
            return LossOutput(x.features.mean(), {"size": torch.tensor(float(x.features.shape[1]))})

        return loss


def module_of(tiny_params, catalog, losses, heads=None, **changes):
    heads = heads or [
        {"name": "global", "params": {"embedding_dim": 4}},
        {"name": "global", "alias": "b", "params": {"embedding_dim": 6}},
    ]
    raw = {**tiny_params, "backbone": {"name": "tiny"}, "head": heads, "loss": losses, **changes}
    params = check_run_params(raw, catalog, "test")
    torch.manual_seed(0)
    module = ModuleBuilder(params, catalog).module(3)
    return module


def probed(tiny_params, catalog_with, losses, heads=None):
    """Return the module, and what its losses saw of one batch."""
    recorder = Recorder()
    module = module_of(tiny_params, catalog_with(seen_by(recorder)), losses, heads)
    result = module(BATCH)
    return module, result, recorder.seen


PCB = [{"name": "pcb", "params": {"parts": 2, "part_dim": 4, "global_dim": 3, "dropout": 0.0}}]


# ---- which branches ---------------------------------------------------------------------


def test_without_a_glob_a_loss_takes_the_branches_of_its_role(tiny_params, catalog_with):
    _, _, seen = probed(tiny_params, catalog_with, [{"name": "probe"}], PCB)
    assert [name for name, _ in seen] == ["parts", "global"]
    _, _, seen = probed(tiny_params, catalog_with, [{"name": "id_probe"}], PCB)
    assert [name for name, _ in seen] == ["stripe_0", "stripe_1", "global"]


def test_globs_choose_branches_whatever_their_role(tiny_params, catalog_with):
    _, _, seen = probed(tiny_params, catalog_with, [{"name": "probe", "branches": "stripe_*"}], PCB)
    assert [name for name, _ in seen] == ["stripe_0", "stripe_1"]
    _, _, seen = probed(
        tiny_params, catalog_with, [{"name": "probe", "branches": ["glob*", "*_1"]}], PCB
    )
    assert [name for name, _ in seen] == ["stripe_1", "global"]


def test_a_glob_without_a_match_lists_the_branches(tiny_params, catalog_with):
    with pytest.raises(
        ReidError,
        match=r"loss\.1\.branches: 'stripes_0' matches no branch; did you mean 'stripe_0'\? "
        r"\(branches: stripe_0, stripe_1, parts, global\)",
    ):
        probed(
            tiny_params,
            catalog_with,
            [{"name": "probe"}, {"name": "probe", "branches": "stripes_0"}],
            PCB,
        )


def test_every_glob_must_match(tiny_params, catalog_with):
    with pytest.raises(ReidError, match=r"loss\.0\.branches: 'zzz' matches no branch \(branches:"):
        probed(tiny_params, catalog_with, [{"name": "probe", "branches": ["global", "zzz"]}], PCB)


def test_a_role_that_no_branch_has_is_an_error(tiny_params, catalog_with):
    from reid_plugins.head._pcb import PCBHead

    class Stripes(PCBHead):
        def __init__(self):
            super().__init__(8, parts=2, part_dim=4, global_dim=0)
            self.branches = tuple(replace(b, roles=frozenset({"id"})) for b in self.branches)

    class Plugin:
        @hookimpl
        def reid_head(self):
            return [Component(name="stripes", build=lambda params: Stripes(), summary="-")]

    catalog = catalog_with(seen_by(Recorder()), Plugin())
    heads = [{"name": "stripes"}]
    with pytest.raises(ReidError, match=r"loss\.0: no branch has the role 'metric' that it takes"):
        module_of(tiny_params, catalog, [{"name": "probe"}], heads)


def test_a_loss_that_needs_a_classifier_refuses_a_branch_without_one(tiny_params, catalog_with):
    with pytest.raises(
        ReidError, match=r"loss\.0: 'class_probe' needs a classifier, and branch 'p"
    ):
        probed(tiny_params, catalog_with, [{"name": "class_probe", "branches": "parts"}], PCB)


def test_losses_of_one_name_are_numbered(tiny_params, catalog_with):
    _, result, _ = probed(
        tiny_params, catalog_with, [{"name": "probe"}, {"name": "probe", "weight": 0.5}]
    )
    assert list(result.losses) == ["probe", "probe_2"]
    torch.testing.assert_close(result.total, 1.5 * result.losses["probe"])


# ---- in which form ----------------------------------------------------------------------


def test_the_declared_input_is_before_the_neck_and_raw_or_after_it_and_normalised(
    tiny_params, catalog_with
):
    module, _, seen = probed(tiny_params, catalog_with, [{"name": "probe"}, {"name": "id_probe"}])
    output = module.model(BATCH.images)
    (_, plain), _, (_, normal), _ = seen
    torch.testing.assert_close(plain.features, output.branches["global"].feature)
    after = output.branches["global"].embedding
    torch.testing.assert_close(normal.features, after / after.norm(dim=1, keepdim=True))


def test_the_params_override_the_declared_input(tiny_params, catalog_with):
    losses = [
        {"name": "probe", "on": "embedding", "normalize": True},
        {"name": "id_probe", "on": "feature", "normalize": False},
    ]
    module, _, seen = probed(tiny_params, catalog_with, losses)
    output = module.model(BATCH.images)
    (_, normal), _, (_, plain), _ = seen
    torch.testing.assert_close(plain.features, output.branches["global"].feature)
    torch.testing.assert_close(normal.features.norm(dim=1), torch.ones(6))


def test_weight_and_logits_are_handed_to_those_that_need_them(tiny_params, catalog_with):
    module, _, seen = probed(
        tiny_params, catalog_with, [{"name": "class_probe"}, {"name": "probe"}]
    )
    (_, first), (_, second), (_, plain), _ = seen
    assert torch.equal(first.weight, module.model.classifier["global"].weight)
    assert torch.equal(second.weight, module.model.classifier["b_global"].weight)
    assert first.logits.shape == second.logits.shape == (6, 3)
    assert plain.weight is None
    assert plain.logits is None
    assert torch.equal(plain.pids, PIDS)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("on", ["feature", "embedding"])
def test_the_logits_are_the_classifier_s_of_what_the_loss_sees(
    tiny_params, catalog_with, on, normalize, bias
):
    recorder = Recorder()
    losses = [{"name": "class_probe", "on": on, "normalize": normalize}]
    catalog, classifier = catalog_with(seen_by(recorder)), {"bias": bias}
    module = module_of(tiny_params, catalog, losses, classifier=classifier)
    for parameter in module.model.classifier.parameters():
        nn.init.normal_(parameter)
    module(BATCH)
    output = module.model(BATCH.images)
    assert [name for name, _ in recorder.seen] == ["global", "b_global"]
    for name, given in recorder.seen:
        layer, branch = module.model.classifier[name], output.branches[name]
        rows = getattr(branch, on).double()
        if normalize:
            rows = rows / (rows**2).sum(dim=1, keepdim=True).sqrt()
        expected = rows @ layer.weight.double().T + (layer.bias.double() if bias else 0.0)
        torch.testing.assert_close(given.logits.double(), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(given.features.double(), rows, rtol=1e-5, atol=1e-6)
        assert torch.equal(given.weight, layer.weight)
        raw = output.logits[name].double()  # of the embedding as it is
        assert torch.allclose(raw, expected, atol=1e-2) == (on == "embedding" and not normalize)


def test_losses_see_float32_outside_autocast(tiny_params, catalog_with):
    dtypes, inside = set(), []

    def loss(branch):
        def compute(x):
            dtypes.update(t.dtype for t in (x.features, x.weight, x.logits, x.aux["uc"]))
            inside.append(torch.is_autocast_enabled("cpu"))
            return LossOutput((x.features @ x.features.T).mean())

        return compute

    catalog = catalog_with(seen_by(loss))
    module = module_of(tiny_params, catalog, [{"name": "class_probe"}])
    original = module.model.forward

    def with_aux(images, side):
        output = original(images, side)
        assert output.logits["global"].dtype == torch.bfloat16
        return replace(output, aux={"uc": output.logits["global"][:, 0]})

    module.model.forward = with_aux
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = module(BATCH)
    assert dtypes == {torch.float32}
    assert inside == [False, False]
    assert result.total.dtype == torch.float32


# ---- pairs ----------------------------------------------------------------------------------


PAIR_ERRORS = {
    "positive": r"^loss: triplet compares different images of one identity, and no identity has "
    r"two of the first batch's 3; use the sampler 'class_balanced' with K >= 2 and data with",
    "negative": r"^loss: triplet compares images of different identities, and the first batch has "
    r"one identity; use the sampler 'class_balanced' with P >= 2 and data with several identities$",
}


@pytest.mark.parametrize(
    ("images_of_each", "p", "losses", "lacks"),
    [
        ([1, 1, 1], 3, ["softmax", "triplet"], "positive"),  # each image is repeated: no pair
        ([1, 1, 1], 3, ["softmax", "instance", "center"], None),
        ([1, 1, 2], 3, ["triplet"], None),
        ([2, 2, 2], 3, ["triplet"], None),
        ([2, 2, 2], 1, ["triplet"], "negative"),
        ([2, 2, 2], 1, ["softmax", "center"], None),
    ],
)
def test_a_first_batch_without_the_pairs_that_a_loss_compares_is_refused(
    tiny_params, catalog_with, tmp_path, images_of_each, p, losses, lacks
):
    for person, count in enumerate(images_of_each):
        folder = tmp_path / "data" / "train" / str(person)
        folder.mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (16, 32), (60 * person, 40 * i, 0)).save(folder / f"{i}.png")
    catalog = catalog_with()
    data = {"name": "image_folder", "params": {"root": str(tmp_path / "data")}}
    raw = {**tiny_params, "data": {"train": [data]}, "backbone": {"name": "tiny"}}
    raw["loss"] = [{"name": name} for name in losses]
    raw["sampler"] = {"name": "class_balanced", "params": {"P": p, "K": 2}}
    params = check_run_params(raw, catalog, "test")
    store = Stores(tmp_path / "runs").open(params.data.train[0])
    images = TrainingImages.of([("people", store)])
    if lacks:
        with pytest.raises(ReidError, match=PAIR_ERRORS[lacks]):
            build_training(params, catalog, images, None, torch.device("cpu"))
    else:
        assert (
            build_training(params, catalog, images, None, torch.device("cpu")).images_per_step
            == 2 * p
        )


# ---- joined -----------------------------------------------------------------------------


@pytest.mark.parametrize("reduce", ["mean", "sum", "max"])
def test_the_values_of_branches_are_reduced_as_asked(tiny_params, catalog_with, reduce):
    _, result, seen = probed(tiny_params, catalog_with, [{"name": "probe", "reduce": reduce}])
    values = torch.stack([x.features.mean() for _, x in seen])
    torch.testing.assert_close(result.losses["probe"], getattr(values, reduce)())


def test_monitors_are_means_over_the_branches(tiny_params, catalog_with):
    _, result, _ = probed(tiny_params, catalog_with, [{"name": "probe"}])
    assert float(result.monitors["probe.size"]) == 5.0  # of 4 and 6


def test_a_weight_of_zero_keeps_the_loss_as_a_monitor(tiny_params, catalog_with):
    _, result, _ = probed(
        tiny_params, catalog_with, [{"name": "probe"}, {"name": "id_probe", "weight": 0.0}]
    )
    torch.testing.assert_close(result.total, result.losses["probe"])
    assert set(result.losses) == {"probe", "id_probe"}


def test_the_identity_accuracy_is_a_monitor_of_its_own(tiny_params, tiny_catalog):
    module = module_of(tiny_params, tiny_catalog, [{"name": "softmax"}, {"name": "triplet"}])
    result = module(BATCH)
    monitors = result.monitors
    assert result.accuracy == monitors["accuracy"] == monitors["softmax.accuracy"]
    assert all(not value.requires_grad for value in monitors.values())


class Recognition:
    """A loss that tells an accuracy as the field, as a monitor of that name, or as both."""

    def __init__(self, monitor=None, field=None):
        self.monitor, self.field = monitor, field

    def __call__(self, x):
        attached = x.features.mean()
        monitors = {} if self.monitor is None else {"accuracy": attached * 0 + self.monitor}
        accuracy = None if self.field is None else attached * 0 + self.field
        return LossOutput(attached, monitors, accuracy)


def recognising(tiny_params, catalog_with, *, probe, id_probe):
    """Return a module with two losses, each on two branches."""
    built = iter([probe, probe, id_probe, id_probe])
    catalog = catalog_with(seen_by(lambda branch: next(built)))
    return module_of(tiny_params, catalog, [{"name": "probe"}, {"name": "id_probe"}])


def test_a_monitor_that_is_called_accuracy_does_not_drive_the_progress(
    train, tiny_params, catalog_with
):
    losses = {"probe": Recognition(monitor=1.0), "id_probe": Recognition(field=0.25)}
    module = recognising(tiny_params, catalog_with, **losses)
    result = module(BATCH)
    assert float(result.accuracy) == float(result.monitors["accuracy"]) == 0.25
    assert float(result.monitors["probe.accuracy"]) == 1.0  # logged as every monitor is
    state, _ = train(module, steps=10)
    assert state.accuracy == pytest.approx(0.25)


def test_without_the_field_there_is_no_accuracy(train, tiny_params, catalog_with):
    losses = {"probe": Recognition(monitor=1.0), "id_probe": Recognition()}
    module = recognising(tiny_params, catalog_with, **losses)
    result = module(BATCH)
    assert result.accuracy is None
    assert "accuracy" not in result.monitors
    state, _ = train(module, steps=10)
    assert state.accuracy == 0.0


def test_the_accuracy_is_the_mean_over_the_losses_that_have_one(tiny_params, catalog_with):
    losses = {"probe": Recognition(field=1.0), "id_probe": Recognition(field=0.5)}
    result = recognising(tiny_params, catalog_with, **losses)(BATCH)
    assert float(result.accuracy) == 0.75
    assert [float(result.monitors[f"{name}.accuracy"]) for name in losses] == [1.0, 0.5]


def test_an_objective_tells_its_accuracy_by_the_same_field(tiny_params, catalog_with):
    class Objectives:
        @hookimpl
        def reid_objective(self):
            def objective(step):
                return {"own": Term(step.outputs.embedding.mean(), accuracy=torch.tensor(0.5))}

            return [ObjectiveComponent(name="own", build=lambda params: objective, summary="-")]

    catalog = catalog_with(seen_by(Recorder()), Objectives())
    module = module_of(tiny_params, catalog, [], objective=[{"name": "own"}])
    assert float(module(BATCH).accuracy) == float(module(BATCH).monitors["own.accuracy"]) == 0.5


def test_an_accuracy_and_a_monitor_of_its_name_are_refused(tiny_params, catalog_with):
    losses = {"probe": Recognition(), "id_probe": Recognition(monitor=1.0, field=0.25)}
    module = recognising(tiny_params, catalog_with, **losses)
    with pytest.raises(ReidError, match=r"loss 'id_probe' of .* gives an accuracy and a mon"):
        module(BATCH)


@pytest.mark.parametrize(
    ("count", "draws", "mean"),
    # The empty complement, which keeps one branch, has the probabilities 0, 0.96875, 0.01543.
    [(7, 6, 2.776), (2, 6, 0.03125 + 0.96875), (6, 6, 2.009 + 0.01543)],
)
def test_random_keep_has_the_known_statistics(count, draws, mean):
    generator = torch.Generator().manual_seed(0)
    kept = torch.stack([kept_branches(count, draws, generator) for _ in range(10_000)])
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert (kept.sum(1) >= 1).all()
    assert abs(float(kept.sum(1).mean()) - mean) < 0.04
    torch.testing.assert_close(kept.mean(0), torch.full((count,), mean / count), atol=0.03, rtol=0)


RANDOM_KEEP = {"name": "softmax", "reduce": {"name": "random_keep", "draws": 2}}


def classifier_gradients(module, progress):
    """Return which classifiers get a gradient other than zero in a step; all must get one."""
    module.zero_grad(set_to_none=True)
    module.set_progress(progress)
    module(BATCH).total.backward()
    assert all(p.grad is not None for p in module.model.classifier.parameters())
    # "parts" has the values of the stripes, so every reduction takes part as well.
    assert all(p.grad is not None for p in module.model.heads.parameters() if p.requires_grad)
    return tuple(
        bool(layer.weight.grad.any()) for _, layer in sorted(module.model.classifier.items())
    )


def test_random_keep_trains_other_branches_in_other_steps_and_leaves_no_gradient_out(
    tiny_params, tiny_catalog
):
    module = module_of(tiny_params, tiny_catalog, [RANDOM_KEEP], PCB)
    start = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=100, seed=3)
    drawn = [classifier_gradients(module, replace(start, step=step)) for step in range(12)]
    assert len(set(drawn)) > 2
    assert all(any(kept) and not all(kept) for kept in drawn)


def test_the_draw_of_a_step_depends_on_seed_step_and_loss_alone(tiny_params, tiny_catalog):
    module = module_of(tiny_params, tiny_catalog, [RANDOM_KEEP], PCB)
    start = Progress(epoch=0, epochs=1, step=0, steps_per_epoch=100, seed=3)
    first = [classifier_gradients(module, replace(start, step=s)) for s in range(8)]
    torch.manual_seed(99)
    other_place = module_of(tiny_params, tiny_catalog, [RANDOM_KEEP], PCB)
    torch.rand(17)
    assert first == [classifier_gradients(other_place, replace(start, step=s)) for s in range(8)]
    seeded = replace(start, seed=4)
    assert first != [classifier_gradients(module, replace(seeded, step=s)) for s in range(8)]
    both = [RANDOM_KEEP, {**RANDOM_KEEP, "branches": "stripe_*"}]
    names = [
        term.name for term in module_of(tiny_params, tiny_catalog, both, PCB).objectives[0].terms
    ]
    states = {start.generator(name).initial_seed() for name in names}
    assert len(states) == 2


def test_the_kept_losses_are_summed(tiny_params, catalog_with):
    module, _, seen = probed(
        tiny_params,
        catalog_with,
        [{"name": "probe", "reduce": {"name": "random_keep", "draws": 1}}],
    )
    kept = kept_branches(2, 1, module.progress.generator("probe"))
    values = torch.stack([x.features.mean() for _, x in seen])
    torch.testing.assert_close(module(BATCH).losses["probe"], (values * kept).sum())


def test_a_dropped_branch_of_max_still_has_a_gradient_of_zero(tiny_params, tiny_catalog):
    module = module_of(tiny_params, tiny_catalog, [{"name": "softmax", "reduce": "max"}], PCB)
    module(BATCH).total.backward()
    gradients = [layer.weight.grad for layer in module.model.classifier.values()]
    assert all(g is not None for g in gradients)
    assert sum(bool(g.any()) for g in gradients) == 1


# ---- told what --------------------------------------------------------------------------


class Listener(nn.Module):
    """A loss module, or an objective, that notes what it is told."""

    def __init__(self):
        super().__init__()
        self.told, self.steps = [], 0
        self.register_buffer("count", torch.zeros(()))

    def set_progress(self, progress):
        self.told.append(progress.step)

    def after_step(self):
        self.count += 1

    def forward(self, x):
        return LossOutput(x.features.mean())


class PlainListener:
    """The same as plain objects."""

    def __init__(self, value):
        self.told, self.updates, self.value = [], 0, value

    def set_progress(self, progress):
        self.told.append(progress.step)

    def after_step(self):
        self.updates += 1

    def __call__(self, x):
        return self.value(x)


@pytest.fixture
def train(training_of):
    """A function: run one epoch over the same batch; return what was reported."""

    def run(module, steps=3, schedule=lambda progress, history: 1.0):
        reports = []
        parameters = [{"params": list(module.parameters()), "initial_lr": 0.1, "role": "new"}]
        training = training_of(
            module,
            torch.optim.SGD(parameters, lr=0.1),
            [BATCH] * steps,
            steps=steps,
            schedule=schedule,
        )
        train_one_epoch(
            training, lambda progress, result, rates: reports.append((progress.step, rates["new"]))
        )
        return training.state, reports

    return run


def test_losses_and_objectives_of_both_sorts_are_told_the_progress_and_the_end_of_a_step(
    train,
    tiny_params,
    catalog_with,
):
    module_loss, plain_loss = Listener(), PlainListener(lambda x: LossOutput(x.features.mean()))
    losses = iter([module_loss, plain_loss])

    def objective_value(step):
        return {"extra": Term(step.outputs.embedding.mean(), weight=2.0)}

    plain_objective = PlainListener(objective_value)

    class Objectives:
        @hookimpl
        def reid_objective(self):
            return [
                ObjectiveComponent(name="plain", build=lambda params: plain_objective, summary="-")
            ]

    catalog = catalog_with(seen_by(lambda branch: next(losses)), Objectives())
    objectives = [{"name": "supervised"}, {"name": "plain"}]
    module = module_of(tiny_params, catalog, [{"name": "probe"}], objective=objectives)
    state, reports = train(module)
    assert [step for step, _ in reports] == [0, 1, 2]
    for part in (module_loss, plain_loss, plain_objective):
        assert part.told == [0, 1, 2]
    assert float(module_loss.count) == plain_loss.updates == plain_objective.updates == 3
    assert any(name.endswith("count") for name in module.state_dict())
    result = module(BATCH)
    torch.testing.assert_close(result.total, result.losses["probe"] + 2 * result.losses["extra"])
    assert (state.epoch, state.step, state.position) == (1, 3, 0)


def test_objectives_see_the_progress_of_the_step(train, tiny_params, catalog_with):
    steps = []

    class Objectives:
        @hookimpl
        def reid_objective(self):
            def objective(step):
                steps.append((step.progress.epoch, step.progress.step, step.progress.accuracy))
                return {"x": Term(step.outputs.embedding.mean())}

            return [ObjectiveComponent(name="noting", build=lambda params: objective, summary="-")]

    catalog = catalog_with(seen_by(Recorder()), Objectives())
    losses, objective = [], [{"name": "noting"}]
    train(module_of(tiny_params, catalog, losses, objective=objective))
    assert steps == [(0, 0, 0.0), (0, 1, 0.0), (0, 2, 0.0)]


def test_the_schedule_sets_the_rate_of_each_step(train, tiny_params, tiny_catalog):
    module = module_of(tiny_params, tiny_catalog, [{"name": "triplet"}])
    _, reports = train(module, schedule=lambda progress, history: 0.5**progress.step)
    assert reports == [(0, 0.1), (1, 0.05), (2, 0.025)]


def test_the_running_accuracy_is_a_mean_that_forgets(tiny_params):
    state = TrainState()
    for value in (0.5, 1.0, *[1.0] * 8):
        state.advance(torch.tensor(value))
    expected = 0.5
    for _ in range(9):
        expected = 0.9 * expected + 0.1
    assert state.accuracy == pytest.approx(expected, abs=1e-6)
    state.advance(None)
    assert state.step == 11
