"""The losses with an uncertainty against loops in float64, published values and closed forms.

Value and gradient, also that to the uncertainties, equal those of plain loops over images,
written from the formulas and differentiated by autograd through single numbers.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from loss_batches import FEATURES, PIDS, random_batch, value_and_gradients
from reid_core import ReidError
from reid_core.contracts import LossInput, Progress
from reid_plugins.loss import (
    norm_regularizer,
    triplet,
    uncertain_pair,
    uncertain_softmax,
    uncertain_triplet,
)
from reid_plugins.toolkit.uncertainty import FixedUncertainty, fixed_uncertainty, sphere_distance

PROGRESS = Progress(epoch=0, epochs=1, step=7, steps_per_epoch=10, seed=3)

# The uncertainties of the published vectors.
UC = torch.tensor([0.05 * math.cos(i) for i in range(8)], dtype=torch.float64)


def with_cosines():
    """Return features ``(8, 3)`` of norm 12 + 5i and weights ``(5, 3)`` of norm 3 + c.

    The cosine of i and c is 0.9 cos(0.4 + 1.3i + 2.1c), by the cosine of a sum.
    """
    third = math.sqrt(1 / 0.81 - 1)  # makes the others 0.9 of the length
    a, b = [0.4 + 1.3 * i for i in range(8)], [2.1 * c for c in range(5)]
    rows = [[math.cos(x), -math.sin(x), third] for x in a]
    features = torch.tensor(rows, dtype=torch.float64) * 0.9
    weight = torch.tensor([[math.cos(x), math.sin(x), 0] for x in b], dtype=torch.float64)
    norms, lengths = torch.arange(12, 52, 5), torch.arange(3, 8)
    return features * norms[:, None], weight * lengths[:, None]


CLASS_FEATURES, WEIGHT = with_cosines()

# The norm of the published features is from 0.96 to 4.07.
FIXED = {"lower": 0.0, "upper": -0.1, "lower_norm": 0.5, "upper_norm": 4.0}
"""The fixed map of the published values."""

STEEP = {"lower": -0.2, "upper": 0.3, "lower_norm": 1.0, "upper_norm": 3.0}
"""A fixed map beyond whose range some of the random features are."""

COUNTS = [[2, 2, 2], [4, 1, 3, 2], [1, 5], [1, 1, 1], [4]]


def loss_of(module, features, pids, uc=None, weight=None, **params):
    (component,) = module.reid_loss()
    loss = component.build(component.params.model_validate(params))
    aux = {} if uc is None else {"uc": uc}
    return loss(LossInput(features, pids, pids, PROGRESS, weight=weight, aux=aux))


def random_uncertain(seed, counts, dim=5):
    """Return features, identities in any order, and uncertainties."""
    features, uc, pids = random_batch(seed, counts, dim, [(sum(counts),)])
    return features, pids, 0.2 * uc


def random_weight(seed, classes=4, dim=5):
    generator = torch.Generator().manual_seed(seed + 1000)
    return torch.randn(classes, dim, generator=generator, dtype=torch.float64)


# ---- loops ------------------------------------------------------------------------------


def length(v):
    return (v * v).sum() ** 0.5


def chord(a, b):
    return length(a / length(a) - b / length(b))


def arc(a, b):
    a, b = a / length(a), b / length(b)
    return 2 * torch.atan2(length(a - b), length(a + b))


def loop_uncertainty(x, uc, uncertainty):
    if uncertainty == "head":
        return list(uc)
    low, high, at, to = (uncertainty[k] for k in ("lower", "upper", "lower_norm", "upper_norm"))
    return [low + (high - low) * min(max((length(v) - at) / (to - at), 0), 1) for v in x]


def loop_gaps(x, pids, uc, margin, distance, detach_partners):
    """Return of every anchor the gaps of its positives, itself included, and negatives."""
    measure = chord if distance == "chord" else arc
    anchors = []
    for i in range(len(x)):
        pull, push = [], []
        for j in range(len(x)):
            d = 0.0 if i == j else measure(x[i], x[j])
            both = uc[i] + (torch.as_tensor(uc[j]).detach() if detach_partners else uc[j])
            gap = d - both + margin if pids[i] == pids[j] else -d - both
            if distance == "chord_of_arc":
                gap = 2 * torch.sin(gap / 2)
            (pull if pids[i] == pids[j] else push).append(gap)
        anchors.append((pull, push))
    return anchors


def loop_pair(
    x, pids, uc=None, margin=0.2, distance="chord", scale=32.0, detach_partners=False, **given
):
    u = loop_uncertainty(x, uc, given.get("uncertainty", "head"))
    total = 0 * x.sum()
    for pull, push in loop_gaps(x, pids, u, margin, distance, detach_partners):
        # One exponential for each positive with each negative: no sum of exponentials.
        pairs = [(scale * (p + n)).exp() for p in pull for n in push]
        total = total + torch.log1p(sum(pairs) + 0 * x.sum()) / scale
    return total / len(x)


def loop_triplet(
    x, pids, uc=None, margin=0.2, distance="chord", sharpness=None, detach_partners=False, **given
):
    u = loop_uncertainty(x, uc, given.get("uncertainty", "head"))
    total = 0 * x.sum()
    for pull, push in loop_gaps(x, pids, u, margin, distance, detach_partners):
        for gap in [max(p + n for p in pull for n in push)] if push else []:
            if sharpness is None:
                total = total + max(gap, 0 * gap)
            else:
                total = total + torch.log1p((sharpness * gap).exp()) / sharpness
    return total / len(x)


def loop_softmax(x, weight, pids, uc=None, margin=0.0, scale=16.0, metric="linear", **given):
    u = loop_uncertainty(x, uc, given.get("uncertainty", "head"))
    total = 0 * x.sum()
    for i in range(len(x)):
        logits = []
        for c in range(len(weight)):
            angle = arc(x[i], weight[c])
            by = u[i] + margin if c == pids[i] else -u[i]
            if metric == "cos":
                logits.append(scale * (angle.cos() - by))
            else:
                logits.append(scale * ((angle + by).cos() if metric == "arc" else -(angle + by)))
        top = max(logits).detach()
        total = total + top + sum((z - top).exp() for z in logits).log() - logits[pids[i]]
    return total / len(x)


PAIR_CASES = [
    (module, loop, params)
    for module, loop, sharp in [
        (uncertain_pair, loop_pair, {"scale": 8.0}),
        (uncertain_triplet, loop_triplet, {"sharpness": 10.0}),
    ]
    for params in [
        {},
        {"distance": "arc", "margin": 0.4},
        {"distance": "chord_of_arc"},
        {"detach_partners": True, **sharp},
        {"distance": "arc", "detach_partners": True},
        {"uncertainty": STEEP, **sharp},
        {"uncertainty": STEEP, "distance": "chord_of_arc", "detach_partners": True},
        {"margin": 0.0, "distance": "arc", **sharp},
    ]
]
CLASS_CASES = [
    {},
    {"metric": "arc", "margin": 0.3},
    {"metric": "cos", "margin": 0.2, "scale": 8.0},
    {"metric": "linear", "margin": -0.1},
    *({"metric": metric, "uncertainty": STEEP} for metric in ("arc", "cos", "linear")),
]
SAMENESS = {"rtol": 1e-8, "atol": 5e-9}  # torch ends softplus at 20, where its slope is 1 - 2e-9


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize(("module", "loop", "params"), PAIR_CASES)
def test_pairs_equal_the_loop(module, loop, params, counts):
    for seed in range(2):
        features, pids, uc = random_uncertain(seed, counts)
        ours = value_and_gradients(
            lambda x, u, p=pids: loss_of(module, x, p, u, **params).value, features, uc
        )
        other = value_and_gradients(
            lambda x, u, p=pids: loop(x, p.tolist(), u, **params), features, uc
        )
        torch.testing.assert_close(ours, other, **SAMENESS)
        if len(counts) == 1:
            assert ours[0] == 0


@pytest.mark.parametrize("params", CLASS_CASES)
def test_classification_equals_the_loop(params):
    for seed in range(3):
        features, pids, uc = random_uncertain(seed, [3, 1, 2, 2])
        weight = random_weight(seed)
        ours = value_and_gradients(
            lambda x, w, u, p=pids: loss_of(uncertain_softmax, x, p, u, w, **params).value,
            *(features, weight, uc),
        )
        other = value_and_gradients(
            lambda x, w, u, p=pids: loop_softmax(x, w, p.tolist(), u, **params),
            *(features, weight, uc),
        )
        torch.testing.assert_close(ours, other, **SAMENESS)


# ---- published values -------------------------------------------------------------------

CHORD, ARC, CHORD_OF_ARC = ({"distance": d} for d in ("chord", "arc", "chord_of_arc"))
SHARP = {"sharpness": 20.0, "uncertainty": FIXED}

PUBLISHED = {
    "uc-tri-n": (uncertain_pair, CHORD, 0.905072),
    "uc-tri-dpn": (uncertain_pair, {**CHORD, "detach_partners": True}, 0.905072),
    "uc-pair-n": (uncertain_pair, ARC, 1.244277),
    "uc-pair-n, fixed": (uncertain_pair, {**ARC, "uncertainty": FIXED}, 1.519069),
    "uc-atri-n": (uncertain_pair, CHORD_OF_ARC, 0.804100),
    "uc-tri-hard": (uncertain_triplet, CHORD, 0.904492),
    "uc-atri": (uncertain_triplet, {**ARC, **SHARP}, 1.517605),
    "uc-tri": (uncertain_triplet, {**CHORD, **SHARP}, 1.178223),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_losses_on_pairs_have_the_published_values(name):
    module, params, expected = PUBLISHED[name]
    value = loss_of(module, FEATURES, PIDS, UC, **params).value.item()
    assert value == pytest.approx(expected, abs=6e-7)


def test_one_release_multiplies_the_loss_on_pairs_by_its_scale():
    value = 32 * loss_of(uncertain_pair, FEATURES, PIDS, **ARC, uncertainty=FIXED).value
    assert value.item() == pytest.approx(48.610200, abs=2e-5)  # known in float32


GRADIENTS = {
    "uc-tri-n": (
        "-.384613 -.375138 -.501585 -.493827 -.501199 -.624955 -.616681 -.502003",
        "-.020668 -.109091 -.033080 .159414",
    ),
    "uc-tri-dpn": ("-.25 " * 8, "-.020668 -.109091 -.033080 .159414"),
    "uc-tri-hard": (
        "-.375 -.375 -.5 -.5 -.5 -.625 -.625 -.5",
        "-.019496 -.107539 -.034912 .156410",
    ),
    "uc-pair-n": (
        "-.385772 -.375015 -.500267 -.489766 -.500164 -.624997 -.623411 -.500608",
        "-.003916 -.160910 -.089323 .268805",
    ),
    "uc-atri-n": (
        "-.229170 -.221105 -.288649 -.262089 -.336995 -.453055 -.385861 -.319879",
        "-.023853 -.108157 -.023571 .150267",
    ),
}


def numbers(text):
    return [float(word) for word in text.split()]


@pytest.mark.parametrize("name", GRADIENTS)
def test_losses_on_pairs_have_the_published_gradients(name):
    # The published gradient to the features is that of the loss and of the term for the norm.
    module, params, _ = PUBLISHED[name]
    span = {key: FIXED[key] for key in ("lower_norm", "upper_norm")}

    def total(x, u):
        regularizer = loss_of(norm_regularizer, x, PIDS, form="exp", k=3.0, **span).value
        return loss_of(module, x, PIDS, u, **params).value + regularizer

    _, to_features, to_uc = value_and_gradients(total, FEATURES, UC)
    expected_uc, expected = GRADIENTS[name]
    # The sums over pairs were published from float32.
    assert to_uc.tolist() == pytest.approx(numbers(expected_uc), abs=3e-6)
    assert to_features[0].tolist() == pytest.approx(numbers(expected), abs=3e-6)


ZERO = {"lower": 0.0, "upper": 0.0}
CLASSES = [
    # In "cos" and "linear" the release adds its margin of 0.1 to the right identity.
    ("arc", 0.1, 13.665244, 13.433428),
    ("cos", -0.1, 11.398783, 11.046609),
    ("linear", -0.1, 13.280197, 12.934831),
]


@pytest.mark.parametrize(("metric", "margin", "with_uc", "without"), CLASSES)
def test_the_classification_loss_has_the_published_values(metric, margin, with_uc, without):
    params = {"metric": metric, "margin": margin, "scale": 16.0}
    batch = CLASS_FEATURES, PIDS, UC, WEIGHT
    value = loss_of(uncertain_softmax, *batch, **params).value.item()
    assert value == pytest.approx(with_uc, abs=2e-6)
    plain = loss_of(uncertain_softmax, *batch, uncertainty=ZERO, **params).value.item()
    assert plain == pytest.approx(without, abs=2e-6)


@pytest.mark.parametrize(
    ("metric", "margin", "expected"),
    [
        ("arc", 0.1, "2.073146 2.996947 3.583347 .976048 2.445449 3.345500 2.615368 2.311260"),
        ("cos", -0.1, "1.903913 3.999998 2.997941 .154535 4 3.999761 4 4"),
        ("linear", -0.1, "1.829831 4 3.258963 .149141 4 3.999942 4 4"),
    ],
)
def test_the_classification_loss_has_the_published_gradients(metric, margin, expected):
    def value(u):
        params = {"metric": metric, "margin": margin, "scale": 16.0}
        return loss_of(uncertain_softmax, CLASS_FEATURES, PIDS, u, WEIGHT, **params).value

    _, gradient = value_and_gradients(value, UC)
    assert gradient.tolist() == pytest.approx(numbers(expected), abs=2e-6)


REGULARIZERS = [
    ({"form": "exp", "k": 3.0}, [0.350798, 0.104471, 0.069860]),
    ({"form": "exp", "k": 5.0}, [0.201357, 0.019920, 0.008140]),
    ({"form": "quad"}, [0.5, 0.125, 0.0]),
    ({"form": "log"}, [0.263284, 0.116191, 0.099516]),
    ({"form": "arc"}, [0.101667, 0.021806, 0.018333]),
]
FORMS = [params for params, _ in REGULARIZERS]


def of_norm(norm, **params):
    """Return the regulariser of one image with this norm."""
    direction = torch.tensor([[0.6, 0.0, -0.8]], dtype=torch.float64)
    vector = torch.as_tensor(norm, dtype=torch.float64) * direction
    return loss_of(norm_regularizer, vector, torch.tensor([0]), **params).value


@pytest.mark.parametrize(("params", "expected"), REGULARIZERS)
def test_regularizers_have_the_published_values(params, expected):
    values = [of_norm(norm, **params).item() for norm in (10, 60, 110)]
    assert values == pytest.approx(expected, abs=1e-6)  # the release has e to five digits


# ---- the regulariser --------------------------------------------------------------------


def slope(norm, **params):
    """Return the derivative by the norm's place in the range, which is from 0 to 1."""
    leaf = torch.tensor(norm, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(of_norm(leaf, **params), leaf)
    return gradient.item() * (params["upper_norm"] - params["lower_norm"])


@given(st.floats(0.5, 50), st.floats(5, 500))
@settings(max_examples=20, deadline=None)
def test_all_forms_push_alike_at_the_lower_end_and_not_at_the_upper(low, width):
    for form in FORMS:
        params = {**form, "lower_norm": low, "upper_norm": low + width}
        if form["form"] == "exp" and form["k"] * low > 20 * width:
            continue  # refused
        at = [low + width * share for share in (1e-9, 0.25, 0.5, 0.75, 1 - 1e-9)]
        slopes = [slope(norm, **params) for norm in at]
        assert slopes[0] == pytest.approx(-1, abs=1e-5)
        assert slopes[-1] == pytest.approx(0, abs=1e-5)
        assert slopes == sorted(slopes)  # convex
        assert slope(low + 1.5 * width, **params) > 0  # norms that are too long are pulled back


@pytest.mark.parametrize("params", FORMS)
def test_below_the_range_only_exp_and_quad_push(params):
    below = slope(4.0, lower_norm=10.0, upper_norm=110.0, **params)
    assert below < -1 if params["form"] in ("exp", "quad") else below == 0


def test_the_regularizer_is_the_mean_over_images():
    norms = FEATURES.norm(dim=1).tolist()
    params = {"form": "log", "lower_norm": 1.0, "upper_norm": 3.0}
    output = loss_of(norm_regularizer, FEATURES, PIDS, **params)
    values = [of_norm(norm, **params).item() for norm in norms]
    assert output.value.item() == pytest.approx(sum(values) / 8)
    monitors = {name: m.item() for name, m in output.monitors.items()}
    assert monitors == pytest.approx(
        {"norm": sum(norms) / 8, "norm_min": min(norms), "norm_max": max(norms)}
    )


# ---- what uncertainties mean ------------------------------------------------------------


@pytest.mark.parametrize("module", [uncertain_pair, uncertain_triplet])
def test_on_pairs_a_larger_uncertainty_is_a_smaller_margin(module):
    less = loss_of(module, FEATURES, PIDS, UC).value
    assert loss_of(module, FEATURES, PIDS, UC + 0.01).value < less
    # All uncertainties together are a margin, of which each anchor's triplet has four.
    moved = loss_of(module, FEATURES, PIDS, 0 * UC, margin=0.2 + 4 * 0.01).value
    same = loss_of(module, FEATURES, PIDS, 0 * UC - 0.01).value
    torch.testing.assert_close(moved, same)


@pytest.mark.parametrize("metric", ["arc", "cos", "linear"])
def test_in_classification_margin_and_uncertainty_are_harder(metric):
    def value(u, margin):
        params = {"metric": metric, "margin": margin}
        return loss_of(uncertain_softmax, FEATURES, PIDS, u, random_weight(0, dim=4), **params)

    assert value(UC, 0.01).value > value(UC, 0.0).value
    assert value(UC + 0.01, 0.0).value > value(UC, 0.0).value


def test_without_uncertainty_hard_triplets_are_those_of_the_triplet_loss():
    features, pids, uc = random_uncertain(0, [3, 3, 2])
    ours = loss_of(uncertain_triplet, features, pids, 0 * uc, margin=0.3).value
    unit = features / features.norm(dim=1, keepdim=True)
    torch.testing.assert_close(ours, loss_of(triplet, unit, pids, margin=0.3).value)


def test_without_uncertainty_cosines_are_a_softmax():
    weight = random_weight(0, dim=4)
    value = loss_of(uncertain_softmax, FEATURES, PIDS, 0 * UC, weight, metric="cos").value
    cosine = torch.nn.functional.cosine_similarity(FEATURES[:, None], weight[None], dim=2)
    torch.testing.assert_close(value, torch.nn.functional.cross_entropy(16 * cosine, PIDS))


def test_a_fixed_uncertainty_is_linear_in_the_norm_and_constant_beyond_the_range():
    to = FixedUncertainty(lower=0.25, upper=-0.15, lower_norm=2.0, upper_norm=6.0)
    features = torch.tensor([[0.0], [1], [2], [3], [-4], [6], [60]])
    found = fixed_uncertainty(features, to).tolist()
    assert found == pytest.approx([0.25, 0.25, 0.25, 0.15, 0.05, -0.15, -0.15])


def test_distances_on_the_sphere():
    vectors = torch.tensor([[2.0, 0], [0, 5], [-3, 0], [1, 1], [0, 0]], dtype=torch.float64)
    chords, arcs = (sphere_distance(vectors, d) for d in ("chord", "arc"))
    root = math.sqrt(2)
    assert chords[0].tolist() == pytest.approx([0, root, 2, math.sqrt(2 - root), 1])
    quarter = math.pi / 4
    assert arcs[0].tolist() == pytest.approx(
        [0, 2 * quarter, math.pi, quarter, math.pi / 3], abs=3e-3
    )
    assert not chords.diagonal().any()
    assert not arcs.diagonal().any()


def test_chords_of_arcs_do_not_shrink_beyond_the_diameter():
    # Opposite images of one person: a margin of 1 would put the gap beyond half a turn.
    features = torch.tensor([[1.0, 0], [-1, 1e-1], [0, 1], [0.1, 1]], dtype=torch.float64)
    pids, zero = torch.tensor([0, 0, 1, 1]), torch.zeros(4, dtype=torch.float64)
    values = [
        loss_of(uncertain_pair, features, pids, zero, margin=m, **CHORD_OF_ARC).value.item()
        for m in (0.0, 0.5, 1.0, 2.0, 3.0)
    ]
    assert values == sorted(values)


# ---- every variant ----------------------------------------------------------------------

VARIANTS = [(module, params) for module, _, params in PAIR_CASES]
VARIANTS += [(uncertain_softmax, params) for params in CLASS_CASES]
VARIANTS += [(norm_regularizer, params) for params in FORMS]
NARROW = {"lower_norm": 1.0, "upper_norm": 4.0}  # where the norms of random features are


DERIVED = [(module, params) for module, params in VARIANTS if not params.get("detach_partners")]
"""Those whose gradient is the derivative; with detached partners the loop has the same."""


@pytest.mark.parametrize(("module", "params"), DERIVED)
def test_gradient_equals_finite_differences(module, params):
    features, pids, uc = random_uncertain(5, [3, 1, 2])
    params = {**params, **NARROW} if module is norm_regularizer else params
    inputs = [t.requires_grad_() for t in (features, uc, random_weight(5))]
    assert torch.autograd.gradcheck(
        lambda x, u, w: loss_of(module, x, pids, u, w, **params).value, inputs
    )


@given(st.integers(0, 99), st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_batch_does_not_matter(seed, counts):
    features, pids, uc = random_uncertain(seed, counts)
    order = torch.randperm(len(pids), generator=torch.Generator().manual_seed(seed + 1))
    for module, params in VARIANTS:
        one = loss_of(module, features, pids, uc, random_weight(seed), **params)
        two = loss_of(
            module, features[order], pids[order], uc[order], random_weight(seed), **params
        )
        torch.testing.assert_close(one.value, two.value)
        torch.testing.assert_close(dict(one.monitors), dict(two.monitors))
        torch.testing.assert_close(one.accuracy, two.accuracy)


@given(st.integers(0, 99), st.floats(0.01, 100))
@settings(max_examples=10, deadline=None)
def test_the_lengths_of_features_do_not_matter_where_the_head_gives_uncertainties(seed, factor):
    features, pids, uc = random_uncertain(seed, [3, 2, 1])
    for module, params in VARIANTS:
        if module is norm_regularizer or "uncertainty" in params:
            continue
        one, two = (
            loss_of(module, f * features, pids, uc, random_weight(seed), **params)
            for f in (1, factor)
        )
        torch.testing.assert_close(one.value, two.value)


RANDOM = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
PAIRS = [0, 0, 1, 1, 2, 2]
SIGNS = torch.tensor([[1], [-1], [1], [-1], [-1], [1]])
DEGENERATE = {
    "one identity": (RANDOM, [0] * 6),
    "one image per identity": (RANDOM, [0, 1, 2, 3, 4, 5]),
    "one image": (RANDOM[:1], [2]),
    "identical features": (RANDOM[:1].repeat(6, 1), PAIRS),
    "opposite features": (RANDOM[:1] * SIGNS, PAIRS),
    "zero features": (torch.zeros(6, 5), PAIRS),
    "one zero feature": (RANDOM * torch.tensor([[0], [1], [1], [1], [1], [1]]), PAIRS),
    "huge norms": (RANDOM * 1e12, PAIRS),
    "tiny norms": (RANDOM * 1e-12, PAIRS),
    "different norms": (RANDOM * torch.logspace(-12, 12, 6)[:, None], PAIRS),
    "features that are class weights": (
        random_weight(9, 6).float() * torch.tensor([[1.0], [-1], [2], [-2], [1], [1]]),
        PAIRS,
    ),
}


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("case", DEGENERATE)
@pytest.mark.parametrize("size", [0.0, 0.1, 100.0])
def test_value_and_gradients_stay_finite_and_attached(case, size, autocast):
    features, pids = DEGENERATE[case]
    spread = torch.linspace(-size, size, len(pids))
    for module, params in VARIANTS:
        leaves = [
            t.clone().requires_grad_() for t in (features, spread, random_weight(9, 6).float())
        ]
        x, u, w = leaves
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            output = loss_of(module, x, torch.tensor(pids), u, w, **params)
        output.value.backward()
        assert output.value.shape == ()
        assert output.value.isfinite(), (module, params)
        assert all(t.grad is None or t.grad.isfinite().all() for t in leaves), (module, params)
        assert x.grad is not None
        assert all(m.isfinite() and not m.requires_grad for m in output.monitors.values())
        if len(set(pids)) == 1 and module in (uncertain_pair, uncertain_triplet):
            assert output.value.item() == 0
            assert not x.grad.any()


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_gradients_of_degenerate_batches_have_no_nan_on_the_way():
    for features, pids in DEGENERATE.values():
        for module, params in VARIANTS:
            leaf, uc = features.clone().requires_grad_(), torch.zeros(len(pids)).requires_grad_()
            weight = random_weight(9, 6).float()
            value = loss_of(module, leaf, torch.tensor(pids), uc, weight, **params).value
            with torch.autograd.detect_anomaly():
                value.backward()


@pytest.mark.parametrize(("module", "params"), VARIANTS)
def test_the_host_does_not_wait_for_the_device(module, params):
    """Tensors on the meta device have no values that could be read."""
    x, u, w = (torch.empty(*s, device="meta", requires_grad=True) for s in ((6, 5), (6,), (4, 5)))
    loss_of(module, x, torch.tensor(PAIRS, device="meta"), u, w, **params).value.backward()


# ---- the uncertainties of monitors, errors ----------------------------------------------


def test_monitors_of_pairs_leave_out_the_diagonal():
    monitors = loss_of(uncertain_pair, FEATURES, PIDS, UC).monitors
    pairs = [(i, j) for i in range(8) for j in range(8) if i != j]
    own = [chord(FEATURES[i], FEATURES[j]).item() for i, j in pairs if PIDS[i] == PIDS[j]]
    others = [chord(FEATURES[i], FEATURES[j]).item() for i, j in pairs if PIDS[i] != PIDS[j]]
    assert {name: monitor.item() for name, monitor in monitors.items()} == pytest.approx(
        {
            "positive_distance": sum(own) / len(own),
            "negative_distance": sum(others) / len(others),
            "uncertainty_min": min(UC).item(),
            "uncertainty_max": max(UC).item(),
        }
    )


def test_hard_triplets_count_the_active_ones():
    features = torch.tensor([[1.0, 0], [1, 0.01], [0, 1], [-0.01, 1], [0, 1.0]])
    pids = torch.tensor([0, 0, 1, 1, 2])  # the last is where the second person is
    output = loss_of(uncertain_triplet, features, pids, torch.zeros(5))
    assert output.monitors["active"].item() == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (uncertain_pair, "uncertain_pair"),
        (uncertain_triplet, "uncertain_triplet"),
        (uncertain_softmax, "uncertain_softmax"),
    ],
)
def test_a_head_without_uncertainty_is_an_error(module, name):
    (component,) = module.reid_loss()
    loss = component.build(component.params())
    x = LossInput(FEATURES, PIDS, PIDS, PROGRESS, weight=WEIGHT, aux={"b_uc": UC})
    with pytest.raises(
        ReidError,
        match=f"loss '{name}' needs the head 'uncertain', without an 'alias' .* heads: b_uc\\)",
    ):
        loss(x)


