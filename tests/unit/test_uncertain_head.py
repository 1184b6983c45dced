"""The head `uncertain`: its map from norm to uncertainty against published values and loops."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre as numpy_legendre
from pydantic import ValidationError
from torch import nn

from reid_core.contracts import FeatureMap
from reid_core.network.model import hold_statistics
from reid_plugins.head import global_head, uncertain
from reid_plugins.head._norm_to_uncertainty import (
    NormToUncertainty,
    hinges,
    legendre,
    taylor,
)

CHANNELS = 8

BASES = [
    {"basis": "hinges"},
    {"basis": "hinges", "terms": 5},
    {"basis": "taylor"},
    {"basis": "taylor", "terms": 4, "even_orders": True},
    {"basis": "legendre", "terms": 3},
    {"basis": "legendre", "terms": 5, "even_orders": True},
]


def build(module=uncertain, **params):
    (component,) = module.reid_head()
    return component.build(component.params(**params), in_channels=CHANNELS)


def random_map(images=6, seed=0):
    """Return maps whose vectors have quite different norms."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(images, CHANNELS, 4, 2, generator=generator).relu()
    return FeatureMap(values * torch.linspace(0.5, 3, images)[:, None, None, None])


def random_vectors(count=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator, dtype=torch.float64)


def learned(seed=1, **params):
    """Return a map in float64 as it may be after a while of training."""
    settings = {"basis": "hinges", "terms": 6, **params}
    module = NormToUncertainty(settings.pop("basis"), settings.pop("terms"), **settings).double()
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(module.weight, std=0.2, generator=generator)
    return module


# ---- basis functions --------------------------------------------------------------------

PLACES = [-10, -4, -2, 0, 2, 4, 10]


def test_five_hinges_have_the_published_sum():
    total = hinges(torch.tensor(PLACES, dtype=torch.float64), 5).sum(dim=1)
    expected = [0.07155, 0.07155, 0.27727, 0.48299, 0.76921, 1.05542, 1.05542]
    assert total.tolist() == pytest.approx(expected, abs=6e-6)


def test_the_gradient_of_hinges_is_a_tenth_of_the_slope():
    x = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(hinges(x, 5).sum(), x)
    with torch.no_grad():
        slope = (hinges(x + 1e-6, 5) - hinges(x - 1e-6, 5)).sum().item() / 2e-6
    assert slope == pytest.approx(0.1431, abs=5e-5)
    assert gradient.item() == pytest.approx(0.0143, abs=5e-5)
    assert gradient.item() == pytest.approx(slope / 10, rel=1e-6)


@pytest.mark.parametrize("count", [1, 2, 32])
def test_hinges_equal_the_loop(count):
    bends = [-0.8] if count == 1 else [-0.8 + 1.6 * k / (count - 1) for k in range(count)]
    found = hinges(torch.tensor(PLACES, dtype=torch.float64), count)
    for x, row in zip(PLACES, found.tolist(), strict=True):
        shifted = [min(max(0.1 * x, -0.4), 0.4) + bend for bend in bends]
        expected = [(z if z > 0 else 0.1 * z) / math.sqrt(count) for z in shifted]
        assert row == pytest.approx(expected)


COEFFICIENTS = [
    [1],
    [0, 1],
    [-0.5, 0, 1.5],
    [0, -1.5, 0, 2.5],
    [0.375, 0, -3.75, 0, 4.375],
    [0, 1.875, 0, -8.75, 0, 7.875],
]


def test_legendre_polynomials_have_the_published_coefficients():
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    expected = [sum(a * x**p for p, a in enumerate(row)) + 0 * x for row in COEFFICIENTS]
    torch.testing.assert_close(legendre(x, range(1, 6)), torch.stack(expected[1:], dim=1))


def test_legendre_polynomials_equal_those_of_numpy():
    x = np.linspace(-2, 2, 9)
    orders = list(range(1, 17))
    expected = [numpy_legendre.legval(x, [0] * n + [1]) for n in orders]
    torch.testing.assert_close(
        legendre(torch.from_numpy(x), orders), torch.from_numpy(np.stack(expected, axis=1))
    )


