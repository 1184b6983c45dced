"""The losses over pairs against loops in float64, published values and another library.

Value and gradient of every loss equal those of plain loops over images, written from the
papers' formulas and differentiated by autograd through single numbers.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import distances, losses, miners, reducers
from torch.nn import functional as F

from loss_batches import (
    FEATURES,
    PIDS,
    POINT_PIDS,
    POINTS,
    UNIT,
    UNIT_PIDS,
    random_batch,
    value_and_gradients,
)
from reid_core.contracts import LossInput, Progress
from reid_core.params.messages import validate
from reid_plugins.loss import (
    circle,
    contrastive,
    lifted_structure,
    multi_similarity,
    ranked_list,
    triplet,
)
from reid_plugins.loss._kmeans import kmeans
from reid_plugins.toolkit.loss_distances import pairwise_cosine, pairwise_distance
from reid_plugins.toolkit.pair_mining import (
    masked_logsumexp,
    masked_mean,
    masked_softmax,
    pair_masks,
    weighted_pairs,
)

PROGRESS = Progress(epoch=0, epochs=1, step=7, steps_per_epoch=10, seed=3)

COUNTS = [[2, 2, 2], [4, 1, 3, 2], [1, 5], [3, 3], [1, 1, 1], [4]]


def loss_of(module, features, pids, **params):
    (component,) = module.reid_loss()
    loss = component.build(component.params(**params))
    return loss(LossInput(features, pids, pids, PROGRESS))


# ---- loops ------------------------------------------------------------------------------


def euclidean(a, b):
    return ((a - b) ** 2).sum() ** 0.5


def cosine(a, b):
    return (a * b).sum() / ((a**2).sum() * (b**2).sum()) ** 0.5


MEASURES = {"euclidean": euclidean, "cosine": lambda a, b: 1 - cosine(a, b)}


def pairs_of(i, pids):
    """Return the positions of the positives and of the negatives of an anchor."""
    others = [j for j in range(len(pids)) if j != i]
    positives = [j for j in others if pids[j] == pids[i]]
    return positives, [j for j in others if pids[j] != pids[i]]


def mean(terms, like):
    return sum(terms) / len(terms) if terms else 0 * like.sum()


def log_sum(terms):
    """Return the logarithm of the sum of exponentials, None without terms."""
    return sum(t.exp() for t in terms).log() if terms else None


def weighted(terms, weights):
    return sum(t * w for t, w in zip(terms, weights, strict=True)) / sum(weights)


def loop_triplet(
    x, pids, margin=0.3, distance="euclidean", mining="hard", hard_factor=0.0, itself=False
):
    terms = []
    for i in range(len(x)):
        positives, negatives = pairs_of(i, pids)
        far = [MEASURES[distance](x[i], x[j]) for j in positives]
        near = [MEASURES[distance](x[i], x[j]) for j in negatives]
        if not far or not near:
            continue
        if itself:
            far.append(torch.zeros(()))
        if mining == "hard":
            p, n = max(far), min(near)
        else:
            p, n = weighted(far, [d.exp() for d in far]), weighted(near, [(-d).exp() for d in near])
        gap = (1 + hard_factor) * p - (1 - hard_factor) * n
        terms.append(gap.exp().log1p() if margin == "soft" else (gap + margin).clamp(min=0))
    return mean(terms, x)


def loop_contrastive(x, pids, positive_margin=0.0, negative_margin=1.0, distance="euclidean"):
    pull, push = [], []
    for i in range(len(x)):
        positives, negatives = pairs_of(i, pids)
        pull += [MEASURES[distance](x[i], x[j]) - positive_margin for j in positives]
        push += [negative_margin - MEASURES[distance](x[i], x[j]) for j in negatives]
    return mean([t for t in pull if t > 0], x) + mean([t for t in push if t > 0], x)


def loop_lifted_structure(x, pids, margin=1.0, distance="euclidean"):
    terms = []
    for i in range(len(x)):
        positives, negatives = pairs_of(i, pids)
        pull = log_sum([MEASURES[distance](x[i], x[j]) for j in positives])
        push = log_sum([margin - MEASURES[distance](x[i], x[j]) for j in negatives])
        terms.append((0 if pull is None else pull) + (0 if push is None else push))
    return mean([torch.as_tensor(t).clamp(min=0) for t in terms], x)


def circle_terms(s, m, gamma, weights):
    """Return what a pair with the cosine ``s`` adds as a positive and as a negative one."""
    if weights == "equal":
        return gamma * (m - s), gamma * s
    held = s.detach()
    pull = -gamma * max(1 + m - held, 0) * (s - (1 - m))
    return pull, gamma * max(held + m, 0) * (s - m)


def loop_circle(x, pids, margin=0.25, gamma=128.0, reduce="anchor", weights="adaptive"):
    def term(i, j):
        return circle_terms(cosine(x[i], x[j]), margin, gamma, weights)

    anchors = [pairs_of(i, pids) for i in range(len(x))]
    groups = [([(i, j) for j in p], [(i, j) for j in n]) for i, (p, n) in enumerate(anchors)]
    if reduce == "batch":
        groups = [tuple([(i, j) for g in groups for i, j in g[k] if i < j] for k in (0, 1))]
    terms = []
    for positives, negatives in groups:
        if positives and negatives:
            z = log_sum([term(*p)[0] for p in positives]) + log_sum(
                [term(*n)[1] for n in negatives]
            )
            terms.append(z.clamp(min=0) + (-z.abs()).exp().log1p())
    return mean(terms, x)


def loop_multi_similarity(x, pids, alpha=2.0, beta=50.0, threshold=1.0, epsilon=0.1):
    total = 0 * x.sum()
    for i in range(len(x)):
        positives, negatives = pairs_of(i, pids)
        if not positives or not negatives:
            continue
        pull = [cosine(x[i], x[j]) for j in positives]
        push = [cosine(x[i], x[j]) for j in negatives]
        kept_pull = [s for s in pull if s < max(push) + epsilon]
        kept_push = [s for s in push if s > min(pull) - epsilon]
        for kept, sharpness in ((kept_pull, -alpha), (kept_push, beta)):
            if kept:
                terms = [(sharpness * (s - threshold)).exp() for s in kept]
                total = total + sum(terms).log1p() / abs(sharpness)
    return total / len(x)


def loop_ranked_list(
    x,
    pids,
    alpha=1.2,
    margin=0.4,
    temperature=10.0,
    negative_weight=0.5,
    positive_mean="violating",
    distance="euclidean",
    cluster=None,
    small=0.0,
):
    """``small`` is added to both denominators, as one release does."""
    total = 0 * x.sum()
    for i in range(len(x)):
        positives, negatives = pairs_of(i, pids)
        far = [MEASURES[distance](x[i], x[j]) - (alpha - margin) for j in positives]
        beyond = [d for d in far if d > 0]
        counted = far if positive_mean == "all" else beyond
        same = [j for j in negatives if cluster is None or cluster[j] == cluster[i]]
        near = [alpha - MEASURES[distance](x[i], x[j]) for j in same]
        within = [d for d in near if d > 0]
        weights = [(temperature * d).exp() for d in within]
        if beyond:
            total = total + (1 - negative_weight) * sum(beyond) / (len(counted) + small)
        if within:
            products = sum(w * d for w, d in zip(weights, within, strict=True))
            total = total + negative_weight * products / (sum(weights) + small)
    return total / len(x)


CASES = [
    (triplet, loop_triplet, {"mining": "weighted"}),
    (triplet, loop_triplet, {"mining": "weighted", "margin": "soft", "distance": "cosine"}),
    (triplet, loop_triplet, {"hard_factor": 0.2, "margin": 1.0}),
    (triplet, loop_triplet, {"hard_factor": 0.4, "margin": "soft", "mining": "weighted"}),
    (contrastive, loop_contrastive, {}),
    (contrastive, loop_contrastive, {"positive_margin": 1.2, "negative_margin": 1.4}),
    (contrastive, loop_contrastive, {"distance": "cosine", "positive_margin": 0.5}),
    (lifted_structure, loop_lifted_structure, {}),
    (lifted_structure, loop_lifted_structure, {"distance": "cosine", "margin": 0.1}),
    (circle, loop_circle, {}),
    (circle, loop_circle, {"reduce": "batch", "gamma": 32.0}),
    (circle, loop_circle, {"weights": "equal", "margin": 0.2, "gamma": 8.0}),
    (circle, loop_circle, {"weights": "equal", "reduce": "batch", "gamma": 4.0}),
    (multi_similarity, loop_multi_similarity, {}),
    (multi_similarity, loop_multi_similarity, {"threshold": 0.5, "beta": 10.0, "epsilon": 0.5}),
    (multi_similarity, loop_multi_similarity, {"epsilon": 2.0, "alpha": 3.0}),
    (ranked_list, loop_ranked_list, {}),
    (ranked_list, loop_ranked_list, {"alpha": 2.0, "margin": 1.3, "temperature": 1.0}),
    (ranked_list, loop_ranked_list, {"positive_mean": "all", "negative_weight": 0.3}),
    (ranked_list, loop_ranked_list, {"temperature": 0.0, "negative_weight": 1.0}),
    (ranked_list, loop_ranked_list, {"distance": "cosine", "alpha": 1.0, "margin": 0.8}),
]


def as_the_core_does(module, features):
    """Normalise the vectors if that is the loss's default."""
    (component,) = module.reid_loss()
    return F.normalize(features, dim=1) if component.normalize else features


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize(("module", "loop", "params"), CASES)
def test_value_and_gradient_equal_the_loop(module, loop, params, counts):
    for seed in range(3):
        features, pids = random_batch(seed, counts)
        ours = value_and_gradients(
            lambda x, p=pids: loss_of(module, as_the_core_does(module, x), p, **params).value,
            features,
        )
        other = value_and_gradients(
            lambda x, p=pids: loop(as_the_core_does(module, x), p.tolist(), **params), features
        )
        torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-11)


