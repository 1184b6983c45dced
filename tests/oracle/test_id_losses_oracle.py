"""The losses over classes against loops in float64, published values and other libraries.

Value and gradient of every loss equal those of plain loops over images and classes, written
from the papers' formulas with angles, and differentiated by autograd through single numbers.
"""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from loss_batches import FEATURES, PIDS, UNIT, UNIT_PIDS, random_batch, value_and_gradients
from reid_core.contracts import LossInput, Progress
from reid_core.params.messages import validate
from reid_plugins.loss import (
    am_softmax,
    arcface,
    circle_softmax,
    focal,
    instance,
    normalized_softmax,
    softmax,
    sphereface,
)
from reid_plugins.toolkit.margin_logits import cosine_similarity, margin_cross_entropy

PROGRESS = Progress(epoch=0, epochs=4, step=7, steps_per_epoch=10, seed=3)

# Weights of the published vectors: 5 classes.
WEIGHT = torch.tensor(
    [[math.cos(0.3 + c + 1.7 * k) for k in range(4)] for c in range(5)], dtype=torch.float64
)
COSINES = torch.tensor(
    [[0.9 * math.cos(0.4 + 1.3 * i + 2.1 * c) for c in range(5)] for i in range(8)],
    dtype=torch.float64,
)
COUNTS = [[2, 2, 2], [4, 1, 3, 2], [1, 5], [1, 1, 1], [4]]


def loss_of(module, features, weight, pids, progress=PROGRESS, /, **params):
    """Return the output for a classifier without bias, as the core calls the loss."""
    (component,) = module.reid_loss()
    loss = component.build(component.params(**params))
    logits = features @ weight.T
    return loss(LossInput(features, pids, pids, progress, weight=weight, logits=logits))


def of_logits(module, logits, pids, **params):
    """Return the output for given logits: a classifier that does nothing."""
    return loss_of(module, logits, torch.eye(logits.shape[1]).to(logits), pids, **params)


def random_classes(seed, counts, dim=5):
    """Return features, class weights and pids; the last class has no images."""
    return random_batch(seed, counts, dim, [(len(counts) + 1, dim)])


# ---- loops ------------------------------------------------------------------------------


def length(a):
    return (a**2).sum() ** 0.5


def cosine(a, b):
    return (a * b).sum() / (length(a) * length(b))


def mean(terms):
    return sum(terms) / len(terms)


def cross_entropy(logits, pid):
    return sum(z.exp() for z in logits).log() - logits[pid]


def loop_softmax(x, w, pids, label_smoothing=0.1, smoothing="uniform"):
    terms = []
    for a, pid in zip(x, pids, strict=True):
        logits = [(a * b).sum() for b in w]
        for c in range(len(w)):
            if smoothing == "uniform":
                target = (1 - label_smoothing) * (c == pid) + label_smoothing / len(w)
            else:
                target = 1 - label_smoothing if c == pid else label_smoothing / (len(w) - 1)
            terms.append(target * cross_entropy(logits, c))
    return sum(terms) / len(x)


def loop_focal(x, w, pids, gamma=2.0):
    terms = []
    for a, pid in zip(x, pids, strict=True):
        exps = [(a * b).sum().exp() for b in w]
        p = exps[pid] / sum(exps)
        terms.append(-((1 - p) ** gamma) * p.log())
    return mean(terms)


def loop_margin(x, w, pids, scale, own, other=lambda s, a: s):
    """``own`` and ``other`` map a cosine and the feature to what stands in its place."""
    terms = []
    for a, pid in zip(x, pids, strict=True):
        cosines = [cosine(a, b) for b in w]
        values = [other(s, a) for s in cosines]
        values[pid] = own(cosines[pid], a)
        by = length(a) if scale == "norm" else scale
        terms.append(cross_entropy([by * v for v in values], pid))
    return mean(terms)


def loop_am_softmax(x, w, pids, scale=30.0, margin=0.35, form="additive"):
    def own(s, a):
        if form == "additive":
            return s - margin
        # The length multiplies once: as the scale, or beside it.
        return ((1 + margin) * s - margin) * (1 if scale == "norm" else length(a))

    return loop_margin(x, w, pids, scale, own)


def loop_arcface(x, w, pids, scale=64.0, margin=0.5, beyond="falling"):
    def own(s, a):
        theta = s.acos()
        if beyond == "formula" or theta <= math.pi - margin:
            return (theta + margin).cos()
        return s - margin * math.sin(margin)

    return loop_margin(x, w, pids, scale, own)


