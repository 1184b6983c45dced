"""A teacher in a run: what it changes in the student, what it leaves alone, what is refused."""

import copy
import json
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reid_core import ReidError
from reid_core.cli import main
from reid_core.contracts import Progress, Step
from reid_core.data.training_images import TrainingImages
from reid_core.errors import ParamsError
from reid_core.evaluation.evaluate_command import run_evaluation
from reid_core.network.weights import read_weights
from reid_core.params.validation import check_eval_params, check_run_params
from reid_core.runs.start_and_resume import resume_train, start_train
from reid_core.storage.dataset_stores import Stores
from reid_core.training.assembly import build_training, check_on_meta
from reid_core.training.loop import train_one_epoch
from reid_plugins.command._pictures import draw_run
from reid_plugins.objective._teacher import check_student

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = Path(__file__).parents[2] / "params" / "distillation.json"
PEOPLE = {
    "train_identities": 12,
    "test_identities": 6,
    "cameras": 2,
    "train_images": 3,
    "distractors": 2,
    "junk": 2,
    "height": 32,
    "width": 16,
}
ALL = {
    "logits": {"weight": 1.0, "temperature": 2.0},
    "features": {"weight": 1.0, "measure": "cosine"},
    "distances": {"weight": 1.0},
    "similarities": {"weight": 10.0},
}
NAMES = [f"distillation_{name}" for name in ALL]
PCB = {"name": "pcb", "params": {"parts": 2, "part_dim": 4, "global_dim": 0}}
FEATURES = {"features": {"weight": 1.0}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The working directory of all runs."""
    return tmp_path_factory.mktemp("runs")


def raw_params(folder, **changes):
    """Return params of a small training; what is trained is fast to learn."""
    raw = {
        "data": {"train": [{"name": "synthetic_market", "params": PEOPLE}]},
        "backbone": {"name": "tiny"},
        "head": [{"name": "global"}],
        "loss": [{"name": "softmax"}, {"name": "triplet"}],
        "sampler": {"name": "class_balanced", "params": {"P": 8, "K": 3}},
        "augmentation": [
            {"name": "resize", "params": {"height": 32, "width": 16}},
            {"name": "normalize"},
            {"name": "flip"},
        ],
        "optimizer": {"name": "adam", "lr": 0.02},
        "train": {"epochs": 2, "seed": 0, "device": "cpu", "log_every": 1},
        "evaluation": [],
        "working_dir": str(folder),
    }
    return copy.deepcopy({**raw, **changes})


def taught(teacher, terms=ALL, **params):
    """Return the params' objective of a student."""
    given = {"teacher": str(teacher), "terms": terms, **params}
    return [{"name": "supervised"}, {"name": "distillation", "params": given}]


@pytest.fixture
def start(folder, tiny_catalog, request):
    """A function that trains; every test has runs of its own."""

    def run(name="run", **changes):
        params = check_run_params(raw_params(folder, **changes), tiny_catalog, "test")
        return start_train(params, tiny_catalog, f"{request.node.name}/{name}")

    return run


@pytest.fixture(scope="module")
def teacher(folder, tiny_catalog):
    """A trained run with a score; nobody may change it."""
    raw = raw_params(folder, evaluation=[{"name": "market_evaluate"}])
    raw["train"].update(epochs=20, seed=5)
    return start_train(check_run_params(raw, tiny_catalog, "test"), tiny_catalog, "teacher")


@pytest.fixture
def assemble(folder, tiny_catalog):
    """A function that builds a training and returns it, and torch's generator."""

    def training(**changes):
        params = check_run_params(raw_params(folder, **changes), tiny_catalog, "test")
        stores = Stores(Path(params.working_dir))
        images = TrainingImages.of([(e.label, stores.open(e)) for e in params.data.train])
        torch.manual_seed(params.train.seed)
        built = build_training(params, tiny_catalog, images, None, torch.device("cpu"))
        return built, torch.get_rng_state()

    return training


def params_of(run, catalog, **changes):
    return check_run_params({**json.loads(run.params.read_text()), **changes}, catalog, "test")


def steps_of(run):
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line for line in lines if line["kind"] == "train"]