ORDERS = [
    ("tlr", {"basis": "taylor"}, [1, 3, 5, 7, 9]),
    ("tlr_5", {"basis": "taylor", "terms": 3}, [1, 3, 5]),
    ("tlr_4", {"basis": "taylor", "terms": 2}, [1, 3]),
    ("tlr_all_5", {"basis": "taylor", "terms": 12, "even_orders": True}, [*range(1, 13)]),
    ("lgd", {"basis": "legendre"}, [1, 3, 5, 7, 9]),
    ("lgd_all_3", {"basis": "legendre", "terms": 8, "even_orders": True}, [*range(1, 9)]),
    ("most", {"basis": "taylor", "terms": 8}, [1, 3, 5, 7, 9, 11, 13, 15]),
]


@pytest.mark.parametrize(("published", "params", "orders"), ORDERS)
def test_params_give_the_orders_of_the_published_names(published, params, orders):
    module = build(**params).uncertainty
    x = torch.tensor([0.5, -1.25], dtype=torch.float64)
    expected = {"taylor": taylor, "legendre": legendre}[params["basis"]](x, orders)
    assert module.weight.shape == (len(orders),)
    assert torch.equal(module.basis(x), expected)
    assert torch.equal(taylor(x, orders), torch.stack([x**p for p in orders], dim=1))


@pytest.mark.parametrize(("published", "terms", "count"), [("nn", None, 32), ("nn_128", 128, 128)])
def test_hinges_have_a_weight_each(published, terms, count):
    module = build(terms=terms).uncertainty
    assert module.weight.shape == (count,)
    assert module.basis(torch.zeros(2)).shape == (2, count)


# ---- the map against loops --------------------------------------------------------------


def loop_uncertainty(module, vectors, log_norm):
    """Return the uncertainties of a batch in training, and what enters the running mean."""
    norms = [(v * v).sum() ** 0.5 for v in vectors]
    norms = [r.log() for r in norms] if log_norm else norms
    mean = sum(norms) / len(norms)
    variance = sum((r - mean) ** 2 for r in norms) / len(norms)
    raw = []
    for r in norms:
        x = (r - mean) / (variance + 1e-5) ** 0.5
        if module.basis.func is hinges:  # a tenth of the gradient
            x = 0.1 * x + 0.9 * x.detach()
            bends = torch.linspace(-0.8, 0.8, len(module.weight), dtype=x.dtype)
            z = [(0.1 * x).clamp(-0.4, 0.4) + bend for bend in bends]
            terms = [(h if h > 0 else 0.1 * h) / len(bends) ** 0.5 for h in z]
        else:
            terms = module.basis(x[None])[0]
        raw.append(sum(w * t for w, t in zip(module.weight, terms, strict=True)))
    share = sum(u.clamp(-0.5, 0.5) for u in raw) / len(raw)
    return torch.stack([u - share for u in raw]), share


LEARNED = [
    {},
    {"log_norm": True},
    {"basis": "taylor", "terms": 3},
    {"basis": "taylor", "terms": 4, "even_orders": True, "log_norm": True},
    {"basis": "legendre", "terms": 4, "even_orders": True},
]


@pytest.mark.parametrize("params", LEARNED)
def test_value_and_gradients_in_training_equal_the_loop(params):
    module = learned(**params).train()
    vectors = random_vectors().requires_grad_()
    results = [module(vectors), loop_uncertainty(module, vectors, module.log_norm)[0]]
    weights = torch.linspace(-1, 2, len(vectors), dtype=torch.float64)
    gradients = [
        torch.autograd.grad((r * weights).sum(), [vectors, module.weight]) for r in results
    ]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*gradients)
    assert gradients[0][0].any()  # the features are not detached


@pytest.mark.parametrize("params", [p for p in LEARNED if "basis" in p])
def test_the_gradient_of_polynomials_equals_finite_differences(params):
    module = learned(**params).train()
    assert torch.autograd.gradcheck(module, random_vectors().requires_grad_())