def loop_sphereface(x, w, pids, margin=4, scale="norm", strength=1.0):
    def own(s, a):
        theta = s.acos()
        k = math.floor(margin * theta.item() / math.pi)
        psi = (-1) ** k * (margin * theta).cos() - 2 * k
        if strength == 0:
            return s
        annealing = 1 / strength - 1  # the lambda of the paper
        return (annealing * s + psi) / (1 + annealing)

    return loop_margin(x, w, pids, scale, own)


def loop_circle_softmax(x, w, pids, scale=64.0, margin=0.35, held=None):
    """``held`` are the features and weights that the factors are made of, else constants."""

    def factor_of(a, b, sign):
        return max(0.0, (1 + margin - cosine(a, b)) if sign > 0 else (cosine(a, b) + margin))

    terms, (x0, w0) = [], held or (x.detach(), w.detach())
    for a, a0, pid in zip(x, x0, pids, strict=True):
        pull = factor_of(a0, w0[pid], 1) * (cosine(a, w[pid]) - (1 - margin))
        push = [
            factor_of(a0, w0[c], -1) * (cosine(a, w[c]) - margin) for c in range(len(w)) if c != pid
        ]
        terms.append(sum(((scale * (p - pull)).exp() for p in push), torch.ones(())).log())
    return mean(terms)


def loop_normalized_softmax(x, w, pids, scale=20.0):
    return loop_margin(x, w, pids, scale, lambda s, a: s)


def loop_instance(x, w, pids, scale=32.0, level="image"):
    rows = list(x)
    if level == "identity":
        unit = [a / length(a) for a in x]
        rows = [
            mean([u for u, p in zip(unit, pids, strict=True) if p == pid])
            for pid in sorted(set(pids))
        ]
    return mean(
        [cross_entropy([scale * cosine(a, b) for b in rows], i) for i, a in enumerate(rows)]
    )


CASES = [
    (softmax, loop_softmax, {}),
    (softmax, loop_softmax, {"label_smoothing": 0.0}),
    (softmax, loop_softmax, {"label_smoothing": 1.0}),
    (softmax, loop_softmax, {"label_smoothing": 0.2, "smoothing": "others"}),
    (softmax, loop_softmax, {"label_smoothing": 1.0, "smoothing": "others"}),
    (focal, loop_focal, {}),
    (focal, loop_focal, {"gamma": 0.0}),
    (focal, loop_focal, {"gamma": 0.5}),
    (am_softmax, loop_am_softmax, {}),
    (am_softmax, loop_am_softmax, {"scale": "norm", "margin": 0.2}),
    (am_softmax, loop_am_softmax, {"form": "slope", "scale": "norm", "margin": 0.3}),
    (am_softmax, loop_am_softmax, {"form": "slope", "scale": 15.0, "margin": 1.5}),
    (arcface, loop_arcface, {}),
    (arcface, loop_arcface, {"scale": 8.0, "margin": 1.5}),
    (arcface, loop_arcface, {"scale": 8.0, "margin": 1.5, "beyond": "formula"}),
    (arcface, loop_arcface, {"scale": 8.0, "margin": 0.0}),
    (sphereface, loop_sphereface, {}),
    (sphereface, loop_sphereface, {"margin": 1}),
    (sphereface, loop_sphereface, {"margin": 2, "strength": 0.2}),
    (sphereface, loop_sphereface, {"margin": 3, "strength": 0.0}),
    (sphereface, loop_sphereface, {"margin": 8, "scale": 6.0, "strength": 0.9}),
    (circle_softmax, loop_circle_softmax, {}),
    (circle_softmax, loop_circle_softmax, {"scale": 4.0, "margin": 0.0}),
    (circle_softmax, loop_circle_softmax, {"scale": 16.0, "margin": 1.0}),
    (normalized_softmax, loop_normalized_softmax, {}),
    (normalized_softmax, loop_normalized_softmax, {"scale": 1.0}),
    (instance, loop_instance, {}),
    (instance, loop_instance, {"scale": 1.0, "level": "identity"}),
    (instance, loop_instance, {"scale": 4.0, "level": "identity"}),
]
VARIANTS = [(module, params) for module, _, params in CASES]
COSINE_LOSSES = (am_softmax, arcface, sphereface, circle_softmax, normalized_softmax)