def copied(weights, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(weights, path))


# ---- learning ---------------------------------------------------------------------------


@pytest.mark.parametrize(("supervised", "left"), [(True, 0.75), (False, 0.4)])
def test_a_student_comes_to_answer_like_its_teacher(start, teacher, supervised, left):
    objective = taught(teacher.path)[0 if supervised else 1 :]
    losses = {} if supervised else {"loss": []}
    run = start(objective=objective, train={**raw_params("")["train"], "epochs": 20}, **losses)
    steps = steps_of(run)
    assert list(steps[0]["losses"]) == (["softmax", "triplet"] if supervised else []) + NAMES
    begin, end = steps[: len(steps) // 20], steps[-len(steps) // 20 :]

    def means(part, group, names):
        return np.array([np.mean([step[group][name] for step in part]) for name in names])

    ratio = means(end, "losses", NAMES) / means(begin, "losses", NAMES)
    assert (ratio < left).all(), dict(zip(NAMES, ratio, strict=True))
    alike = [
        "distillation_logits.agreement",
        "distillation_features.cosine",
        "distillation_similarities.row_cosine",
    ]
    assert (means(end, "monitors", alike) > means(begin, "monitors", alike)).all()


def test_the_record_names_every_term_and_counts_it_with_its_weight(start, teacher, tiny_catalog):
    run = start(objective=taught(teacher.path))
    for line in steps_of(run):
        assert list(line["losses"]) == ["softmax", "triplet", *NAMES]
        weights = dict(zip(NAMES, (term["weight"] for term in ALL.values()), strict=True))
        total = sum(weights.get(name, 1.0) * value for name, value in line["losses"].items())
        assert line["total"] == pytest.approx(total, rel=1e-5)
        own = {name for name in line["monitors"] if name.startswith("distillation")}
        assert own == {
            "distillation_logits.agreement",
            "distillation_logits.teacher_accuracy",
            "distillation_features.cosine",
            "distillation_distances.distance",
            "distillation_distances.teacher_distance",
            "distillation_similarities.row_cosine",
        }
        # The teacher's accuracy is not the student's.
        assert line["monitors"]["accuracy"] == line["monitors"]["softmax.accuracy"]
    resume_train(run.path, tiny_catalog, params_of(run, tiny_catalog), draw_run)
    assert (run.pictures / "curves.png").is_file()


def test_two_teachers_have_names_of_their_own(start, teacher, folder):
    both = taught(teacher.path, FEATURES) + taught(teacher.last_weights, FEATURES)[1:]
    names = list(steps_of(start(objective=both))[0]["losses"])
    assert names == ["softmax", "triplet", "distillation_features", "distillation_2_features"]


def test_two_losses_of_one_name_are_refused(start):
    with pytest.raises(ReidError, match=r"gives a term named softmax, and so does objective"):
        start(objective=[{"name": "supervised"}, {"name": "supervised"}])


def test_a_teacher_of_another_network_teaches_relations_at_its_own_size(start, teacher):
    relations = {name: ALL[name] for name in ("distances", "similarities")}
    run = start(
        head=[PCB],
        augmentation=[
            {"name": "resize", "params": {"height": 64, "width": 32}},
            {"name": "normalize"},
        ],
        objective=taught(teacher.path, relations, resize_input=True),
    )
    assert {"distillation_distances", "distillation_similarities"} < set(steps_of(run)[0]["losses"])


def test_one_image_alone_can_be_compared(assemble, teacher):
    training, _ = assemble(objective=taught(teacher.path))
    module = training.module.eval()
    batch = next(iter(training.loader))
    rows = [value[:1] for value in vars(batch).values() if isinstance(value, torch.Tensor)]
    one = type(batch)(*rows)
    step = Step(one, module.model, module.model(one.images), Progress(0, 1, 0, 1))
    results = module.objectives[1](step)
    assert all(result.value.isfinite() for result in results.values())
    sum(result.value for result in results.values()).backward()
    gradients = [p.grad for p in module.model.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


# ---- the teacher stands still -----------------------------------------------------------


def test_training_leaves_the_teacher_as_it_was(assemble, teacher):
    training, _ = assemble(objective=taught(teacher.path))
    network = training.module.objectives[1].teacher.model
    before = copy.deepcopy(network.state_dict())
    student = copy.deepcopy(training.module.model.state_dict())
    train_one_epoch(training)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any("running_mean" in name for name in before)
    assert not any(part.training for part in network.modules())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    moved = training.module.model.state_dict()
    assert not all(torch.equal(student[name], moved[name]) for name in student)


def test_the_teacher_is_no_part_of_what_is_trained_and_saved(assemble, start, teacher):
    plain, _ = assemble()
    training, _ = assemble(objective=taught(teacher.path))
    names = [name for name, _ in plain.module.named_parameters()]
    assert [name for name, _ in training.module.named_parameters()] == names
    grouped = [p for group in training.optimizer.param_groups for p in group["params"]]
    assert len(grouped) == sum(len(group["params"]) for group in plain.optimizer.param_groups)
    theirs = {p.data_ptr() for p in training.module.objectives[1].teacher.model.parameters()}
    assert not theirs & {p.data_ptr() for p in grouped}
    added = training.module.state_dict().keys() - plain.module.state_dict().keys()
    assert added == {"objectives.1._extra_state"}

    run = start(objective=taught(teacher.path))
    checkpoint = torch.load(run.checkpoint, weights_only=True)["module"]
    assert checkpoint.keys() == training.module.state_dict().keys()
    assert checkpoint["objectives.1._extra_state"].shape == (32,)
    assert read_weights(run.best_weights).tensors.keys() == plain.module.model.state_dict().keys()


def test_a_teacher_changes_neither_initial_weights_nor_later_randomness(assemble, teacher):
    plain, generator = assemble()
    training, other = assemble(objective=taught(teacher.path))
    assert torch.equal(generator, other)
    own, weights = plain.module.model.state_dict(), training.module.model.state_dict()
    assert all(torch.equal(own[name], weights[name]) for name in own)


def test_the_students_weights_do_not_tell_where_the_teacher_lay(
    start, teacher, tmp_path, tiny_catalog, folder
):
    elsewhere = copied(teacher.best_weights, tmp_path / "elsewhere" / "teacher.safetensors")
    here = start("here", objective=taught(teacher.path))
    there = start("there", objective=taught(elsewhere))
    assert here.best_weights.read_bytes() == there.best_weights.read_bytes()
    entry = read_weights(there.best_weights).metadata["params"]["objective"][1]
    assert "teacher" not in entry["params"]
    elsewhere.unlink()  # nobody who uses the student needs it
    raw = {"run": str(there.path), "evaluation": [{"name": "market_evaluate"}]}
    (result,) = run_evaluation(check_eval_params(raw, tiny_catalog, "test"), tiny_catalog)
    assert 0 < result.primary <= 1


def test_a_student_can_teach(start, teacher):
    first = start("first", objective=taught(teacher.path))
    second = start("second", objective=taught(first.path))
    assert steps_of(second)[0]["losses"].keys() > {"distillation_logits"}


# ---- again ------------------------------------------------------------------------------


def test_a_resumed_run_gives_the_same_bytes(start, teacher, tiny_catalog):
    train = {**raw_params("")["train"], "epochs": 3}
    whole = start("whole", objective=taught(teacher.path), train=train)
    half = start("half", objective=taught(teacher.path))
    resume_train(half.path, tiny_catalog, params_of(half, tiny_catalog, train=train))
    assert half.last_weights.read_bytes() == whole.last_weights.read_bytes()
    assert [s["losses"] for s in steps_of(half)] == [s["losses"] for s in steps_of(whole)]


def test_a_run_is_not_continued_with_another_teacher(start, teacher, tiny_catalog, tmp_path):
    path = copied(teacher.best_weights, tmp_path / "teacher.safetensors")
    run = start(objective=taught(path))
    before = run.params.read_bytes(), run.metrics.read_bytes(), run.checkpoint.read_bytes()
    longer = params_of(run, tiny_catalog, train={**raw_params("")["train"], "epochs": 3})
    other = start("other")
    copied(other.best_weights, path)
    with pytest.raises(
        ReidError,
        match=r"^distillation: .*teacher\.safetensors is not the teacher that the run was started "
        "with: the file has changed; restore it, or start a new run$",
    ):
        resume_train(run.path, tiny_catalog, longer)
    path.unlink()
    with pytest.raises(ReidError, match=r"'teacher': .*teacher\.safetensors: no such run directo"):
        resume_train(run.path, tiny_catalog, longer)
    assert (
        run.params.read_bytes(),
        run.metrics.read_bytes(),
        run.checkpoint.read_bytes(),
    ) == before
    copied(teacher.best_weights, path)
    resume_train(run.path, tiny_catalog, longer)
    assert len(steps_of(run)) == 3 * len(steps_of(other)) // 2


# ---- what goes wrong --------------------------------------------------------------------

BLUE_FIRST = {"mean": [0.406, 0.456, 0.485], "std": [0.225, 0.224, 0.229]}

MISFITS = {
    "no normalisation": (
        {"augmentation": [{"name": "resize", "params": {"height": 32, "width": 16}}]},
        ALL,
        r"expects images prepared by resize .*, normalize .*; the student's are prepared by resize "
        r"\{\"height\": 32.*\}; use the teacher's 'normalize'$",
    ),
    "size": (
        {
            "augmentation": [
                {"name": "resize", "params": {"height": 16, "width": 32}},
                {"name": "normalize"},
            ]
        },
        ALL,
        r"best\.safetensors expects images of 32 x 16 pixels, the student's have 16 x 32; use the "
        "teacher's 'resize', or set 'resize_input' to true$",
    ),
    "channels": (
        {
            "augmentation": [
                {"name": "resize", "params": {"height": 32, "width": 16}},
                {"name": "normalize", "params": BLUE_FIRST},
            ]
        },
        ALL,
        "use the teacher's 'normalize'$",
    ),
    "people": (
        {
            "data": {
                "train": [
                    {"name": "synthetic_market", "params": {**PEOPLE, "train_identities": 13}}
                ]
            }
        },
        ALL,
        r"'logits' needs a teacher of the same identities in the same order; .*best\.safetensors "
        "knows 12, this training has 13, and the lists differ; train both on the same data, or "
        "leave 'logits' out$",
    ),
    "datasets": (
        {"data": {"train": [{"name": "synthetic_market", "alias": "new", "params": PEOPLE}]}},
        ALL,
        "knows 12, this training has 12, and the lists differ",
    ),
    "branches": (
        {"head": [PCB], "loss": [{"name": "softmax"}]},
        {"logits": {"weight": 1.0}},
        r"'logits' compares branches of one name; .*best\.safetensors classifies global, the "
        "student stripe_0, stripe_1; use the same head, or leave 'logits' out$",
    ),
    "embeddings": (
        {"head": [{"name": "global", "params": {"embedding_dim": 5}}]},
        FEATURES,
        r"'features' compares embeddings of one size; that of .*best\.safetensors has 8 values, "
        "the student's 5; use 'distances' or 'similarities', which take any size$",
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_teacher_that_does_not_fit_is_refused_before_there_is_a_run(
    start, teacher, folder, misfit
):
    changes, terms, message = MISFITS[misfit]
    before = sorted(path.name for path in folder.iterdir() if path.name != "stores")
    with pytest.raises(ReidError, match=f"^distillation: .*{message}"):
        start(objective=taught(teacher.path, terms), **changes)
    assert sorted(path.name for path in folder.iterdir() if path.name != "stores") == before


def test_a_teacher_without_classifier_has_no_logits(start, teacher):
    bare = start("bare", loss=[{"name": "triplet"}])
    start("relations", objective=taught(bare.path, {"distances": {"weight": 1.0}}))
    with pytest.raises(ReidError, match="classifies none, the student global; use the same head"):
        start("logits", objective=taught(bare.path))


def test_without_logits_the_teacher_may_know_other_people(start, teacher):
    data = {"train": [{"name": "synthetic_market", "alias": "new", "params": PEOPLE}]}
    terms = {name: term for name, term in ALL.items() if name != "logits"}
    assert steps_of(start(data=data, objective=taught(teacher.path, terms)))


def test_a_pickle_is_no_teacher(start, tmp_path):
    path = tmp_path / "teacher.pth"
    path.write_bytes(pickle.dumps({"weight": 1}))
    with pytest.raises(
        ReidError,
        match=r"^distillation: 'teacher': .*teacher\.pth: not a weights file \(safetensors\)",
    ):
        start(objective=taught(path))


WRONG_PARAMS = {
    "no term": ({"terms": {}}, "terms: give at least one of logits, features, distances, similari"),
    "null terms": ({"terms": {"logits": None}}, "terms: give at least one of logits, features,"),
    "no terms": ({"terms": ...}, "terms: required, but missing"),
    "no teacher": ({"teacher": ...}, "teacher: required, but missing"),
    "empty teacher": ({"teacher": ""}, "teacher: string should have at least 1 character"),
    "misspelt": (
        {"terms": {"distance": {"weight": 1.0}}},
        r"terms\.distance: unknown key; did you mean 'distances'\?",
    ),
    "no weight": ({"terms": {"logits": {}}}, r"terms\.logits\.weight: required, but missing"),
    "weight": (
        {"terms": {"features": {"weight": 0}}},
        r"terms\.features\.weight: must be > 0\.0, got 0",
    ),
    "temperature": (
        {"terms": {"logits": {"weight": 1.0, "temperature": 0.0}}},
        r"terms\.logits\.temperature: must be > 0\.0, got 0\.0",
    ),
    "measure": (
        {"terms": {"features": {"weight": 1.0, "measure": "cosin"}}},
        r"terms\.features\.measure: expected 'l2' or 'cosine', got \"cosin\"; did you mean 'cos",
    ),
}


@pytest.mark.parametrize("wrong", WRONG_PARAMS)
def test_wrong_params_are_named_with_their_place(tiny_catalog, folder, wrong):
    changes, message = WRONG_PARAMS[wrong]
    objective = taught("runs/first")
    given = {**objective[1]["params"], **changes}
    objective[1]["params"] = {key: value for key, value in given.items() if value is not ...}
    with pytest.raises(ParamsError, match=rf"^test: objective\.1\.params\.{message}") as error:
        check_run_params(raw_params(folder, objective=objective), tiny_catalog, "test")
    assert len(error.value.problems) == 1


# ---- the recipe and the command line ----------------------------------------------------


def test_shapes_are_checked_without_reading_the_teacher(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(RECIPE), "--model"]) == 2
    said = capsys.readouterr().err
    assert "params.teacher: 'runs/first'" in said
    (tmp_path / "runs" / "first").mkdir(parents=True)  # with nothing in it
    assert main(["check", str(RECIPE), "--model"]) == 0
    assert "right: resnet18, global" in capsys.readouterr().out


def test_a_student_whose_branches_cannot_be_classified_has_no_logits_to_teach():
    student = SimpleNamespace(branches=(), classifier={})
    with pytest.raises(ReidError, match=r"^distillation: 'logits' needs a classifier, and no bra"):
        check_student(student)


def test_a_missing_teacher_is_one_line_and_leaves_no_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = json.dumps({**PEOPLE, "train_identities": 16})
    sets = ["--set", f"data.train.0.params={small}", "--set", "train.device=cpu"]
    assert main(["train", "--config_path", str(RECIPE), "--sub_working_dir", "second", *sets]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: distillation: 'teacher': runs/first: no such run directory or weights file; name "
        "one that is there, or train that run first"
    )
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["stores"]


def test_the_recipes_student_fits_the_run_of_the_quick_start(catalog):
    quick = json.loads(RECIPE.with_name("quickstart.json").read_text())
    recipe = json.loads(RECIPE.read_text())
    for section in ("data", "augmentation", "head"):
        assert recipe[section] == quick[section]
    check_on_meta(check_run_params(recipe, catalog, RECIPE.name), catalog)