@pytest.mark.parametrize("module", [uncertain_pair, uncertain_triplet, uncertain_softmax])
def test_a_fixed_uncertainty_needs_no_head(module):
    weight = random_weight(0, dim=4)
    assert loss_of(module, FEATURES, PIDS, None, weight, uncertainty=STEEP).value.isfinite()


WRONG = [
    (
        uncertain_pair,
        {"uncertainty": {"lower": 0.0, "upper": 1.0, "lower_norm": 5.0, "upper_norm": 5.0}},
        "upper_norm must be above lower_norm, got 5.0 and 5.0",
    ),
    (norm_regularizer, {"lower_norm": 200.0}, "upper_norm must be above lower_norm, got 110.0"),
    (
        norm_regularizer,
        {"lower_norm": 100.0},
        r"too narrow for 'exp': .* must be at most 20, got 30; lower k or widen the range",
    ),
    (uncertain_triplet, {"sharpness": 0.0}, "greater than 0"),
    (uncertain_softmax, {"metric": "chord"}, "'arc', 'cos' or 'linear'"),
]


@pytest.mark.parametrize(("module", "params", "problem"), WRONG)
def test_params_that_make_no_sense_are_refused(module, params, problem):
    (component,) = module.reid_loss()
    with pytest.raises(ValidationError, match=problem):
        component.params.model_validate(params)


def test_a_range_that_is_narrow_for_exp_serves_the_other_forms():
    assert of_norm(50.0, form="quad", lower_norm=100.0).isfinite()
