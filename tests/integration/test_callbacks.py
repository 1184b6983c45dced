"""Callbacks in real runs: pseudo labels, an early end, state that comes back, and mistakes."""

import importlib.util
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_core import Component, ReidError, hookimpl
from reid_core.contracts import Callback
from reid_core.params.validation import check_run_params
from reid_core.runs.run import Run
from reid_core.runs.start_and_resume import resume_train, start_train
from tests.support.killed_runs import Killed, lines_of

CLONE = Path(__file__).resolve().parents[2]
STEPS = 3

pytestmark = pytest.mark.usefixtures("one_thread")


def load_example(name):
    module = name.replace("-", "_")
    spec = importlib.util.spec_from_file_location(module, CLONE / f"examples/{name}/{module}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class Offered:
    """A plugin of callbacks by name, made when they are built."""

    def __init__(self, **callbacks):
        self.callbacks = callbacks

    @hookimpl
    def reid_callback(self):
        return [
            Component(name=name, build=lambda params, make=make: make(), summary="-")
            for name, make in self.callbacks.items()
        ]


@pytest.fixture
def params_of(tiny_params):
    """A function: the params of a tiny training with some callbacks."""

    def make(catalog, *callbacks, epochs=4, **changes):
        raw = {
            **tiny_params,
            "backbone": {"name": "tiny"},
            "sampler": {"name": "class_balanced", "params": {"P": 2, "K": 2}},
            "callback": [{"name": c} if isinstance(c, str) else c for c in callbacks],
        }
        raw |= changes
        raw["train"] = {
            **tiny_params["train"],
            "epochs": epochs,
            "steps_per_epoch": STEPS,
            "log_every": 1,
            **changes.get("train", {}),
        }
        return check_run_params(raw, catalog, "params.json")

    return make


# ---- pseudo labels ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster_contrast():
    return load_example("reid-cluster-contrast")


@pytest.fixture
def unsupervised(catalog_with, cluster_contrast, params_of):
    """A catalog with the example and the params of a training by it."""
    catalog = catalog_with(cluster_contrast)
    labels = {"name": "cluster_labels", "params": {"rho": 0.12, "min_samples": 2}}
    losses = [{"name": "cluster_memory"}, {"name": "softmax"}]
    return catalog, params_of(catalog, labels, loss=losses)


@pytest.mark.parametrize("stop", [2, 3, 4, 7, 9, 11])
@pytest.mark.parametrize("saves", [False, True])
def test_a_relabelled_run_that_was_stopped_ends_with_the_same_bytes(
    unsupervised, tmp_path, monkeypatch, stop, saves
):
    catalog, params = unsupervised
    whole = start_train(params, catalog, "whole")
    clusters = [line["values"]["clusters"] for line in lines_of(whole, "callback")]
    assert len(clusters) == 4
    assert len(set(clusters)) > 1, "the number of identities must change for this to say anything"

    real, left = Run._after_step, [stop]

    def after_step(run):
        if left and run.state.step == left[0]:
            left.clear()
            if saves:
                run.save()
            raise Killed
        real(run)

    monkeypatch.setattr(Run, "_after_step", after_step)
    with suppress(Killed):
        start_train(params, catalog, "stopped")
    assert not left
    resumed = resume_train(tmp_path / "runs" / "stopped", catalog, params)
    assert lines_of(resumed) == lines_of(whole)
    assert resumed.last_weights.read_bytes() == whole.last_weights.read_bytes()
    assert resumed.best_weights.read_bytes() == whole.best_weights.read_bytes()


def test_images_without_a_cluster_are_left_out_and_losses_follow(unsupervised, tmp_path):
    catalog, params = unsupervised
    run = start_train(params, catalog, "run")
    content = torch.load(run.checkpoint, weights_only=True)
    labels = content["labels"]
    clusters = int(lines_of(run, "callback")[-1]["values"]["clusters"])
    assert (labels < 0).sum() == lines_of(run, "callback")[-1]["values"]["left_out"] > 0
    assert int(labels.max()) + 1 == clusters
    assert content["module"]["model.classifier.of_global.weight"].shape[0] == clusters
    memory = content["module"]["objectives.0.terms.0.modules_of_losses.0.memory"]
    assert memory.shape[0] == clusters
    assert torch.allclose(memory.norm(dim=1), torch.ones(clusters), atol=1e-5)


class Halves(Callback):
    """Gives the images two identities, or three, by their position."""

    def __init__(self, counts=(2, 3, 2), then=lambda context, labels: None):
        self.counts, self.then = counts, then

    def before_epoch(self, context):
        epoch = context.progress.epoch
        labels = np.arange(len(context.labels)) % self.counts[epoch % len(self.counts)]
        context.relabel(labels)
        self.then(context, labels)


def test_what_identities_make_is_new_and_all_else_goes_on(catalog_with, params_of, monkeypatch):
    seen = []

    def look(context, labels):
        training = context._training
        names = {id(p): name for name, p in training.module.named_parameters()}
        stateful = {names[id(p)] for p in training.optimizer.state}
        center = training.module.losses.terms[1].losses[0].centers
        classifier = context.model.classifier["global"].weight
        seen.append((stateful, center.shape[0], classifier.shape[0], classifier))
        assert np.array_equal(context.labels, labels)

    catalog = catalog_with(Offered(halves=lambda: Halves(then=look)))
    losses = [{"name": "softmax"}, {"name": "center"}]
    params = params_of(catalog, "halves", epochs=3, loss=losses, head=[{"name": "global"}])
    start_train(params, catalog, "run")
    (first, *_), (second, *_), (third, *_) = seen
    assert [sizes for _, *sizes, _ in seen] == [[2, 2], [3, 3], [2, 2]]
    assert first == set()
    kept = {n for n in second if n.startswith("model.backbone.")}
    assert kept
    assert second == third
    assert not any("classifier" in name for name in second)
    first, second, third = (
        classifier for *_, classifier in seen
    )  # kept, so that no id comes again
    assert len({id(first), id(second), id(third)}) == 3


def test_training_goes_over_all_steps_when_few_images_are_left(catalog_with, params_of):
    class Few(Callback):
        def before_epoch(self, context):
            labels = np.full(len(context.labels), -1)
            labels[:6] = np.arange(6) // 2
            context.relabel(labels)

    catalog = catalog_with(Offered(few=Few))
    sampler = {"name": "class_balanced", "params": {"P": 3, "K": 2}}
    params = params_of(catalog, "few", epochs=2, sampler=sampler)
    run = start_train(params, catalog, "run")
    assert [line["step"] for line in lines_of(run, "train")] == list(range(1, 2 * STEPS + 1))


BAD_LABELS = {
    "short": (lambda n: np.zeros(n - 1, np.int64), "expected 24 whole numbers, one for each"),
    "real": (lambda n: np.zeros(n), "expected 24 whole numbers"),
    "table": (lambda n: np.zeros((n, 1), np.int64), "expected 24 whole numbers"),
    "gap": (lambda n: np.arange(n) % 2 * 2, "count from 0 without a gap"),
    "below": (lambda n: np.arange(n) - 2, "count from 0 without a gap"),
    "one": (lambda n: np.zeros(n, np.int64), "1 identities are left, with 0 of 24"),
    "none": (lambda n: np.full(n, -1), "0 identities are left, with 24 of 24"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_labels_that_cannot_be_trained_on_are_refused(catalog_with, params_of, case):
    make, message = BAD_LABELS[case]

    class Bad(Callback):
        def before_epoch(self, context):
            context.relabel(make(len(context.labels)))

    catalog = catalog_with(Offered(bad=Bad))
    with pytest.raises(ReidError, match=f"^callback .*: relabel: .*{message}"):
        start_train(params_of(catalog, "bad"), catalog, "run")


def test_only_before_an_epoch_may_images_be_relabelled(catalog_with, params_of):
    class Late(Callback):
        def after_epoch(self, context):
            context.relabel(np.arange(len(context.labels)) % 2)

    catalog = catalog_with(Offered(late=Late))
    with pytest.raises(ReidError, match=r"^callback .*: relabel: only 'before_epoch' may relabel"):
        start_train(params_of(catalog, "late"), catalog, "run")


def test_a_head_that_counts_identities_cannot_follow_unless_it_says_how(
    catalog_with, params_of, catalog
):
    from reid_core.contracts import Branch, BranchSpec, HeadOutput

    class Counting(torch.nn.Module):
        branches = (BranchSpec("all", 8, None, frozenset({"metric"})),)

        def forward(self, features):
            vector = features.map.mean(dim=(2, 3))
            return HeadOutput({"all": Branch(vector, vector)})

    class Telling(Counting):
        def set_classes(self, change):
            told.append(change.num_pids)

    told = []

    class Heads:
        @hookimpl
        def reid_head(self):
            return [
                Component(name=n, build=lambda params, *, num_pids, h=h: h(), summary="-")
                for n, h in (("counting", Counting), ("telling", Telling))
            ]

    catalog = catalog_with(Offered(halves=Halves), Heads())
    common = {"loss": [{"name": "triplet"}], "evaluation": []}
    params = params_of(catalog, "halves", head=[{"name": "counting"}], **common)
    with pytest.raises(ReidError, match="head 'counting' of local 0 is built for a number of id"):
        start_train(params, catalog, "counting")
    start_train(params_of(catalog, "halves", head=[{"name": "telling"}], **common), catalog, "t")
    assert told == [2, 3, 2, 2]


# ---- what a callback may look at --------------------------------------------------------


def test_features_of_all_training_images_come_in_the_order_of_the_batches(catalog_with, params_of):
    found = []

    class Look(Callback):
        def before_epoch(self, context):
            assert context.model.training is False or context.progress.epoch == 0
            mode = context.model.training
            features = context.extract(outputs=("embedding", "feature"))
            assert context.model.training is mode
            pids = [pid for _, pid in context._training.images.classes]
            expected = [pids[label] for label in context.labels]
            found.append((features.pids.tolist() == expected, features.values["embedding"].shape))
            query = context.extract("query", "synthetic_market")
            found.append((len(query) == 8, sorted(query.values)))

    catalog = catalog_with(Offered(look=Look))
    start_train(params_of(catalog, "look", epochs=1), catalog, "run")
    assert found == [(True, (24, 8)), (True, ["embedding"])]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("query",), "extract: without a target, the training images are meant; name the target"),
        (("query", "market"), r"extract: no target 'market'.*\(targets: synthetic_market\)"),
        (("train", None, "embedding"), "extract: outputs must be a list of names, got 'embedding'"),
        (("train", None, ("aux.uc",)), "needs the value 'uc' of a head"),
    ],
)
def test_what_cannot_be_extracted_is_said(catalog_with, params_of, arguments, message):
    class Wrong(Callback):
        def after_epoch(self, context):
            context.extract(*arguments)

    catalog = catalog_with(Offered(wrong=Wrong))
    with pytest.raises(ReidError, match=message):
        start_train(params_of(catalog, "wrong"), catalog, "run")


