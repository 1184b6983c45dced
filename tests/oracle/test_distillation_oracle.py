"""The terms of the distillation against loops in float64, closed forms and torch's own losses.

Values and gradients equal those of plain loops over images, written from the papers' formulas and
differentiated by autograd through single numbers.
"""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from loss_batches import value_and_gradients
from reid_core.contracts import Batch, ModelOutput, Progress, Step
from reid_core.data.measured_preprocessing import MeasuredPreprocessing
from reid_core.network.trained_model import Trained
from reid_plugins.objective._distillation import (
    Distillation,
    answers,
    distance_difference,
    feature_difference,
    relative_distances,
    similarity_difference,
    softened_divergence,
)
from reid_plugins.objective._teacher import announce, numbers_of
from reid_plugins.objective.distillation import DistillationParams, comparisons

SHAPES = [(2, 3, 3), (3, 5, 2), (6, 4, 7)]
"""Images, values of the student, values of the teacher."""


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def assert_same(term, loop, student):
    """Compare value and gradient of a term with those of a loop."""
    found, expected = (value_and_gradients(function, student) for function in (term, loop))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


# ---- the formulas as loops --------------------------------------------------------------


def logits_loop(student, teacher, temperature):
    """T^2 times the mean over images of sum p log(p / q)."""
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        q, p = ([(v / temperature).exp() for v in row] for row in (ours, theirs))
        for a, b in zip(p, q, strict=True):
            total = total + a / sum(p) * ((a / sum(p)).log() - (b / sum(q)).log())
    return temperature**2 * total / len(student)


def cosine_loop(student, teacher):
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        product = sum(a * b for a, b in zip(ours, theirs, strict=True))
        norms = (sum(a * a for a in ours) * sum(b * b for b in theirs)).sqrt()
        total = total + 1 - product / norms
    return total / len(student)


def l2_loop(student, teacher):
    squares = [
        (a - b) ** 2
        for ours, theirs in zip(student, teacher, strict=True)
        for a, b in zip(ours, theirs, strict=True)
    ]
    return sum(squares) / len(squares)


def distances_loop(student, teacher):
    """Equations 5 to 8 of RKD: Huber's loss over all ordered pairs of two images."""
    pairs = [(i, j) for i in range(len(student)) for j in range(len(student)) if i != j]

    def relative(x):
        found = {
            (i, j): sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True)).sqrt()
            for i, j in pairs
        }
        return {pair: d / (sum(found.values()) / len(pairs)) for pair, d in found.items()}

    ours, theirs = relative(student), relative(teacher)
    total = 0.0
    for pair in pairs:
        difference = (ours[pair] - theirs[pair]).abs()
        total = total + (difference**2 / 2 if difference <= 1 else difference - 0.5)
    return total / len(pairs)


def similarities_loop(student, teacher):
    """Equations 1 to 4 of the similarity-preserving distillation."""

    def rows(x):
        products = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in x] for u in x]
        return [[p / sum(q * q for q in row).sqrt() for p in row] for row in products]

    ours, theirs = rows(student), rows(teacher)
    b = len(student)
    return sum((ours[i][j] - theirs[i][j]) ** 2 for i in range(b) for j in range(b)) / b**2


def features(measure):
    return lambda student, teacher: feature_difference(student, teacher, measure)[0]


def distances(student, teacher):
    return distance_difference(student, teacher)[0]


def similarities(student, teacher):
    return similarity_difference(student, teacher)[0]


def logits(student, teacher):
    return softened_divergence(student, teacher, 3.0)


PAIRS = [
    pytest.param(logits, lambda s, t: logits_loop(s, t, 3.0), True, id="logits"),
    pytest.param(features("cosine"), cosine_loop, True, id="cosine"),
    pytest.param(features("l2"), l2_loop, True, id="l2"),
    pytest.param(distances, distances_loop, False, id="distances"),
    pytest.param(similarities, similarities_loop, False, id="similarities"),
]
"""Term, the same as a loop, and whether both networks must give vectors of one size."""

every_term = pytest.mark.parametrize(("term", "loop", "one_size"), PAIRS)


@every_term
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_value_and_gradient_equal_the_loops(term, loop, one_size, shape, scale):
    images, ours, theirs = shape
    student = normal(images, ours)
    teacher = scale * normal(images, ours if one_size else theirs, seed=1)
    assert_same(lambda s: term(s, teacher), lambda s: loop(s, teacher), student)