# ---- another library --------------------------------------------------------------------

LIBRARY = [
    (contrastive, {}, losses.ContrastiveLoss(), None),
    (
        contrastive,
        {"positive_margin": 1.1, "negative_margin": 1.4},
        losses.ContrastiveLoss(pos_margin=1.1, neg_margin=1.4),
        None,
    ),
    (lifted_structure, {}, losses.GeneralizedLiftedStructureLoss(), None),
    (lifted_structure, {"margin": 0.2}, losses.GeneralizedLiftedStructureLoss(0.2), None),
    (circle, {}, losses.CircleLoss(m=0.25, gamma=128), None),
    (circle, {"margin": 0.4, "gamma": 8.0}, losses.CircleLoss(m=0.4, gamma=8), None),
    (
        multi_similarity,
        {},
        losses.MultiSimilarityLoss(alpha=2, beta=50, base=1),
        miners.MultiSimilarityMiner(epsilon=0.1),
    ),
    (
        multi_similarity,
        {"threshold": 0.5, "beta": 40.0, "epsilon": 0.3},
        losses.MultiSimilarityLoss(alpha=2, beta=40, base=0.5),
        miners.MultiSimilarityMiner(epsilon=0.3),
    ),
    (
        triplet,
        {"distance": "euclidean"},
        losses.TripletMarginLoss(
            margin=0.3,
            distance=distances.LpDistance(normalize_embeddings=False),
            reducer=reducers.MeanReducer(),
        ),
        miners.BatchHardMiner(distance=distances.LpDistance(normalize_embeddings=False)),
    ),
]