def test_numbers_of_a_callback_stand_in_the_record_and_only_numbers(catalog_with, params_of):
    class Note(Callback):
        def after_epoch(self, context):
            context.log({"spread": 0.5})
            context.log({"broken": float("nan")})

    catalog = catalog_with(Offered(note=Note))
    text = r"callback 'note' of .*: log: expected finite numbers by name, got 'brok"
    with pytest.raises(ReidError, match=text):
        start_train(params_of(catalog, "note"), catalog, "run")


# ---- the end of a training --------------------------------------------------------------


def test_a_score_that_does_not_rise_ends_the_training_as_its_last_epoch_would(
    catalog_with, params_of, capsys
):
    catalog = catalog_with()
    stopping = {"name": "early_stopping", "params": {"patience": 1, "min_delta": 0.9}}
    params = params_of(catalog, stopping, epochs=9, train={"evaluate_every": 1})
    run = start_train(params, catalog, "run")
    out = capsys.readouterr().out
    assert "callback 'early_stopping' ends the training after epoch 2" in out
    assert [line["epoch"] for line in lines_of(run, "evaluation")] == [1, 2]
    assert run.last_weights.is_file()
    assert run.best_weights.is_file()
    # The last scores come with the whole card, those before in short.
    assert out.count("junk_rule: cross_camera: images of the query's pid") == 1
    assert (run.evaluations / "last-market_evaluate-synthetic_market.json").is_file()

    before = run.metrics.read_bytes()
    resume_train(run.path, catalog, params)
    assert run.metrics.read_bytes() == before