@every_term
def test_the_gradient_equals_finite_differences(term, loop, one_size):
    teacher = normal(4, 3 if one_size else 5, seed=1)
    student = normal(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: term(s, teacher), (student,))


@every_term
def test_a_student_that_answers_like_its_teacher_is_at_the_minimum(term, loop, one_size):
    teacher = normal(5, 4)
    value, gradient = value_and_gradients(lambda s: term(s, teacher), teacher)
    assert value == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max() < 1e-7
    assert term(normal(5, 4, seed=1), teacher) > 1e-3


@every_term
@given(seed=st.integers(0, 2**16), images=st.integers(2, 7), dim=st.integers(2, 6))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_images_does_not_matter(term, loop, one_size, seed, images, dim):
    student = normal(images, dim, seed=seed)
    teacher = normal(images, dim if one_size else dim + 1, seed=seed + 1)
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    value, gradient = value_and_gradients(lambda s: term(s, teacher), student)
    there = value_and_gradients(lambda s: term(s, teacher[order]), student[order])
    torch.testing.assert_close(there, (value, gradient[order]))


@every_term
def test_it_matters_which_image_the_teacher_answers(term, loop, one_size):
    student, teacher = normal(5, 4), normal(5, 4, seed=1)
    assert abs(term(student, teacher.roll(1, 0)) - term(student, teacher)) > 1e-3


# ---- closed forms and other implementations ---------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_logits_equal_torchs_divergence_times_the_squared_temperature(temperature):
    student, teacher = 3 * normal(6, 9), 3 * normal(6, 9, seed=1)

    def reference(s):
        divergence = nn.KLDivLoss(reduction="batchmean")
        p = (teacher / temperature).softmax(dim=1)
        return temperature**2 * divergence((s / temperature).log_softmax(dim=1), p)

    assert_same(lambda s: softened_divergence(s, teacher, temperature), reference, student)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_gradient_of_the_logits_is_the_difference_of_the_probabilities(temperature):
    student, teacher = normal(6, 9), normal(6, 9, seed=1)
    _, gradient = value_and_gradients(
        lambda s: softened_divergence(s, teacher, temperature), student
    )
    q, p = ((x / temperature).softmax(dim=1) for x in (student, teacher))
    torch.testing.assert_close(gradient, temperature * (q - p) / 6)


def test_at_a_high_temperature_the_logits_themselves_are_matched():
    # Section 2.1 of Hinton et al.: with centred logits the gradient is (z - v) / N.
    student, teacher = normal(4, 5), normal(4, 5, seed=1)
    gap = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    value, gradient = value_and_gradients(lambda s: softened_divergence(s, teacher, 1e4), student)
    assert value == pytest.approx(float(gap.square().sum(1).mean() / (2 * 5)), rel=1e-3)
    torch.testing.assert_close(gradient, gap / 5 / 4, rtol=1e-3, atol=1e-5)


def test_a_constant_in_the_logits_of_an_image_changes_nothing():
    student, teacher = normal(4, 5), normal(4, 5, seed=1)
    value = softened_divergence(student, teacher, 2.0)
    moved = softened_divergence(student + normal(4, 1, seed=2), teacher + normal(4, 1, seed=3), 2.0)
    torch.testing.assert_close(moved, value)


def rotation(dim):
    orthogonal, _ = torch.linalg.qr(normal(dim, dim, seed=9))
    return orthogonal


@pytest.mark.parametrize("term", [distances, similarities])
def test_relations_do_not_depend_on_scale_and_rotation_of_either_embedding(term):
    student, teacher = normal(6, 4), normal(6, 7, seed=1)
    value = term(student, teacher)
    torch.testing.assert_close(term(1e3 * student @ rotation(4), teacher), value)
    torch.testing.assert_close(term(student, 1e-3 * teacher @ rotation(7)), value)