COMPARABLE = [
    pytest.param(*case, counts, id=f"{case[0].__name__.rpartition('.')[2]}-{counts}")
    for case in LIBRARY
    for counts in ([4, 4, 4, 4], [3, 5, 2], [2, 1, 6, 1])
    # The library's miner of triplets drops other anchors when one has no positive.
    if case[0] is not triplet or 1 not in counts
]


@pytest.mark.parametrize(("module", "params", "other", "miner", "counts"), COMPARABLE)
def test_value_and_gradient_equal_pytorch_metric_learning(module, params, other, miner, counts):
    for seed in range(5):
        features, pids = random_batch(seed, counts)
        ours = value_and_gradients(
            lambda x, p=pids: loss_of(module, as_the_core_does(module, x), p, **params).value,
            features,
        )
        pairs = None if miner is None else miner(features, pids)
        theirs = value_and_gradients(lambda x, p=pids, m=pairs: other(x, p, m), features)
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_ranked_list_is_near_pytorch_metric_learning(seed):
    features, pids = random_batch(seed, [4, 4, 4])
    other = losses.RankedListLoss(margin=0.4, Tn=3, imbalance=0.4, alpha=1.2)
    params = {"temperature": 3.0, "negative_weight": 0.4}
    ours = loss_of(ranked_list, F.normalize(features), pids, **params).value
    # It adds 1e-5 per image to the denominators.
    torch.testing.assert_close(ours, other(features, pids), rtol=1e-3, atol=0.0)