def test_the_count_of_early_stopping_survives_a_resume(
    catalog_with, params_of, tmp_path, monkeypatch
):
    catalog = catalog_with()
    stopping = {"name": "early_stopping", "params": {"patience": 2, "min_delta": 0.9}}
    params = params_of(catalog, stopping, epochs=9, train={"evaluate_every": 1})
    whole = start_train(params, catalog, "whole")
    real, left = Run._after_step, [2 * STEPS + 1]

    def after_step(run):
        if left and run.state.step == left[0]:
            left.clear()
            raise Killed
        real(run)

    monkeypatch.setattr(Run, "_after_step", after_step)
    with suppress(Killed):
        start_train(params, catalog, "stopped")
    resumed = resume_train(tmp_path / "runs" / "stopped", catalog, params)
    assert lines_of(resumed) == lines_of(whole)
    assert [line["epoch"] for line in lines_of(whole, "evaluation")] == [1, 2, 3]


def test_a_callback_may_end_a_training_after_an_epoch_and_it_is_scored(catalog_with, params_of):
    class Enough(Callback):
        def after_epoch(self, context):
            return context.progress.epoch == 2

    catalog = catalog_with(Offered(enough=Enough))
    run = start_train(params_of(catalog, "enough", epochs=9), catalog, "run")
    assert [line["epoch"] for line in lines_of(run, "evaluation")] == [2]
    assert run.last_weights.is_file()