@pytest.mark.parametrize("term", [distances, similarities])
@pytest.mark.parametrize("scale", [1e10, 1e-10])
def test_single_precision_is_enough_for_vectors_of_any_length(term, scale):
    student, teacher = normal(6, 4), normal(6, 7, seed=1)
    value, gradient = value_and_gradients(lambda s: term(s, teacher), student)
    found, slope = value_and_gradients(
        lambda s: term(s, (teacher / scale).float()), (student * scale).float()
    )
    torch.testing.assert_close(found.double(), value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(slope.double() * scale, gradient, rtol=1e-3, atol=1e-5)


def test_distances_do_not_depend_on_the_origin():
    student, teacher = normal(6, 4), normal(6, 7, seed=1)
    moved = distances(student + normal(4, seed=2), teacher + normal(7, seed=3))
    torch.testing.assert_close(moved, distances(student, teacher))


def test_relative_distances_of_a_right_triangle():
    x = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    wanted = torch.tensor([[0, 3, 4], [3, 0, 5], [4, 5, 0]], dtype=torch.float64) / 4
    found, mean = relative_distances(x)
    torch.testing.assert_close((found, mean), (wanted, torch.tensor(4.0, dtype=torch.float64)))


def test_a_triangle_taught_by_a_flat_one():
    # The teacher's distances are 1, 1 and 2, in units of their mean 3/4, 3/4 and 3/2; the
    # student's are all 1: Huber's loss is (1/4)^2 / 2 twice and (1/2)^2 / 2 once.
    student = torch.eye(3, dtype=torch.float64)
    teacher = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
    assert float(distances(student, teacher)) == pytest.approx((1 / 32 + 1 / 32 + 1 / 8) / 3)


def test_similarities_of_three_images_by_hand():
    # Rows of the student (1, 0, 0), ...; of the teacher (1, 1, 0) / sqrt 2 twice, and (0, 0, 1).
    student = torch.eye(3, dtype=torch.float64)
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    half = math.sqrt(0.5)
    wanted = 2 * ((1 - half) ** 2 + half**2) / 9
    value, monitors = similarity_difference(student, teacher)
    assert float(value) == pytest.approx(wanted)
    assert float(monitors["row_cosine"]) == pytest.approx((half + half + 1) / 3)


def test_monitors_of_embeddings_by_loops():
    student, teacher = normal(5, 4), normal(5, 4, seed=1)
    for measure in ("cosine", "l2"):
        _, monitors = feature_difference(student, teacher, measure)
        assert float(monitors["cosine"]) == pytest.approx(1 - float(cosine_loop(student, teacher)))
    _, monitors = distance_difference(student, teacher)
    for name, x in (("distance", student), ("teacher_distance", teacher)):
        found = [math.dist(x[i], x[j]) for i in range(5) for j in range(5) if i != j]
        assert float(monitors[name]) == pytest.approx(np.mean(found))


# ---- what is no real batch --------------------------------------------------------------

BATCHES = {
    "identical": torch.ones(4, 3) * 0.3,
    "zero": torch.zeros(4, 3),
    "some zero": torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [3.0, 1.0, 0.0]]),
    "one image": torch.tensor([[1.0, -2.0, 3.0]]),
    "one image of zeros": torch.zeros(1, 3),
    "huge": 1e12 * normal(4, 3).float(),
    "tiny": 1e-12 * normal(4, 3).float(),
    "nearly identical": 10 + 1e-6 * normal(4, 3).float(),
    "usual": normal(4, 3).float(),
}


@every_term
@pytest.mark.parametrize("ours", BATCHES)
def test_values_and_gradients_of_any_batch_are_finite(term, loop, one_size, ours):
    for theirs, teacher in BATCHES.items():
        images = min(len(BATCHES[ours]), len(teacher))
        value, gradient = value_and_gradients(
            lambda s, t=teacher[:images]: term(s, t), BATCHES[ours][:images]
        )
        assert value.dtype == torch.float32
        assert value.isfinite(), theirs
        assert gradient.isfinite().all(), theirs


@pytest.mark.parametrize("term", [distances, similarities])
def test_one_image_has_no_relations(term):
    value, gradient = value_and_gradients(lambda s: term(s, normal(1, 5, seed=1)), normal(1, 3))
    assert value == pytest.approx(0, abs=1e-15)
    assert gradient.abs().max() < 1e-12


def test_far_from_the_origin_distances_are_still_those_of_the_images():
    # As far as single precision allows: an embedding's common part may be ten times the rest.
    student, teacher = normal(16, 64), normal(16, 64, seed=1)
    wanted = distances(student, teacher)
    found = distances((student + 10).float(), (teacher + 10).float())
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=0)


# ---- the objective ----------------------------------------------------------------------


class Says(nn.Module):
    """A network that gives prepared answers and notes what it was asked."""

    def __init__(self, output):
        super().__init__()
        self.output, self.seen, self.sides = output, [], []

    def forward(self, images, side):
        self.seen.append(images)
        self.sides.append(side)
        return self.output