# ---- published values -------------------------------------------------------------------


@pytest.mark.parametrize(("margin", "expected"), [(0.16, 1.532262), ("soft", 1.629675)])
def test_weighted_triplets_with_the_anchor_among_its_positives(margin, expected):
    # The published numbers count the anchor as its own positive; the paper and we do not. They
    # are float32, in which an image is up to 0.0014 away from itself.
    pids = PIDS.tolist()
    published = loop_triplet(FEATURES, pids, margin, mining="weighted", itself=True)
    assert published.item() == pytest.approx(expected, abs=1e-5)
    ours = loss_of(triplet, FEATURES, PIDS, margin=margin, mining="weighted").value
    assert ours > published


@pytest.mark.parametrize(("hard_factor", "expected"), [(0.0, 0.0), (0.2, 0.2685243)])
def test_harder_triplets_of_six_points(hard_factor, expected):
    output = loss_of(triplet, POINTS, POINT_PIDS, margin=1.0, hard_factor=hard_factor)
    assert output.value.item() == pytest.approx(expected, abs=5e-8)
    assert output.monitors["positive_distance"].item() == pytest.approx(1)  # as measured


def test_triplets_of_raw_and_of_normalised_vectors():
    unit = F.normalize(FEATURES)
    assert loss_of(triplet, FEATURES, PIDS).value.item() == pytest.approx(2.130353, abs=1e-6)
    assert loss_of(triplet, unit, PIDS).value.item() == pytest.approx(1.042208, abs=5e-7)


def test_distances_of_the_first_image():
    expected = [1e-6, 1.705248, 1.344920, 1.349806, 1.373809, 1.645486, 1.141069, 1.515434]
    unit = F.normalize(FEATURES)
    assert pairwise_distance(unit, unit)[0].tolist() == pytest.approx(expected, abs=5e-7)


def test_circle_of_five_unit_vectors():
    output = loss_of(circle, UNIT, UNIT_PIDS, gamma=32.0, reduce="batch")
    assert output.value.item() == pytest.approx(21.621393, abs=3e-6)  # known in float32
    assert output.monitors["positive_cosine"].item() == pytest.approx((0.8 + 0.6) / 2)
    assert output.monitors["negative_cosine"].item() == pytest.approx((0.6 + 0.36 + 0.8) / 8)


def test_circle_of_one_minus_the_sine():
    # A release puts another similarity into the same formula, and divides by gamma.
    similarity = 1 - (1 - pairwise_cosine(FEATURES, FEATURES) ** 2).clamp(min=1e-12).sqrt()
    logits = circle.circle_logits(similarity, 0.25, 256.0)
    value = circle.unified_loss(*logits, *pair_masks(PIDS), "batch") / 256
    assert value.item() == pytest.approx(1.293034, abs=5e-7)


