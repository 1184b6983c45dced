"""The built-in heads against published values, closed forms and loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reid_core.contracts import FeatureMap, Progress
from reid_plugins.head._global_head import GlobalHead
from reid_plugins.head._pcb import PCBHead
from reid_plugins.head._spectral import SpectralHead, spectral_transform
from reid_plugins.toolkit.pooling import generalized_mean, make_pooling

FEATURES = torch.tensor(
    [
        [(1 + 0.25 * i) * math.sin(1 + 3 * i + 2 * k**2 + 0.5 * i * k) for k in range(4)]
        for i in range(8)
    ],
    dtype=torch.float64,
)


def progress(accuracy):
    return Progress(epoch=3, epochs=9, step=30, steps_per_epoch=10, accuracy=accuracy)


def random_map(*shape, seed=0):
    return FeatureMap(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).relu())


# ---- spectral ---------------------------------------------------------------------------


def test_spectral_column_form_has_the_published_values():
    output = spectral_transform(FEATURES, 0.3, "column")
    expected = [0.699432, -0.084145, 0.497706, 0.333438]
    assert output[0].tolist() == pytest.approx(expected, abs=1e-6)  # computed in float32
    weights = weights_of(FEATURES, 0.3, "column")
    assert weights.diagonal().mean().item() == pytest.approx(0.730850, abs=5e-7)


def weights_of(x, temperature, normalize):
    """Read T off the transform: T x = y has one solution when x has full row rank."""
    wide = torch.cat([x, 1e-9 * torch.eye(len(x), dtype=x.dtype)], dim=1)
    return spectral_transform(wide, temperature, normalize)[:, x.shape[1] :] / 1e-9


@pytest.mark.parametrize(("normalize", "dim"), [("row", 1), ("column", 0)])
def test_spectral_weights_sum_to_one_where_they_should(normalize, dim):
    weights = weights_of(FEATURES, 0.3, normalize)
    torch.testing.assert_close(weights.sum(dim), torch.ones(8, dtype=torch.float64))
    assert (weights > 0).all()


def test_spectral_forms_are_transposed():
    row, column = (weights_of(FEATURES, 0.3, form) for form in ("row", "column"))
    torch.testing.assert_close(row, column.T)


@pytest.mark.parametrize("temperature", [0.05, 0.3, 2.0])
def test_spectral_row_form_equals_the_loop(temperature):
    rows = FEATURES.tolist()
    output = spectral_transform(FEATURES, temperature).tolist()
    for i, a in enumerate(rows):
        weights = []
        for b in rows:
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            cosine = dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
            weights.append(math.exp(cosine / temperature))
        for k in range(4):
            mean = sum(w * b[k] for w, b in zip(weights, rows, strict=True)) / sum(weights)
            assert output[i][k] == pytest.approx(mean, abs=1e-12)


def test_spectral_row_form_leaves_equal_images_as_they_are():
    x = torch.tensor([[1.0, 2.0, 3.0]]).repeat(4, 1)
    torch.testing.assert_close(spectral_transform(x, 0.3), x)


def test_spectral_transform_survives_a_zero_vector():
    x = torch.zeros(3, 4, requires_grad=True)
    output = spectral_transform(x, 0.02)
    output.sum().backward()
    assert output.isfinite().all()
    assert x.grad.isfinite().all()


def test_spectral_gradient_equals_finite_differences():
    def transform(x):
        return spectral_transform(x, 0.5)

    assert torch.autograd.gradcheck(transform, FEATURES.clone().requires_grad_())


@given(st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_spectral_transform_follows_the_order_of_the_batch(seed):
    order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        spectral_transform(FEATURES[order], 0.3), spectral_transform(FEATURES, 0.3)[order]
    )


def spectral_head(**options):
    return SpectralHead(GlobalHead(5, embedding_dim=3), **options)


def test_spectral_branch_mixes_the_output_of_the_neck_when_the_gate_is_open():
    head = spectral_head(temperature=0.2).train()
    head.set_progress(progress(accuracy=0.9))
    branches = head(random_map(6, 5, 4, 2)).branches
    expected = spectral_transform(branches["global"].embedding, 0.2)
    torch.testing.assert_close(branches["spectral"].embedding, expected)
    assert not torch.allclose(branches["spectral"].embedding, branches["global"].embedding)


@pytest.mark.parametrize("told", [False, True])
def test_spectral_branch_is_the_global_one_while_the_gate_is_closed(told):
    head = spectral_head().train()
    if told:
        head.set_progress(progress(accuracy=0.95))
        head.set_progress(progress(accuracy=0.89))
    branches = head(random_map(6, 5, 4, 2)).branches
    assert torch.equal(branches["spectral"].embedding, branches["global"].embedding)


def test_spectral_gate_of_zero_is_open_from_the_first_step():
    head = spectral_head(gate=0.0).train()
    branches = head(random_map(6, 5, 4, 2)).branches
    assert not torch.allclose(branches["spectral"].embedding, branches["global"].embedding)


def test_spectral_branch_is_the_global_one_in_evaluation():
    head = spectral_head(gate=0.0).eval()
    branches = head(random_map(6, 5, 4, 2)).branches
    assert torch.equal(branches["spectral"].embedding, branches["global"].embedding)


def test_spectral_transform_leaves_autocast():
    head = spectral_head(gate=0.0, temperature=0.02).train()
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head.transform(x)
    assert torch.equal(inside, spectral_transform(x, 0.02))


# ---- pcb --------------------------------------------------------------------------------


def test_pcb_has_the_published_shapes():
    head = PCBHead(2048)  # images of 384 x 128 at stride 16
    output = head.eval()(random_map(2, 2048, 24, 8))
    stripes = [f"stripe_{i}" for i in range(6)]
    assert list(output.branches) == [*stripes, "parts", "global"]
    assert all(output.branches[name].embedding.shape == (2, 256) for name in stripes)
    assert output.branches["parts"].feature.shape == (2, 1536)
    assert output.branches["global"].embedding.shape == (2, 256)
    assert sum(branch.dim for branch in head.branches if branch.in_test) == 1792


def test_pcb_stripe_equals_pooling_a_slice_and_a_1x1_convolution():
    head = PCBHead(8, parts=3, part_dim=4, dropout=0.0, global_dim=0).train()
    features = random_map(5, 8, 6, 2)
    output = head(features)
    for i in range(3):
        pooled = nn.functional.adaptive_max_pool2d(features.map[:, :, 2 * i : 2 * i + 2], 1)
        weight = head.reductions[i].weight[:, :, None, None]
        feature = nn.functional.conv2d(pooled, weight, head.reductions[i].bias).flatten(1)
        torch.testing.assert_close(output.branches[f"stripe_{i}"].feature, feature)
        embedding = (feature - feature.mean(0)) / (feature.var(0, unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(
            output.branches[f"stripe_{i}"].embedding, embedding, atol=1e-5, rtol=1e-4
        )


def test_pcb_parts_are_the_stripes_in_order():
    head = PCBHead(8, parts=3, part_dim=4, global_dim=0).train()
    branches = head(random_map(5, 8, 6, 2)).branches
    stripes = [branches[f"stripe_{i}"] for i in range(3)]
    assert torch.equal(branches["parts"].feature, torch.cat([s.feature for s in stripes], 1))
    assert torch.equal(branches["parts"].embedding, torch.cat([s.embedding for s in stripes], 1))


# ---- pooling ----------------------------------------------------------------------------


def test_generalized_mean_of_exponent_one_is_the_average():
    x = random_map(3, 5, 4, 2).map + 0.1
    torch.testing.assert_close(generalized_mean(x, 1.0), x.mean((2, 3)))


def test_generalized_mean_of_a_large_exponent_nears_the_maximum():
    x = random_map(3, 5, 4, 2).map.double() + 0.1
    torch.testing.assert_close(generalized_mean(x, 200.0), x.amax((2, 3)), rtol=0.02, atol=0)


def test_generalized_mean_equals_the_loop():
    x = random_map(2, 3, 4, 2).map.double()
    output = generalized_mean(x, 3.0)
    for i in range(2):
        for c in range(3):
            values = [max(v, 1e-6) ** 3 for v in x[i, c].flatten().tolist()]
            expected = (sum(values) / len(values)) ** (1 / 3)
            assert output[i, c].item() == pytest.approx(expected, rel=1e-12)


def test_generalized_mean_keeps_half_precision_in_range():
    x = torch.full((1, 1, 2, 2), 300.0, dtype=torch.float16)
    output = generalized_mean(x, 3.0)
    assert output.dtype == torch.float16
    assert output.item() == pytest.approx(300, rel=1e-3)


def test_gem_gradients_are_finite_on_an_empty_map():
    pooling = make_pooling("gem")
    x = torch.zeros(2, 3, 4, 2, requires_grad=True)
    pooling(x).sum().backward()
    assert x.grad.isfinite().all()
    assert pooling.p.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "reference"), [("avg", nn.AdaptiveAvgPool2d(1)), ("max", nn.AdaptiveMaxPool2d(1))]
)
def test_pooling_equals_the_module_of_torch(name, reference):
    x = random_map(3, 5, 4, 2).map
    torch.testing.assert_close(make_pooling(name)(x), reference(x).flatten(1))


@pytest.mark.parametrize("name", ["avg", "max", "gem"])
def test_pooling_keeps_leading_dimensions(name):
    x = random_map(2, 3, 6, 4, 2).map
    pooling = make_pooling(name)
    output = pooling(x)
    assert output.shape == (2, 3, 6)
    torch.testing.assert_close(output[:, :, 2], pooling(x[:, :, 2]))