def test_a_metric_that_is_not_there_is_named(catalog_with, params_of):
    catalog = catalog_with()
    stopping = {"name": "early_stopping", "params": {"metric": "rank_1"}}
    params = params_of(catalog, stopping, train={"evaluate_every": 1})
    with pytest.raises(ReidError, match=r"'metric': the first evaluation has no 'rank_1'; did "):
        start_train(params, catalog, "run")


# ---- mistakes of callbacks --------------------------------------------------------------


class Misspelt(Callback):
    def after_epochs(self, context):
        pass


class Idle(Callback):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Forgetful(Callback):
    def before_epoch(self, context):
        pass

    def state_dict(self):
        return {}


class Arrays(Callback):
    def before_epoch(self, context):
        pass

    def state_dict(self):
        return {"memory": [np.zeros(2)]}

    def load_state_dict(self, state):
        pass


class Wordy(Callback):
    def after_epoch(self, context):
        return "no"


class Raising(Callback):
    def before_epoch(self, context):
        raise ZeroDivisionError("no luck")


class Leaving(Callback):
    def before_epoch(self, context):
        raise SystemExit(0)


class OneArgumentShort(Callback):
    def after_epoch(self):
        pass


MISTAKES = {
    "short": (OneArgumentShort, r"defines after_epoch\(\); it is called with \(context\)"),
    "misspelt": (Misspelt, r"defines 'after_epochs', which is never called; did you mean 'after_e"),
    "idle": (Idle, "which defines none of after_epoch, after_evaluation, before_epoch"),
    "forgetful": (Forgetful, "defines one of 'state_dict' and 'load_state_dict'; it needs both"),
    "number": (lambda: 3, "was built as 3, which defines none of after_epoch"),
    "arrays": (Arrays, r"keeps a ndarray in state_dict\(\)\['memory'\]\[0\]; expected tensors"),
    "wordy": (Wordy, "returned 'no' from after_epoch; expected True, False or None"),
    "raising": (Raising, r"failed before an epoch: ZeroDivisionError: no luck \(test_callbacks"),
    "leaving": (Leaving, "failed before an epoch: SystemExit: 0"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_of_a_callback_names_it_and_its_package(catalog_with, params_of, case):
    make, message = MISTAKES[case]
    catalog = catalog_with(Offered(wrong=make))
    with pytest.raises(ReidError, match=f"^callback 'wrong' of local 0 .*{message}"):
        start_train(params_of(catalog, "wrong"), catalog, "run")


# ---- losses and objectives --------------------------------------------------------------


def test_an_objective_keeps_what_is_not_trained(catalog_with, params_of):
    from reid_core import ObjectiveComponent
    from reid_core.contracts import Term

    class Taught(torch.nn.Module):
        untrained = ("teacher",)

        def __init__(self, build_model):
            super().__init__()
            self.teacher = build_model()

        def forward(self, step):
            assert not self.teacher.training
            target = self.teacher(step.batch.images).embedding
            return {"taught": Term((step.outputs.embedding - target).square().mean())}

    class Plugin:
        @hookimpl
        def reid_objective(self):
            def build(params, *, build_model):
                return Taught(build_model)

            return [ObjectiveComponent(name="taught", build=build, summary="-")]

    catalog = catalog_with(Plugin())
    params = params_of(catalog, objective=[{"name": "taught"}], loss=[], epochs=1)
    run = start_train(params, catalog, "run")
    module = torch.load(run.checkpoint, weights_only=True)["module"]
    teacher = {n.split("teacher.")[1]: t for n, t in module.items() if "teacher." in n}
    assert "backbone.conv.weight" in teacher
    assert not torch.equal(teacher["backbone.conv.weight"], module["model.backbone.conv.weight"])
    # A teacher in training mode would have changed its statistics, and one in the optimizer itself.
    assert torch.equal(teacher["backbone.bn.running_mean"], torch.zeros(8))


def test_what_is_no_submodule_cannot_be_left_untrained(catalog_with, params_of):
    from reid_core import ObjectiveComponent
    from reid_core.contracts import Term

    class Odd(torch.nn.Module):
        untrained = ("teacher",)

        def forward(self, step):
            return {"odd": Term(step.outputs.embedding.mean())}

    class Plugin:
        @hookimpl
        def reid_objective(self):
            return [ObjectiveComponent(name="odd", build=lambda params: Odd(), summary="-")]

    catalog = catalog_with(Plugin())
    params = params_of(catalog, objective=[{"name": "odd"}], loss=[])
    with pytest.raises(ReidError, match="objective 'odd' of local 0 declares 'teacher' as untrain"):
        start_train(params, catalog, "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": []}, "loss: needs 1 or more, because the objective 'supervised' sums them"),
        (
            {"objective": [{"name": "distillation", "params": {"teacher": "x", "terms": {}}}]},
            "give at least one of",
        ),
    ],
)
def test_losses_and_objectives_must_go_together(tiny_params, catalog, changes, message):
    with pytest.raises(ReidError, match=message):
        check_run_params(tiny_params | changes, catalog, "params.json")


def test_losses_that_nobody_reads_are_an_error(tiny_params, catalog):
    terms = {"distances": {"weight": 1.0}}
    taught = {"name": "distillation", "params": {"teacher": "x", "terms": terms}}
    with pytest.raises(ReidError, match="loss: no objective reads the losses; add the objective"):
        check_run_params(tiny_params | {"objective": [taught]}, catalog, "params.json")
    without = tiny_params | {"objective": [taught], "loss": []}
    assert check_run_params(without, catalog, "p").loss == []


def test_two_devices_in_two_places_are_refused(tiny_params, catalog):
    raw = tiny_params | {"compute": {"device": "cuda:1"}}
    with pytest.raises(ReidError, match=r"'train\.device' is 'cpu' and 'compute\.device' is"):
        check_run_params(raw, catalog, "params.json")
    raw["compute"] = {"device": "cpu"}
    assert check_run_params(raw, catalog, "p").device == "cpu"