def test_pairwise_cosface_with_the_anchor_among_its_positives():
    logits = circle.equal_logits(pairwise_cosine(FEATURES, FEATURES), 0.2, 32.0)
    same = PIDS[:, None] == PIDS[None, :]
    value = circle.unified_loss(*logits, same, ~same, "anchor")
    assert value.item() == pytest.approx(38.870800, abs=5e-7)


RANKED = [
    ({"alpha": 2.0, "margin": 1.3, "temperature": 1.0}, 1.70311570),
    ({"alpha": 1.2, "margin": 0.4, "temperature": 10.0}, 1.13973129),
]
RANKED_GRADIENTS = [
    [0.025073, -0.070458, -0.078541, 0.141538],
    [-0.013662, -0.145936, 0.007144, 0.194471],
]


@pytest.mark.parametrize(("params", "expected"), RANKED)
def test_ranked_list_has_the_published_values(params, expected):
    # The release adds both parts, and 1e-5 to both denominators, which are 1 or larger: its value
    # is at most 1e-5 of it smaller than ours. Its numbers are float32.
    unit = F.normalize(FEATURES)
    published = 2 * loop_ranked_list(unit, PIDS.tolist(), small=1e-5, **params)
    assert published.item() == pytest.approx(expected, abs=5e-7)
    ours = 2 * loss_of(ranked_list, unit, PIDS, **params).value
    assert ours.item() == pytest.approx(expected, rel=1.1e-5)


@pytest.mark.parametrize(
    ("params", "expected"), [(RANKED[k][0], RANKED_GRADIENTS[k]) for k in (0, 1)]
)
def test_ranked_list_has_the_published_gradients(params, expected):
    _, gradient = value_and_gradients(
        lambda x: 2 * loss_of(ranked_list, F.normalize(x), PIDS, **params).value, FEATURES
    )
    assert gradient[0].tolist() == pytest.approx(expected, abs=5e-6)


def test_one_image_per_identity():
    pids = torch.arange(8)
    unit = F.normalize(FEATURES)
    distmat = (unit[:, None] - unit[None, :]).norm(dim=2)
    apart = distmat[~torch.eye(8, dtype=torch.bool)]
    assert loss_of(circle, unit, pids).value.item() == 0
    assert loss_of(circle, unit, pids, reduce="batch").value.item() == 0
    assert loss_of(multi_similarity, unit, pids).value.item() == 0
    close = 1 - apart[apart < 1]
    assert loss_of(contrastive, unit, pids).value.item() == pytest.approx(close.mean().item())
    push = (1 - apart.view(8, 7)).logsumexp(dim=1).clamp(min=0)
    value = loss_of(lifted_structure, unit, pids).value.item()
    assert value == pytest.approx(push.mean().item())
    assert value > 0


# ---- clusters ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_ranked_list_takes_negatives_from_the_own_cluster(seed):
    features, pids = random_batch(seed, [4, 3, 4, 1])
    cluster = kmeans(F.normalize(features), 3, PROGRESS.generator("ranked_list.clusters"))
    assert len(cluster.unique()) == 3
    ours = value_and_gradients(
        lambda x: loss_of(ranked_list, F.normalize(x), pids, clusters=3).value, features
    )
    other = value_and_gradients(
        lambda x: loop_ranked_list(F.normalize(x), pids.tolist(), cluster=cluster.tolist()),
        features,
    )
    torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-11)


def test_ranked_list_with_one_cluster_takes_negatives_from_the_whole_batch():
    features, pids = random_batch(0, [3, 3])
    one, none = (
        loss_of(ranked_list, F.normalize(features), pids, clusters=k).value for k in (1, 0)
    )
    assert torch.equal(one, none)


# ---- every loss over pairs --------------------------------------------------------------