def test_the_losses_that_are_tested_differ_in_every_param():
    for module in {module for module, _ in VARIANTS}:
        (component,) = module.reid_loss()
        tested = {name for other, params in VARIANTS if other is module for name in params}
        assert set(component.params.model_fields) == tested


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize(("module", "loop", "params"), CASES)
def test_value_and_gradients_equal_the_loop(module, loop, params, counts):
    for seed in range(2):
        features, weight, pids = random_classes(seed, counts)
        ours = value_and_gradients(
            lambda x, w, p=pids: loss_of(module, x, w, p, **params).value, features, weight
        )
        other = value_and_gradients(
            lambda x, w, p=pids: loop(x, w, p.tolist(), **params), features, weight
        )
        torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-10)


# ---- other libraries --------------------------------------------------------------------


def of_library(loss, features, weight, pids):
    """Call a loss of pytorch-metric-learning with our class weights as its own."""
    del loss.W
    loss.W = weight.T
    loss.cast_types = lambda dtype, device: None  # it would replace the weights' data
    return loss(features, pids)


LIBRARY = [
    (am_softmax, {}, lambda c, d: losses.CosFaceLoss(c, d, margin=0.35, scale=30)),
    (
        am_softmax,
        {"margin": 0.1, "scale": 64.0},
        lambda c, d: losses.CosFaceLoss(c, d, margin=0.1, scale=64),
    ),
    (arcface, {}, lambda c, d: losses.ArcFaceLoss(c, d, margin=math.degrees(0.5), scale=64)),
    (
        arcface,
        {"margin": 1.4, "scale": 10.0},
        lambda c, d: losses.ArcFaceLoss(c, d, margin=math.degrees(1.4), scale=10),
    ),
    (sphereface, {}, lambda c, d: losses.SphereFaceLoss(c, d, margin=4, scale=1)),
    (sphereface, {"margin": 3}, lambda c, d: losses.SphereFaceLoss(c, d, margin=3, scale=1)),
    (normalized_softmax, {}, lambda c, d: losses.NormalizedSoftmaxLoss(c, d, temperature=0.05)),
]


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # the library's
@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize(("module", "params", "other"), LIBRARY)
def test_value_and_gradients_equal_pytorch_metric_learning(module, params, other, counts):
    features, weight, pids = random_classes(7, counts)
    ours = value_and_gradients(
        lambda x, w: loss_of(module, x, w, pids, **params).value, features, weight
    )
    theirs = value_and_gradients(
        lambda x, w: of_library(other(*weight.shape), x, w, pids), features, weight
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_circle_softmax_is_the_circle_loss_over_pairs_of_images_and_classes(counts):
    features, weight, pids = random_classes(7, counts)
    # At this scale no term underflows: the library's mean is over those above 0.
    other, classes = losses.CircleLoss(m=0.35, gamma=8), torch.arange(len(weight))
    ours = value_and_gradients(
        lambda x, w: loss_of(circle_softmax, x, w, pids, scale=8.0).value, features, weight
    )
    theirs = value_and_gradients(
        lambda x, w: other(x, pids, ref_emb=w, ref_labels=classes), features, weight
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_instance_is_a_softmax_whose_classes_are_the_images(counts):
    features, weight, pids = random_classes(7, counts)
    other = losses.NormalizedSoftmaxLoss(len(pids), 5, temperature=1 / 32)
    ours = value_and_gradients(lambda x: loss_of(instance, x, weight, pids).value, features)
    each = torch.arange(len(pids))
    theirs = value_and_gradients(lambda x: of_library(other, x, x, each), features)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)


@given(st.integers(0, 99), st.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_softmax_equals_the_cross_entropy_of_torch(seed, smoothing):
    logits, _, pids = random_classes(seed, [2, 3, 1, 0, 2])
    uniform = of_logits(softmax, logits, pids, label_smoothing=smoothing).value
    torch.testing.assert_close(uniform, F.cross_entropy(logits, pids, label_smoothing=smoothing))
    targets = torch.full_like(logits, smoothing / 4).scatter_(1, pids[:, None], 1 - smoothing)
    others = of_logits(softmax, logits, pids, label_smoothing=smoothing, smoothing="others").value
    torch.testing.assert_close(others, F.cross_entropy(logits, targets))


@given(st.integers(0, 99), st.floats(0, 5))
@settings(max_examples=20, deadline=None)
def test_focal_of_two_classes_equals_that_of_torchvision(seed, gamma):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(9, dtype=torch.float64, generator=generator)
    pids = torch.randint(2, (9,), generator=generator)
    ours = of_logits(focal, torch.stack([0 * logits, logits], 1), pids, gamma=gamma).value
    # An alpha of -1 is its word for none.
    other = sigmoid_focal_loss(logits, pids.double(), alpha=-1, gamma=gamma, reduction="mean")
    torch.testing.assert_close(ours, other)


# ---- published values -------------------------------------------------------------------


def test_softmax_has_the_published_values():
    logits, pids = torch.tensor([[2.0, 0, -1], [0, 1, 0]]).double(), torch.tensor([0, 2])
    assert of_logits(softmax, logits, pids).value.item() == pytest.approx(0.9273120, abs=5e-8)
    others = of_logits(softmax, logits, pids, smoothing="others").value
    assert others.item() == pytest.approx(0.9606454, abs=5e-8)
    assert of_logits(softmax, 10 * COSINES, PIDS).value.item() == pytest.approx(7.947693, abs=5e-7)


def test_plain_softmax_of_lengths_and_cosines_has_the_published_value():
    lengths = (12 + 5 * torch.arange(8, dtype=torch.float64)[:, None]) / 10
    of_classes = (3 + torch.arange(5, dtype=torch.float64)) / 10
    output = of_logits(softmax, COSINES * lengths * of_classes, PIDS, label_smoothing=0.0)
    assert output.value.item() == pytest.approx(2.391305, abs=5e-7)


def test_focal_has_the_published_value():
    assert of_logits(focal, 3 * COSINES, PIDS).value.item() == pytest.approx(2.535985, abs=5e-7)


@pytest.mark.parametrize(
    ("scale", "margin", "expected"),
    # The last one is known in float32.
    [("norm", 0.0, 2.718118), ("norm", 0.3, 3.536334), (15.0, 0.3, 28.179533)],
)
def test_am_softmax_with_a_slope_has_the_published_values(scale, margin, expected):
    params = {"form": "slope", "scale": scale, "margin": margin}
    value = loss_of(am_softmax, FEATURES, WEIGHT, PIDS, **params).value
    assert value.item() == pytest.approx(expected, rel=2e-7)


def test_am_softmax_with_a_slope_has_the_published_logits():
    cosines = cosine_similarity(FEATURES, WEIGHT)
    cosines[0, 0] = am_softmax.slope_target(cosines[0, 0], 0.3)
    assert (cosines[0] * FEATURES[0].norm()).tolist() == pytest.approx(
        [0.14157, 0.16050, -0.18328, -0.33459, -0.19875], abs=5e-6
    )


def unit_vectors_with_the_cosines():
    """Return features ``(8, 4)`` and classes ``(5, 4)`` of length 1 whose cosines are COSINES."""
    a = 0.4 + 1.3 * torch.arange(8, dtype=torch.float64)
    b = 2.1 * torch.arange(5, dtype=torch.float64)
    # cos(a + b) from two dimensions; one more of each side's own brings the length to 1.
    features = torch.stack([3 * a.cos(), 3 * a.sin(), a * 0 + 1, a * 0], 1)
    classes = torch.stack([3 * b.cos(), -3 * b.sin(), b * 0, b * 0 + 1], 1)
    return features / 10**0.5, classes / 10**0.5


def test_normalized_softmax_has_the_published_value():
    features, classes = unit_vectors_with_the_cosines()
    torch.testing.assert_close(cosine_similarity(features, classes), COSINES)
    value = loss_of(normalized_softmax, 7 * features, classes, PIDS, scale=16.0).value
    assert value.item() == pytest.approx(12.353186, abs=2e-6)  # known in float32


@pytest.mark.parametrize(
    ("target", "highest", "expected"),
    [
        (lambda own: am_softmax.additive_target(own, 0.2), 1.0, 11.040508),
        (lambda own: arcface.arc_target(own, 0.2, "formula"), 0.99, 10.712893),
    ],
)
def test_margins_on_cosines_above_zero_have_the_published_values(target, highest, expected):
    # One release takes no negative cosines; these are its numbers.
    cosines = COSINES.clamp(0, highest)
    own = target(cosines.gather(1, PIDS[:, None]))
    value = margin_cross_entropy(cosines, own, PIDS, 16.0)
    assert value.item() == pytest.approx(expected, abs=5e-7)


def test_arcface_moves_four_cosines_to_the_published_values():
    cosines = torch.tensor([[0.9], [0.5], [-0.5], [-0.9]]).double()
    assert arcface.arc_target(cosines, 0.5).flatten().tolist() == pytest.approx(
        [0.580847, 0.023597, -0.853986, -1.139713], abs=1e-6
    )
    rising = arcface.arc_target(cosines[3:], 0.5, "formula").item()
    assert rising == pytest.approx(math.cos(math.acos(-0.9) + 0.5))


def test_instance_of_five_unit_vectors():
    def value(**params):
        return loss_of(instance, UNIT, UNIT, UNIT_PIDS, **params).value.item()

    # Known in float32.
    assert value() == pytest.approx(0.00133032, abs=5e-8)
    assert value(scale=1.0) == pytest.approx(1.1413596, abs=2e-7)
    assert value(scale=1.0, level="identity") == pytest.approx(0.6690588, abs=2e-7)
    assert value(level="identity") == pytest.approx(0, abs=1e-6)


# ---- shapes of the margins --------------------------------------------------------------

ANGLES = torch.linspace(0, math.pi, 721, dtype=torch.float64)[:, None]


@given(st.floats(0, 1.57))
@settings(max_examples=30, deadline=None)
def test_arcface_falls_with_the_angle_and_never_scores_better_than_the_cosine(margin):
    target = arcface.arc_target(ANGLES.cos(), margin)
    # The sine's floor of 1e-6 is what the ends may miss.
    assert (target.diff(dim=0) < 2e-6).all()
    assert (target <= ANGLES.cos() + 2e-6).all()


@pytest.mark.parametrize("margin", range(1, 9))
def test_sphereface_falls_from_1_to_1_minus_2m_without_a_jump(margin):
    target = sphereface.sphere_target(ANGLES.cos(), margin)
    assert target[0].item() == pytest.approx(1)
    assert target[-1].item() == pytest.approx(1 - 2 * margin)
    step = -target.diff(dim=0)
    assert (step > 0).all()
    assert (step <= margin * math.pi / 720 + 1e-9).all()  # the slope of cos(m theta) is up to m


@given(st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_circle_weighs_what_is_learned_no_more(margin):
    cosines = ANGLES.cos()
    push, pull = circle_softmax.circle_terms(cosines, cosines, margin)
    assert (push[cosines <= -margin] == 0).all()
    assert ((pull >= 0) == (cosines >= 1 - margin)).all()
    zero = 0 * cosines
    hardest_push, hardest_pull = circle_softmax.circle_terms(zero + 1, zero - 1, margin)
    torch.testing.assert_close(hardest_push, zero + (1 + margin) * (1 - margin))
    torch.testing.assert_close(hardest_pull, zero - (2 + margin) * (2 - margin))


SCHEDULED = [
    (am_softmax, "margin", {}),
    (am_softmax, "margin", {"form": "slope"}),
    (arcface, "margin", {}),
    (circle_softmax, "margin", {}),
    (sphereface, "strength", {}),
]
SCHEDULES = {
    "linear": ({"start": 0.1, "end": 0.5, "epochs": 1.5}, lambda t: 0.1 + 0.4 * min(1, t / 1.5)),
    "cosine": (
        {"start": 0.6, "end": 0.2, "epochs": 2.0, "shape": "cosine"},
        lambda t: 0.6 - 0.4 * math.sin(math.pi / 4 * min(2, t)) ** 2,
    ),
    "steps": ([[0, 0.1], [0.75, 0.3], [2, 0.0]], lambda t: 0.1 if t < 0.75 else 0.3 * (t < 2)),
}


@pytest.mark.parametrize("shape", SCHEDULES)
@pytest.mark.parametrize(("module", "name", "params"), SCHEDULED)
def test_a_scheduled_margin_has_the_value_and_the_monitor_of_the_constant(
    module, name, params, shape
):
    schedule, closed_form = SCHEDULES[shape]
    # As from a file: a ramp is an object there.
    params_of_schedule = validate(module.reid_loss()[0].params, {**params, name: schedule}, (), [])
    loss = module.reid_loss()[0].build(params_of_schedule)
    plain = LossInput(FEATURES, PIDS, PIDS, PROGRESS, weight=WEIGHT, logits=FEATURES @ WEIGHT.T)
    for step in range(12):
        x = replace(plain, progress=Progress(step // 4, 3, step, steps_per_epoch=4))
        constant = closed_form(step / 4)
        output = loss(x)
        expected = loss_of(module, FEATURES, WEIGHT, PIDS, **params, **{name: constant}).value
        torch.testing.assert_close(output.value, expected)
        assert output.monitors[name].item() == pytest.approx(constant, abs=1e-12)


# ---- closed forms -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "params", "expected"),
    [
        (softmax, {}, math.log(5)),
        (softmax, {"label_smoothing": 0.7, "smoothing": "others"}, math.log(5)),
        (focal, {}, 0.8**2 * math.log(5)),
        (normalized_softmax, {}, math.log(5)),
        (am_softmax, {}, math.log(1 + 4 * math.exp(30 * 0.35))),
        (am_softmax, {"scale": "norm"}, math.log(5)),  # all logits are 0
        (am_softmax, {"form": "slope"}, math.log(5)),
        (arcface, {"scale": 8.0}, math.log(1 + 4 * math.exp(8 * math.sin(0.5)))),
        (sphereface, {}, math.log(5)),
        # cos(2 pi) - 2 * 2, at an angle of pi / 2
        (sphereface, {"scale": 2.0}, math.log(1 + 4 * math.exp(2 * 3))),
        # gamma (m (0 - m) - (1 + m) (0 - (1 - m))) = gamma (1 - 2 m^2)
        (circle_softmax, {"scale": 8.0}, math.log(1 + 4 * math.exp(8 * (1 - 2 * 0.35**2)))),
        (instance, {}, math.log(8)),
    ],
)
def test_a_zero_vector_is_as_near_to_every_class(module, params, expected):
    value = loss_of(module, torch.zeros(8, 4).double(), WEIGHT, PIDS, **params).value
    assert value.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("module", "params"), VARIANTS)
def test_a_single_class_costs_nothing(module, params):
    features = FEATURES.clone().requires_grad_()
    one = torch.zeros(8, dtype=torch.int64)
    if (module, params.get("level", "image")) == (instance, "image"):
        features, one = features[:1], one[:1]  # a class for each image
    value = loss_of(module, features, WEIGHT[:1], one, **params).value
    value.backward()
    assert value.item() == 0


# ---- every loss over classes ------------------------------------------------------------


@pytest.mark.parametrize(("module", "params"), [v for v in VARIANTS if v[0] is not circle_softmax])
def test_gradients_equal_finite_differences(module, params):
    features, weight, pids = random_classes(5, [3, 1, 2])
    assert torch.autograd.gradcheck(
        lambda x, w: loss_of(module, x, w, pids, **params).value,
        (features.requires_grad_(), weight.requires_grad_()),
    )


@pytest.mark.parametrize("params", [p for module, p in VARIANTS if module is circle_softmax])
def test_gradients_of_circle_equal_finite_differences_with_fixed_weights(params):
    features, weight, pids = random_classes(5, [3, 1, 2])

    def held(x, w):
        return loop_circle_softmax(x, w, pids.tolist(), held=(features, weight), **params)

    ours = value_and_gradients(
        lambda x, w: loss_of(circle_softmax, x, w, pids, **params).value, features, weight
    )
    torch.testing.assert_close(ours, value_and_gradients(held, features, weight))
    leaves = [x.clone().requires_grad_() for x in (features, weight)]
    assert torch.autograd.gradcheck(held, leaves)


@given(st.integers(0, 99), st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=10, deadline=None)
def test_the_order_of_images_and_classes_does_not_matter(seed, counts):
    features, weight, pids = random_classes(seed, counts)
    generator = torch.Generator().manual_seed(seed + 1)
    images = torch.randperm(len(pids), generator=generator)
    classes = torch.randperm(len(weight), generator=generator)
    for module, params in VARIANTS:
        one = loss_of(module, features, weight, pids, **params)
        # Class c is now where the permutation has put it.
        two = loss_of(
            module, features[images], weight[classes], classes.argsort()[pids[images]], **params
        )
        torch.testing.assert_close(one.value, two.value)
        torch.testing.assert_close(dict(one.monitors), dict(two.monitors))
        torch.testing.assert_close(one.accuracy, two.accuracy)


@pytest.mark.parametrize(
    ("module", "params"), [v for v in VARIANTS if v[0] in (*COSINE_LOSSES, instance)]
)
def test_lengths_do_not_matter_to_losses_over_angles(module, params):
    scale = params.get("scale", "norm" if module is sphereface else None)
    by_length = scale == "norm" or params.get("form") == "slope"
    lengths = torch.logspace(-3, 3, 8, dtype=torch.float64)[:, None]
    plain = loss_of(module, FEATURES, WEIGHT, PIDS, **params).value
    torch.testing.assert_close(
        loss_of(module, FEATURES, WEIGHT * lengths[:5], PIDS, **params).value, plain
    )
    longer = loss_of(module, FEATURES * lengths, WEIGHT, PIDS, **params).value
    assert torch.allclose(longer, plain) != by_length


@pytest.mark.parametrize(("module", "params"), VARIANTS)
def test_float32_is_near_float64(module, params):
    features, weight, pids = random_classes(2, [3, 2, 3, 4])

    def single_and_double(x, w):
        return value_and_gradients(lambda x, w: loss_of(module, x, w, pids, **params).value, x, w)

    single = [x.double() for x in single_and_double(features.float(), weight.float())]
    double = list(single_and_double(features.float().double(), weight.float().double()))
    torch.testing.assert_close(single, double, rtol=1e-4, atol=1e-5)


RANDOM = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
CLASSES = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
PAIRS = [0, 0, 1, 1, 2, 2]
SIGNS = torch.tensor([[1.0], [-1], [1], [-1], [-1], [1]])
FIRST_ZERO = torch.tensor([[0.0]] + [[1.0]] * 5)
DEGENERATE = {
    "one identity": (RANDOM, CLASSES, [0] * 6),
    "one image per identity": (RANDOM, CLASSES, [0, 1, 2, 3, 4, 5]),
    "one image": (RANDOM[:1], CLASSES, [2]),
    "identical features": (RANDOM[:1].repeat(6, 1), CLASSES, PAIRS),
    "opposite features": (RANDOM[:1] * SIGNS, CLASSES, PAIRS),
    "zero features": (torch.zeros(6, 4), CLASSES, PAIRS),
    "one zero feature": (RANDOM * FIRST_ZERO, CLASSES, PAIRS),
    "huge norms": (RANDOM * 1e4, CLASSES, PAIRS),
    "tiny norms": (RANDOM * 1e-6, CLASSES, PAIRS),
    "norms at the limit": (RANDOM * 1e-12, CLASSES * 1e-12, PAIRS),
    "different norms": (RANDOM * torch.logspace(-8, 4, 6)[:, None], CLASSES, PAIRS),
    "features at their classes": (3 * CLASSES[PAIRS], CLASSES, PAIRS),
    "features opposite to their classes": (-3 * CLASSES[PAIRS], CLASSES, PAIRS),
    "identical classes": (RANDOM, CLASSES[:1].repeat(8, 1), PAIRS),
    "zero classes": (RANDOM, torch.zeros(8, 4), PAIRS),
    "huge classes": (RANDOM, CLASSES * 1e4, PAIRS),
    "fresh classes": (RANDOM, CLASSES * 1e-3, PAIRS),
    "nothing at all": (torch.zeros(6, 4), torch.zeros(8, 4), PAIRS),
}


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("case", DEGENERATE)
def test_value_and_gradients_stay_finite_and_attached(case, autocast):
    features, classes, pids = DEGENERATE[case]
    for module, params in VARIANTS:
        x, w = features.clone().requires_grad_(), classes.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = loss_of(module, x, w, torch.tensor(pids), **params)
        output.value.backward()
        assert output.value.shape == ()
        assert output.value.isfinite(), module
        assert x.grad.isfinite().all(), module
        assert module is instance or w.grad.isfinite().all(), module
        accuracy = [] if module is instance else [output.accuracy]
        numbers = [*output.monitors.values(), *accuracy]
        assert all(m.isfinite() and not m.requires_grad for m in numbers)


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_gradients_of_degenerate_batches_have_no_nan_on_the_way():
    for features, classes, pids in DEGENERATE.values():
        for module, params in VARIANTS:
            x, w = features.clone().requires_grad_(), classes.clone().requires_grad_()
            value = loss_of(module, x, w, torch.tensor(pids), **params).value
            with torch.autograd.detect_anomaly():
                value.backward()


@pytest.mark.parametrize("module", COSINE_LOSSES)
def test_a_vector_without_a_direction_gets_no_gradient(module):
    features = (RANDOM * FIRST_ZERO).requires_grad_()
    classes = (CLASSES * torch.cat([FIRST_ZERO, torch.ones(2, 1)])).requires_grad_()
    loss_of(module, features, classes, torch.tensor(PAIRS)).value.backward()
    assert not features.grad[0].any()
    assert not classes.grad[0].any()
    assert features.grad[1:].any(dim=1).all()


@pytest.mark.parametrize(("module", "params"), VARIANTS)
def test_the_host_does_not_wait_and_nothing_is_large(module, params, operations):
    batch, dim, num_pids = 6, 7, 50
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(batch, dim, generator=generator).requires_grad_()
    classes = torch.randn(num_pids, dim, generator=generator).requires_grad_()
    with operations() as seen:
        loss_of(module, features, classes, torch.tensor(PAIRS), **params).value.backward()
    assert seen.waiting == []
    assert seen.largest <= num_pids * max(batch, dim)


@pytest.mark.parametrize(("module", "params"), VARIANTS)
def test_shapes_can_be_checked_without_values(module, params):
    features, classes = (x.to("meta").requires_grad_() for x in (RANDOM, CLASSES))
    output = loss_of(module, features, classes, torch.tensor(PAIRS, device="meta"), **params)
    output.value.backward()
    assert output.value.is_meta
    assert output.value.shape == ()


# ---- monitors ---------------------------------------------------------------------------


def test_accuracy_is_the_fraction_of_right_identities():
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    for module in (softmax, focal):
        output = of_logits(module, logits, torch.tensor([0, 1, 0, 1]))
        assert output.accuracy.item() == 0.75


@pytest.mark.parametrize("module", COSINE_LOSSES)
def test_monitors_are_of_the_plain_cosines(module):
    classes = torch.eye(2, dtype=torch.float64)
    features = torch.tensor([[1.0, 0.9], [0.2, 1.0], [3.0, 1.0]], dtype=torch.float64)
    # The first cosine is right by less than the margin, and still right.
    output = loss_of(module, features, classes, torch.tensor([0, 1, 1]))
    assert output.accuracy.item() == pytest.approx(2 / 3)
    own = [1 / math.hypot(1, 0.9), 1 / math.hypot(0.2, 1), 1 / math.hypot(3, 1)]
    assert output.monitors["own_cosine"].item() == pytest.approx(mean(own))


def test_focal_reports_the_mean_probability_of_the_right_identity():
    monitors = of_logits(focal, COSINES, PIDS).monitors
    expected = mean([row.softmax(0)[pid].item() for row, pid in zip(COSINES, PIDS, strict=True)])
    assert monitors["probability"].item() == pytest.approx(expected)


def test_instance_reports_the_mean_cosine_of_different_classes():
    def reported(**params):
        return loss_of(instance, UNIT, UNIT, UNIT_PIDS, **params).monitors["negative_cosine"]

    # Not 0 are the cosines of ab, bc, bd, cd and de; each counts twice, in twenty.
    assert reported().item() == pytest.approx(2 * (0.8 + 0.6 + 0.36 + 0.6 + 0.8) / 20)
    first, second, third = UNIT[:2].mean(0), UNIT[2:4].mean(0), UNIT[4]
    between = [cosine(first, second), cosine(second, third), cosine(first, third)]
    assert reported(level="identity").item() == pytest.approx(mean(between).item())
    assert loss_of(instance, UNIT[:1], UNIT, UNIT_PIDS[:1]).monitors["negative_cosine"] == 0


# ---- params -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "params", "line"),
    [
        (softmax, {"label_smoothing": 1.1}, "label_smoothing: must be <= 1.0, got 1.1"),
        (softmax, {"label_smoothing": -0.1}, "label_smoothing: must be >= 0.0, got -0.1"),
        (focal, {"gamma": -1}, "gamma: must be >= 0.0, got -1"),
        (am_softmax, {"margin": 2.1}, "margin: must be from 0 to 2, got 2.1"),
        (am_softmax, {"scale": 0}, "scale: must be > 0.0 or 'norm', got 0"),
        (
            am_softmax,
            {"scale": "nrm"},
            "scale: expected a number or 'norm', got \"nrm\"; did you mean 'norm'?",
        ),
        (am_softmax, {"form": "sum"}, "form: expected 'additive' or 'slope', got \"sum\""),
        (arcface, {"beyond": "pi"}, "beyond: expected 'falling' or 'formula', got \"pi\""),
        (arcface, {"margin": 1.6}, "margin: must be from 0 to 1.57, got 1.6"),
        (arcface, {"margin": [[0, 28.6]]}, "margin: must be from 0 to 1.57, got 28.6"),
        (arcface, {"scale": 0}, "scale: must be > 0.0, got 0"),
        (sphereface, {"margin": 2.5}, "margin: expected a whole number, got 2.5"),
        (sphereface, {"margin": 0}, "margin: must be >= 1, got 0"),
        (sphereface, {"margin": 9}, "margin: must be <= 8, got 9"),
        (sphereface, {"strength": 1.5}, "strength: must be from 0 to 1, got 1.5"),
        (circle_softmax, {"margin": 1.5}, "margin: must be from 0 to 1, got 1.5"),
        (normalized_softmax, {"scale": 0}, "scale: must be > 0.0, got 0"),
        (instance, {"level": "pid"}, "level: expected 'image' or 'identity', got \"pid\""),
        (instance, {"scale": -1}, "scale: must be > 0.0, got -1"),
    ],
)
def test_a_wrong_param_is_refused_at_its_place(module, params, line):
    problems = []
    assert validate(module.reid_loss()[0].params, params, problems) is None
    assert problems == [line]