def output_of(seed, dim=4, branches=("global", "part"), pids=5, images=6):
    embedding = normal(images, dim, seed=seed).float()
    heads = {name: normal(images, pids, seed=seed + 10 + i) for i, name in enumerate(branches)}
    logits = {name: value.float() for name, value in heads.items()}
    return ModelOutput(embedding, -embedding, {}, logits, {})


def trained(output, size=(8, 4)):
    preprocessing = MeasuredPreprocessing(*size, np.zeros((4, 3)), "")
    return Trained(Path("teacher"), b"", Says(output), (), preprocessing)


def step_of(output, images=None):
    images = torch.zeros(len(output.embedding), 3, 8, 4) if images is None else images
    pids = torch.arange(len(images)) % 5
    batch = Batch(images, pids, pids, pids, pids)
    return Step(batch, nn.Identity(), output, Progress(0, 1, 0, 1))


def objective_of(teacher, name="distillation", **params):
    terms = params.pop("terms", {name: {"weight": 1.0} for name in TERMS})
    terms = comparisons(DistillationParams(teacher="x", terms=terms).terms)
    return Distillation(name, terms, teacher, **params)


TERMS = ("logits", "features", "distances", "similarities")


def test_every_term_has_its_name_weight_and_value():
    ours, theirs = output_of(1), output_of(2)
    weights = dict(zip(TERMS, (0.5, 2.0, 25.0, 3000.0), strict=True))
    terms = {name: {"weight": weight} for name, weight in weights.items()}
    terms["logits"]["temperature"] = 2.0
    results = objective_of(trained(theirs), terms=terms)(step_of(ours))
    assert {n: r.weight for n, r in results.items()} == {
        f"distillation_{name}": weight for name, weight in weights.items()
    }
    s, t = ours.embedding.double(), theirs.embedding.double()
    per_branch = [
        logits_loop(ours.logits[name].double(), theirs.logits[name].double(), 2.0)
        for name in ("global", "part")
    ]
    wanted = [sum(per_branch) / 2, cosine_loop(s, t), distances_loop(s, t), similarities_loop(s, t)]
    found = [float(result.value) for result in results.values()]
    assert found == pytest.approx([float(value) for value in wanted], rel=1e-5)


def test_only_the_terms_of_the_params_are_there_under_the_name_of_the_entry():
    terms = {"features": {"weight": 1.0, "measure": "l2"}}
    objective = objective_of(trained(output_of(2)), name="big_one", terms=terms)
    (item,) = objective(step_of(output_of(1))).items()
    assert item[0] == "big_one_features"
    s, t = output_of(1).embedding.double(), output_of(2).embedding.double()
    assert float(item[1].value) == pytest.approx(float(l2_loop(s, t)), rel=1e-5)


def test_only_branches_of_one_name_are_compared():
    ours = output_of(1, branches=("global", "own"))
    theirs = output_of(2, branches=("other", "global"))
    terms = {"logits": {"weight": 1.0, "temperature": 1.0}}
    results = objective_of(trained(theirs), terms=terms)(step_of(ours))
    wanted = logits_loop(ours.logits["global"].double(), theirs.logits["global"].double(), 1.0)
    assert float(results["distillation_logits"].value) == pytest.approx(float(wanted), rel=1e-5)


def test_agreement_and_the_teachers_accuracy_are_counted():
    ours, theirs = output_of(1, branches=("global",)), output_of(2, branches=("global",))
    step = step_of(ours)
    (result,) = objective_of(trained(theirs), terms={"logits": {"weight": 1.0}})(step).values()
    chosen = [
        [max(range(5), key=row.__getitem__) for row in output.logits["global"].tolist()]
        for output in (ours, theirs)
    ]
    pairs = list(zip(*chosen, step.batch.pids.tolist(), strict=True))
    wanted = {
        "agreement": sum(a == b for a, b, _ in pairs) / 6,
        "teacher_accuracy": sum(b == pid for _, b, pid in pairs) / 6,
    }
    assert {n: float(v) for n, v in result.monitors.items()} == pytest.approx(wanted)
    assert 0 < sum(wanted.values()) < 2