VARIANTS = [(module, params) for module, _, params in CASES]
VARIANTS += [(ranked_list, {"clusters": 3}), (circle, {"reduce": "batch"})]
SMOOTH = [(m, p) for m, p in VARIANTS if m is not circle or p.get("weights") == "equal"]


@pytest.mark.parametrize(("module", "params"), SMOOTH)
def test_gradient_equals_finite_differences(module, params):
    features, pids = random_batch(5, [3, 1, 2])
    assert torch.autograd.gradcheck(
        lambda x: loss_of(module, as_the_core_does(module, x), pids, **params).value,
        features.requires_grad_(),
    )


@pytest.mark.parametrize("reduce", ["anchor", "batch"])
def test_gradient_of_circle_equals_finite_differences_with_fixed_weights(reduce):
    logits = [x.requires_grad_() for x in circle.circle_logits(UNIT @ UNIT.T, 0.25, 4.0)]
    masks = pair_masks(UNIT_PIDS)
    assert torch.autograd.gradcheck(lambda *x: circle.unified_loss(*x, *masks, reduce), logits)


@given(st.integers(0, 99), st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_batch_does_not_matter(seed, counts):
    features, pids = random_batch(seed, counts)
    order = torch.randperm(len(pids), generator=torch.Generator().manual_seed(seed + 1))
    for module, params in VARIANTS:
        if "clusters" in params:
            continue  # the draws of the first centers go by position
        unit = as_the_core_does(module, features)
        one = loss_of(module, unit, pids, **params)
        two = loss_of(module, unit[order], pids[order], **params)
        torch.testing.assert_close(one.value, two.value)
        torch.testing.assert_close(dict(one.monitors), dict(two.monitors))


RANDOM = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
PAIRS = [0, 0, 1, 1, 2, 2]
DEGENERATE = {
    "one identity": (RANDOM, [0] * 6),
    "one image per identity": (RANDOM, [0, 1, 2, 3, 4, 5]),
    "one image": (RANDOM[:1], [2]),
    "identical features": (RANDOM[:1].repeat(6, 1), PAIRS),
    "opposite features": (RANDOM[:1] * torch.tensor([[1], [-1], [1], [-1], [-1], [1]]), PAIRS),
    "zero features": (torch.zeros(6, 4), PAIRS),
    "one zero feature": (RANDOM * torch.tensor([[0], [1], [1], [1], [1], [1]]), PAIRS),
    "huge norms": (RANDOM * 1e12, PAIRS),
    "tiny norms": (RANDOM * 1e-12, PAIRS),
    "different norms": (RANDOM * torch.logspace(-12, 12, 6)[:, None], PAIRS),
}


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("case", DEGENERATE)
def test_value_and_gradient_stay_finite_and_attached(case, normalize, autocast):
    features, pids = DEGENERATE[case]
    for module, params in VARIANTS:
        leaf = features.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            x = F.normalize(leaf) if normalize else leaf
            output = loss_of(module, x, torch.tensor(pids), **params)
        output.value.backward()
        assert output.value.shape == ()
        assert output.value.isfinite(), module
        assert leaf.grad.isfinite().all(), module
        assert all(m.isfinite() and not m.requires_grad for m in output.monitors.values())
        if case == "one image":
            assert output.value.item() == 0
            assert not leaf.grad.any()


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_gradients_of_degenerate_batches_have_no_nan_on_the_way():
    for features, pids in DEGENERATE.values():
        for module, params in VARIANTS:
            leaf = features.clone().requires_grad_()
            value = loss_of(module, leaf, torch.tensor(pids), **params).value
            with torch.autograd.detect_anomaly():
                value.backward()


@pytest.mark.parametrize(("module", "params"), VARIANTS)
def test_the_host_does_not_wait_for_the_device(module, params, operations):
    features = RANDOM.clone().requires_grad_()
    with operations() as seen:
        loss_of(module, features, torch.tensor(PAIRS), **params).value.backward()
    assert seen.waiting == []


# ---- sums over pairs --------------------------------------------------------------------


def test_an_image_and_itself_are_no_pair():
    positive, negative = pair_masks(torch.tensor([5, 7, 5]))
    assert positive.tolist() == [[False, False, True], [False] * 3, [True, False, False]]
    assert negative.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


def test_sums_over_masks_equal_sums_over_what_the_masks_select():
    values = torch.randn(5, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mask = torch.rand(5, 9, generator=torch.Generator().manual_seed(2)) < 0.5
    log_sums, softmax = masked_logsumexp(values, mask), masked_softmax(values, mask)
    for row, chosen, log_sum_of_row, weights in zip(values, mask, log_sums, softmax, strict=True):
        torch.testing.assert_close(log_sum_of_row, row[chosen].logsumexp(0))
        torch.testing.assert_close(weights[chosen], row[chosen].softmax(0))
        assert not weights[~chosen].any()
    torch.testing.assert_close(masked_mean(values, mask), values[mask].mean())


@pytest.mark.parametrize("empty", [-math.inf, 0.0])
def test_sums_over_nothing_have_a_value_and_no_gradient(empty):
    values = torch.randn(2, 3, requires_grad=True)
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert masked_logsumexp(values, nothing, empty).tolist() == [empty] * 2
    total = masked_logsumexp(values, nothing, empty).exp().sum()
    (total + masked_softmax(values, nothing).sum() + masked_mean(values, nothing)).backward()
    assert total.item() == 2 * math.exp(empty)
    assert not values.grad.any()


# ---- params -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "params", "line"),
    [
        (ranked_list, {"alpha": 0.4}, None),  # the radius is 0
        (
            ranked_list,
            {"alpha": 0.4, "margin": 1.2},
            "margin must be at most alpha: positive pairs cannot be nearer than alpha - margin = "
            "-0.8",
        ),
        (
            triplet,
            {"distance": "cosin"},
            "distance: expected 'euclidean' or 'cosine', got \"cosin\"; did you mean 'cosine'?",
        ),
        (triplet, {"margin": "hard"}, "margin: expected a number or 'soft', got \"hard\""),
        (triplet, {"hard_factor": 1.0}, "hard_factor: must be < 1.0, got 1.0"),
        (circle, {"reduce": "mean"}, "reduce: expected 'anchor' or 'batch', got \"mean\""),
        (circle, {"margin": 1.0}, "margin: must be < 1.0, got 1.0"),
        (circle, {"gamma": 2000}, "gamma: must be <= 1024.0, got 2000"),
        (contrastive, {"negative_margin": -1}, "negative_margin: must be >= 0.0, got -1"),
        (lifted_structure, {"margin": -1}, "margin: must be >= 0.0, got -1"),
        (multi_similarity, {"threshold": 2}, "threshold: must be <= 1.0, got 2"),
    ],
)
def test_a_wrong_param_is_refused_at_its_place(module, params, line):
    problems = []
    checked = validate(module.reid_loss()[0].params, params, problems)
    assert problems == ([] if line is None else [line])
    assert (checked is None) == (line is not None)


# ---- weighted mining of other systems ---------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_own_image_as_a_positive_shortens_the_weighted_distance_by_the_stated_factor(seed):
    """AGW, fast-reid and pytorch-reid-lite weigh all images of the person, the anchor too."""
    features, pids = random_batch(seed, [4, 3, 2])
    distmat = torch.cdist(features, features).fill_diagonal_(0)
    ours, _ = weighted_pairs(distmat, pids)
    for i, pid in enumerate(pids):
        with_itself = distmat[i][pids == pid]
        theirs = (with_itself.softmax(dim=0) * with_itself).sum()
        others = distmat[i][(pids == pid) & (torch.arange(len(pids)) != i)]
        factor = 1 - 1 / (1 + others.exp().sum())
        torch.testing.assert_close(theirs, ours[i] * factor)