@pytest.mark.parametrize("params", LEARNED)
def test_the_mean_is_0_over_a_batch_and_a_running_one_in_evaluation(params):
    module = learned(**params)
    mean, norms_mean, norms_variance = 0.0, 0.0, 1.0
    for seed in range(5):
        vectors = random_vectors(seed=seed)
        share = loop_uncertainty(module, vectors, module.log_norm)[1].item()
        uc = module.train()(vectors)
        # Without outliers, which enter with half a unit at most, this is a mean of 0.
        assert (uc + share).clamp(-0.5, 0.5).mean().item() == pytest.approx(share, abs=1e-12)
        mean += 0.01 * (share - mean)
        norms = vectors.norm(dim=1)
        norms = norms.log() if module.log_norm else norms
        norms_mean += 0.1 * (norms.mean().item() - norms_mean)
        norms_variance += 0.1 * (norms.var().item() - norms_variance)
    assert module.mean.item() == pytest.approx(mean)
    x = (norms - norms_mean) / (norms_variance + 1e-5) ** 0.5
    expected = module.basis(x) @ module.weight - mean
    torch.testing.assert_close(module.eval()(vectors), expected)
    assert module.mean.item() == pytest.approx(mean)  # evaluation leaves it


def test_an_outlier_enters_the_mean_with_half_a_unit_at_most():
    module = NormToUncertainty("taylor", 1).double().train()
    nn.init.ones_(module.weight)
    vectors = torch.tensor([[1.0]] * 9 + [[10.0]], dtype=torch.float64)
    # Nine images are at -1/3 and one at 3.
    share = (9 * -1 / 3 + 0.5) / 10
    expected = [-1 / 3 - share] * 9 + [3 - share]
    assert module(vectors).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("log_norm", [False, True])
def test_norms_are_seen_relative_to_those_of_the_batch(log_norm):
    module = learned(log_norm=log_norm).train()
    one, two = module(random_vectors()), module(7 * random_vectors())
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)  # 1e-5 is added to the variance


# ---- the start, and what is far away ----------------------------------------------------


def test_no_image_is_uncertain_at_the_start():
    for params in BASES:
        head = build(**params)
        for training in (True, False):
            uc = head.train(training)(random_map()).aux["uc"]
            most = 0 if params["basis"] != "hinges" else 1e-3
            assert uc.abs().max() <= most


@pytest.mark.parametrize("terms", [64, 1024])
def test_hinges_start_with_small_weights(terms):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = torch.cat([NormToUncertainty("hinges", terms).weight for _ in range(20)])
    assert drawn.std().item() == pytest.approx(1e-4 / math.sqrt(terms), rel=0.1)


@pytest.mark.parametrize("log_norm", [False, True])
@pytest.mark.parametrize("params", [*BASES, {"basis": "taylor", "terms": 8}])
def test_extreme_norms_stay_finite(params, log_norm):
    for size in (0.0, 1e-20, 1e6, 1e18):
        module = build(**params, log_norm=log_norm).uncertainty
        nn.init.ones_(module.weight)
        for training in (False, True):  # at first the running statistics are 0 and 1
            module.train(training)
            vectors = (size * torch.eye(5)[:, :3]).requires_grad_()
            uc = module(vectors)
            uc.sum().backward()
            assert uc.isfinite().all()
            assert vectors.grad.isfinite().all()
            assert module.weight.grad.isfinite().all()


def test_polynomials_are_exact_for_the_farthest_image_of_a_batch_of_257():
    module = NormToUncertainty("taylor", 1).double().train()
    nn.init.ones_(module.weight)
    uc = module(torch.eye(257, dtype=torch.float64)[:, :1])  # norms 1, 0, 0, ...
    assert (uc[0] - uc[1]).item() == pytest.approx(16 + 1 / 16, abs=0.05)


# ---- the head ---------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("params", [{}, {"embedding_dim": 5, "pooling": "gem"}, {"neck": "none"}])
def test_it_is_the_global_head_and_one_number_for_each_image(params, training):
    head, plain = build(**params).train(training), build(global_head, **params).train(training)
    plain.load_state_dict(head.global_head.state_dict())
    found, expected = head(random_map()), plain(random_map())
    assert head.branches == plain.branches
    for form in ("feature", "embedding"):
        one, other = (getattr(o.branches["global"], form) for o in (found, expected))
        assert torch.equal(one, other)
    assert set(found.aux) == {"uc"}
    assert found.aux["uc"].shape == (6,)