def test_terms_are_float32_outside_autocast_whatever_the_networks_give():
    ours, theirs = (
        replace(
            output,
            embedding=output.embedding.bfloat16(),
            logits={name: value.bfloat16() for name, value in output.logits.items()},
        )
        for output in (output_of(1), output_of(2))
    )
    step, objective = step_of(ours), objective_of(trained(theirs))
    plain = objective(step)
    with torch.autocast("cpu", torch.bfloat16):
        results = objective(step)
    s, t = ours.embedding.double(), theirs.embedding.double()
    assert float(results["distillation_similarities"].value) == pytest.approx(
        float(similarities_loop(s, t)), rel=1e-5
    )
    for name, result in results.items():
        assert result.value.dtype == torch.float32
        assert torch.equal(result.value, plain[name].value)


def test_the_teacher_is_asked_without_gradients_about_the_students_batch():
    class Double(nn.Module):
        def forward(self, images, side):
            assert not torch.is_grad_enabled()
            return replace(output_of(2), embedding=images.flatten(1)[:, :4] * 2)

    images = normal(6, 3, 8, 4).float().requires_grad_()
    ours = images.flatten(1)[:, :4]
    objective = objective_of(
        replace(trained(None), model=Double()), terms={"features": {"weight": 1.0, "measure": "l2"}}
    )
    (result,) = objective(step_of(replace(output_of(1), embedding=ours), images)).values()
    (gradient,) = torch.autograd.grad(result.value, images)
    # Of the mean of (x - t)^2, where t = 2 x is a constant: 2 (x - 2 x) / (B D).
    torch.testing.assert_close(gradient.flatten(1)[:, :4], -2 * ours.detach() / (6 * 4))
    assert torch.is_grad_enabled()


# ---- what the teacher is told beside the images -----------------------------------------


def looking_at(**values):
    """A network that looks at columns whose numbers stand for these values."""
    return SimpleNamespace(side_values=values)


CAMERAS = (("market", 1), ("market", 2), ("cuhk", 1))


def test_the_teachers_numbers_are_found_by_dataset_and_value():
    teacher = looking_at(camid=(("cuhk", 1), ("cuhk", 2), ("market", 2)), view=(("cuhk", "back"),))
    numbers = numbers_of(teacher, looking_at(camid=CAMERAS))
    assert {name: n.tolist() for name, n in numbers.items()} == {"camid": [-1, 2, 0, -1]}
    assert numbers_of(looking_at(), looking_at(camid=CAMERAS)) == {}


def test_the_teacher_is_told_the_cameras_of_a_batch_in_its_own_numbers():
    teacher = trained(output_of(2))
    numbers = {"camid": torch.tensor([-1, 2, 0, -1]), "view": torch.tensor([4])}
    step = step_of(output_of(1))
    columns = {"camid": torch.tensor([1, 2, 0, -1, 1, 2]), "clothes": torch.zeros(6)}
    step = replace(step, batch=replace(step.batch, columns=columns))
    objective_of(teacher, numbers=numbers)(step)
    (side,) = teacher.model.sides
    assert {name: column.tolist() for name, column in side.items()} == {
        "camid": [2, 0, -1, -1, 2, 0]
    }


def test_it_is_said_what_the_teacher_is_not_told(capsys):
    model = Says(output_of(2))
    model.side_values = {"camid": CAMERAS, "view": (("market", "back"),)}
    model.backbone_name, model.embedding_dim = "looks", 4
    announce(replace(trained(None), model=model), {"camid": torch.tensor([-1, 2, 0, -1])})
    assert capsys.readouterr().out.splitlines()[:2] == [
        "teacher: it looks at 'camid' and knows 2 of the 3 values of this training; others are "
        "unknown to it",
        "teacher: it looks at 'view' and takes it as unknown: the student does not look at it",
    ]


# ---- the teacher's input ----------------------------------------------------------------


def test_images_are_resized_to_the_teachers_input_as_pillow_does():
    teacher = trained(output_of(2), size=(8, 4))
    images = normal(2, 3, 20, 9).float()
    answers(teacher, images, {}, resize=True)
    (seen,) = teacher.model.seen
    wanted = [
        [
            np.asarray(Image.fromarray(c.numpy()).resize((4, 8), Image.Resampling.BILINEAR))
            for c in i
        ]
        for i in images
    ]
    np.testing.assert_allclose(seen.numpy(), np.array(wanted), atol=1e-5)


@pytest.mark.parametrize(("shape", "resize"), [((8, 4), True), ((20, 9), False)])
def test_images_of_the_right_size_or_without_leave_to_resize_stay_as_they_are(shape, resize):
    teacher = trained(output_of(2), size=(8, 4))
    images = normal(2, 3, *shape).float()
    answers(teacher, images, {}, resize=resize)
    assert teacher.model.seen[0] is images