@pytest.mark.parametrize("norm_of", ["feature", "embedding"])
def test_the_norm_is_that_of_the_chosen_vector(norm_of):
    head = build(norm_of=norm_of).train()
    for seed in range(3):
        head(random_map(seed=seed))
    nn.init.normal_(head.uncertainty.weight)
    output = head.eval()(random_map())
    branch = output.branches["global"]
    vectors = {"feature": branch.feature, "embedding": branch.embedding}
    for form, vector in vectors.items():
        same = torch.equal(output.aux["uc"], head.uncertainty(vector))
        assert same == (form == norm_of)


@pytest.mark.parametrize(("log_norm", "expected"), [(False, 5.0), (True, math.log(5))])
def test_the_norm_or_its_logarithm_is_mapped(log_norm, expected):
    module = build(basis="taylor", terms=1, log_norm=log_norm).uncertainty.eval()
    nn.init.ones_(module.weight)
    # The running statistics are 0 and 1 at the start.
    assert module(torch.tensor([[3.0, 0, 4]])).item() == pytest.approx(expected, rel=1e-5)


def trained_head(**params):
    head = build(**params).train()
    for seed in range(3):
        nn.init.normal_(head.uncertainty.weight)
        head(random_map(seed=seed))
    return head.eval()


@pytest.mark.parametrize("params", BASES)
def test_the_uncertainty_of_an_image_does_not_depend_on_the_others_in_evaluation(params):
    head = trained_head(**params)
    given = random_map()
    together = head(given).aux["uc"]
    for i in range(len(together)):
        alone = head(FeatureMap(given.map[i : i + 1])).aux["uc"]
        assert alone.shape == (1,)
        torch.testing.assert_close(alone, together[i : i + 1], rtol=1e-4, atol=1e-6)
    assert together.unique().numel() > 1


@pytest.mark.parametrize("params", BASES)
def test_a_saved_state_has_all_that_the_uncertainty_depends_on(params):
    head, other = trained_head(**params), build(**params).eval()
    state = head.state_dict()
    assert {name for name in state if not name.startswith("global_head.")} == {
        "uncertainty.weight",
        "uncertainty.mean",
        "uncertainty.standardize.running_mean",
        "uncertainty.standardize.running_var",
        "uncertainty.standardize.num_batches_tracked",
    }
    assert not torch.equal(other(random_map()).aux["uc"], head(random_map()).aux["uc"])
    other.load_state_dict(state)
    assert torch.equal(other(random_map()).aux["uc"], head(random_map()).aux["uc"])


def test_the_weight_alone_learns_of_what_the_head_adds():
    head, plain = build(), build(global_head)
    added = len(list(head.parameters())) - len(list(plain.parameters()))
    assert [n for n, _ in head.named_parameters() if "global_head" not in n] == [
        "uncertainty.weight"
    ]
    assert added == 1
    (head.train()(random_map()).aux["uc"] * torch.arange(6)).sum().backward()
    assert head.uncertainty.weight.grad.any()


def test_a_frozen_head_holds_both_means():
    head = trained_head().train()
    hold_statistics(head)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    uc = head(random_map()).aux["uc"]
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())
    assert torch.equal(uc, head.eval()(random_map()).aux["uc"])


@pytest.mark.parametrize("params", BASES)
def test_autocast_does_not_reach_the_uncertainty(params):
    module = trained_head(**params).uncertainty.train()
    vectors = random_vectors(count=16).bfloat16()
    expected = module(vectors.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = module(vectors)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


# ---- params -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        (
            {"basis": "taylor", "terms": 9},
            r"terms: at most 8 for basis 'taylor' with even_orders false \(order 16\), got 9",
        ),
        (
            {"basis": "legendre", "terms": 17, "even_orders": True},
            r"terms: at most 16 for basis 'legendre' with even_orders true \(order 16\), got 17",
        ),
        (
            {"even_orders": True},
            "even_orders: hinges have no orders; leave it out, or choose the basis 'taylor' or",
        ),
        ({"terms": 0}, "greater than or equal to 1"),
        ({"terms": 1025}, "less than or equal to 1024"),
        ({"basis": "spline"}, "'hinges', 'taylor' or 'legendre'"),
        ({"norm_of": "logits"}, "'feature' or 'embedding'"),
    ],
)
def test_params_out_of_range_are_refused(params, problem):
    (component,) = uncertain.reid_head()
    with pytest.raises(ValidationError, match=problem):
        component.params(**params)
