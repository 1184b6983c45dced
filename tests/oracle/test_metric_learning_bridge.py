"""The bridge to pytorch-metric-learning: the library's numbers, and what the core asks of a loss.

Every class of the version that the test extra pins is built and called, so that raising the pin
shows a class that breaks the promises.
"""

import copy
import json
import math
import re
import sys
import warnings
from pathlib import Path

import pytest
import torch
from pytorch_metric_learning import distances, losses
from torch.nn import functional as F

from reid_core import ReidError
from reid_core.contracts import LossInput, Progress
from reid_core.params.validation import check_run_params
from reid_core.runs.start_and_resume import resume_train, start_train
from reid_core.training.assembly import check_on_meta
from reid_core.training.build_module import ModuleBuilder
from reid_core.training.parameter_groups import parameter_groups
from reid_plugins.loss import metric_learning
from reid_plugins.loss._metric_learning import (
    KINDS,
    REFUSED,
    constructor_arguments,
    offered,
)

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")
DIM, NUM_PIDS = 16, 16
PROGRESS = Progress(epoch=0, epochs=2, step=3, steps_per_epoch=10)

LOSSES, MINERS, DISTANCES, REDUCERS, REGULARIZERS = (list(offered(kind)) for kind in KINDS)
LOSS_PARAMS = {"RankedListLoss": {"margin": 0.4, "Tn": 1.0}}
"""Arguments that the library has no defaults for."""
TAKES_NO_MINER = {"PNPLoss", "RankedListLoss"}
RANDOM_MINERS = {"DistanceWeightedMiner", "UniformHistogramMiner"}
WITH_WEIGHTS = [n for n in LOSSES if "embedding_size" in constructor_arguments(vars(losses)[n])]


@pytest.fixture(autouse=True)
def same_weights():
    """Draw the same weights in every order of the tests."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def part(name, **params):
    return {"name": name, "params": params}


def build(loss, miner=None, dim=DIM, num_pids=NUM_PIDS, **others):
    """Build from JSON values; a loss or a miner may be given by its name."""
    if isinstance(loss, str):
        loss = part(loss, **LOSS_PARAMS.get(loss, {}))
    if isinstance(miner, str):
        miner = part(miner)
    raw = {"loss": loss, "miner": miner, **others}
    params = metric_learning.MetricLearningParams.model_validate_json(json.dumps(raw))
    return metric_learning.build(params, dim=dim, num_pids=num_pids)


def call(loss, features, pids):
    return loss(LossInput(features, pids, torch.zeros_like(pids), PROGRESS))


def random_features(count=8, seed=0, dim=DIM):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def one_row(value):
    features = random_features()
    features[3] = value
    return features


PAIRS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
FOURS = torch.arange(8).repeat_interleave(4)
BATCHES = {
    "identities with two images": (random_features(), PAIRS),
    "identities with four images": (random_features(32), FOURS),
    "uneven identities": (random_features(), torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])),
    "one identity": (random_features(), torch.zeros(8, dtype=torch.int64)),
    "one image per identity": (random_features(), torch.arange(8)),
    "identical features": (torch.ones(8, DIM), PAIRS),
    "two copies of each image": (random_features(16).repeat_interleave(2, dim=0), FOURS),
    "copies of other identities": (random_features(4).repeat(2, 1), PAIRS),
    "opposite features": (
        random_features(4).repeat(2, 1) * torch.tensor([1, -1])[PAIRS % 2, None],
        PAIRS,
    ),
    "features of zero": (torch.zeros(8, DIM), PAIRS),
    "one feature of zero": (one_row(0.0), PAIRS),
    "one constant feature": (one_row(1.0), PAIRS),
    "huge norms": (random_features() * 1e4, PAIRS),
    "tiny norms": (random_features() * 1e-6, PAIRS),
    "one image": (random_features(1), torch.tensor([2])),
}


def check_promises(loss, features, pids):
    """Check what every loss owes the core on any batch; return the value."""
    features = features.clone().requires_grad_()
    output = call(loss, features, pids)
    assert output.value.shape == ()
    assert output.value.dtype == torch.float32
    assert output.value.isfinite()
    assert output.value.requires_grad
    loss.zero_grad()
    output.value.backward()
    assert features.grad is not None, "the value does not depend on the features"
    assert features.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in loss.parameters())
    for monitor in output.monitors.values():
        assert monitor.shape == ()
        assert monitor.dtype == torch.float32
        assert not monitor.requires_grad
    return output.value.detach()


# ---- what is offered --------------------------------------------------------------------


def test_every_class_of_the_library_is_offered_or_refused_or_a_base():
    for kind, (module, base) in KINDS.items():
        exported = vars(sys.modules[f"pytorch_metric_learning.{module}"])
        classes = {name for name, found in exported.items() if isinstance(found, type)}
        rest = classes - set(offered(kind)) - set(REFUSED[module]) - {base}
        # Bases of other bases, which no constructor of the library takes.
        assert {name for name in rest if not name.endswith("Mixin")} <= {"BaseLossWrapper"}


def test_what_is_refused_breaks_a_promise():
    """Reasons in ``REFUSED`` that a number can show must not outlive their causes."""
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    features = random_features()
    for loss in (losses.InstanceLoss(), losses.NPairsLoss(), losses.SmoothAPLoss()):
        first, second = loss(features, PAIRS), loss(features[order], PAIRS[order])
        assert not torch.isclose(first, second, rtol=0.01)
    for loss in (
        losses.P2SGradLoss(DIM, NUM_PIDS),
        losses.SignalToNoiseRatioContrastiveLoss(),
        losses.ContrastiveLoss(distance=distances.SNRDistance()),
    ):
        leaf = torch.where(torch.arange(8)[:, None] == 3, 0, features).requires_grad_()
        loss(leaf, PAIRS).backward()
        assert leaf.grad.isnan().any()
    soft_margin = losses.DynamicSoftMarginLoss()
    _, second = (soft_margin(random_features(seed=s), PAIRS) for s in (1, 0))
    assert second != losses.DynamicSoftMarginLoss()(random_features(seed=0), PAIRS)
    assert not soft_margin.state_dict()
    with pytest.raises(UserWarning, match="non-tuple sequence"):
        losses.HistogramLoss()(features, PAIRS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_guide_names_what_is_offered_and_what_is_refused(kind):
    module, _ = KINDS[kind]
    row = next(line for line in GUIDE.splitlines() if line.startswith(f"| {module} |"))
    assert re.findall("`(.+?)`", row) == list(offered(kind))
    for name, reason in REFUSED[module].items():
        (line,) = [line for line in GUIDE.splitlines() if line.startswith(f"| `{name}` |")]
        assert line == f"| `{name}` | {reason.replace(chr(39), '`')} |"


# ---- the promises of a loss -------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_finite_and_attached_on_every_batch(name):
    loss = build(name)
    for features, pids in BATCHES.values():
        value = check_promises(loss, features, pids)
    if name not in WITH_WEIGHTS:
        assert value == 0, "one image has no pair"


@pytest.mark.parametrize("miner", MINERS)
@pytest.mark.parametrize("name", ["TripletMarginLoss", "SupConLoss", "NCALoss", "ProxyAnchorLoss"])
def test_every_miner_leaves_the_loss_finite_and_attached_on_every_batch(name, miner):
    loss = build(name, miner)
    names = set()
    for features, pids in BATCHES.values():
        value = check_promises(loss, features, pids)
        names.add(tuple(call(loss, features, pids).monitors))
    assert len(names) == 1
    assert name == "ProxyAnchorLoss" or value == 0


@pytest.mark.parametrize("name", sorted(set(LOSSES) - TAKES_NO_MINER))
def test_every_loss_takes_every_miner(name):
    for miner in MINERS:
        check_promises(build(name, miner), *BATCHES["identities with two images"])


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("reducer", REDUCERS)
def test_distances_and_reducers_keep_the_promises(distance, reducer):
    # A divisor is handed on by a few losses only.
    divided = ("MarginLoss", part("ProxyAnchorLoss"))
    undivided = ("ContrastiveLoss", part("NTXentLoss", temperature=0.2))
    low = {"low": 0.5} if reducer == "ThresholdReducer" else {}
    for name in divided if reducer == "DivisorReducer" else undivided:
        loss = build(name, distance=part(distance), reducer=part(reducer, **low))
        for features, pids in BATCHES.values():
            check_promises(loss, features, pids)


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_the_images_does_not_matter(name):
    loss = build(name)
    for features, pids in BATCHES.values():
        order = torch.randperm(len(pids), generator=torch.Generator().manual_seed(1))
        first, second = call(loss, features, pids), call(loss, features[order], pids[order])
        torch.testing.assert_close(first.value, second.value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("miner", set(MINERS) - RANDOM_MINERS)
def test_the_order_does_not_matter_to_miners_where_no_distances_are_equal(miner):
    loss = build("TripletMarginLoss", miner)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    features = random_features(32)
    first, second = call(loss, features, FOURS), call(loss, features[order], FOURS[order])
    torch.testing.assert_close(first.value, second.value)
    assert first.monitors == second.monitors


@pytest.mark.parametrize("name", LOSSES)
def test_building_leaves_the_meta_device_alone(name):
    with torch.device("meta"):
        loss = build(name, num_pids=2)
    check_promises(loss, random_features(4), torch.tensor([0, 0, 1, 1]))


def test_a_loss_without_weights_is_built_without_the_global_generator():
    before = torch.get_rng_state()
    build("TripletMarginLoss", "DistanceWeightedMiner")
    assert torch.equal(torch.get_rng_state(), before)


# ---- numbers ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_the_value_is_the_librarys(name):
    values = {"num_classes": NUM_PIDS, "embedding_size": DIM}
    required = [
        key for key, needed in constructor_arguments(offered("loss")[name]).items() if needed
    ]
    given = {key: value for key, value in values.items() if key in required}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = vars(losses)[name](**given, **LOSS_PARAMS.get(name, {}))
    ours = build(name)
    ours.loss.load_state_dict(theirs.state_dict())
    for batch in ("identities with two images", "identities with four images", "uneven identities"):
        features, pids = BATCHES[batch]
        torch.testing.assert_close(call(ours, features, pids).value, theirs(features, pids))


def test_the_default_is_the_supervised_contrastive_loss():
    """Equation 2 of arXiv:2004.11362, temperature 0.1, as loops in float64."""
    features, pids = random_features(9), torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 3])
    unit = F.normalize(features.double(), dim=1)
    values = []
    for i in range(9):
        others = [j for j in range(9) if j != i]
        total = sum(math.exp(unit[i] @ unit[a] / 0.1) for a in others)
        own = [
            math.log(math.exp(unit[i] @ unit[p] / 0.1) / total)
            for p in others
            if pids[p] == pids[i]
        ]
        if own:
            values.append(-sum(own) / len(own))
    loss = metric_learning.build(metric_learning.MetricLearningParams(), dim=DIM, num_pids=4)
    expected = torch.tensor(sum(values) / len(values), dtype=torch.float32)
    torch.testing.assert_close(call(loss, features, pids).value, expected)


def test_arguments_distance_miner_and_reducer_arrive():
    """A triplet loss over the cosines of mined triplets, as loops in float64."""
    loss = build(
        part("TripletMarginLoss", margin=0.3),
        part("TripletMarginMiner", margin=0.2, type_of_triplets="semihard"),
        distance=part("CosineSimilarity"),
        reducer=part("SumReducer"),
    )
    features, pids = BATCHES["uneven identities"]
    unit = F.normalize(features.double(), dim=1)
    cosine, total, mined = unit @ unit.T, 0.0, 0
    for a in range(8):
        for p in range(8):
            for n in range(8):
                gap = cosine[a, p] - cosine[a, n]
                if a != p and pids[a] == pids[p] != pids[n] and 0 < gap <= 0.2:
                    total, mined = total + max(0.0, float(0.3 - gap)), mined + 1
    output = call(loss, features, pids)
    assert mined > 2
    torch.testing.assert_close(output.value, torch.tensor(total, dtype=torch.float32))
    assert output.monitors == {"mined_triplets": torch.tensor(float(mined))}


def test_a_miner_may_have_a_distance_of_its_own():
    own = part("PairMarginMiner", distance=part("LpDistance", p=1, normalize_embeddings=False))
    loss = build("ContrastiveLoss", own, distance=part("CosineSimilarity"))
    assert type(loss.loss.distance) is distances.CosineSimilarity
    assert type(loss.miner.distance) is distances.LpDistance
    assert loss.miner.distance.p == 1


def test_mined_pairs_are_counted():
    loss = build("ContrastiveLoss", part("PairMarginMiner", pos_margin=0.0, neg_margin=9.0))
    monitors = call(loss, random_features(), torch.tensor([0, 0, 0, 1, 1, 2, 3, 4])).monitors
    positives = 3 * 2 + 2 * 1
    negatives = 8 * 7 - positives
    assert monitors == {
        "mined_positives": torch.tensor(float(positives)),
        "mined_negatives": torch.tensor(float(negatives)),
    }


def test_a_regularizer_adds_its_value():
    features, pids = BATCHES["identities with two images"]
    loss = build("SupConLoss", embedding_regularizer=part("LpRegularizer"))
    plain = build("SupConLoss")
    expected = call(plain, features, pids).value + features.norm(dim=1).mean()
    torch.testing.assert_close(call(loss, features, pids).value, expected)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_every_regularizer_regularizes_weights(name):
    sub_centers = {"centers_per_class": 3} if name == "SparseCentersRegularizer" else {}
    loss = build(
        part("SoftTripleLoss", centers_per_class=3), weight_regularizer=part(name, **sub_centers)
    )
    for features, pids in BATCHES.values():
        check_promises(loss, features, pids)


def test_a_list_is_an_argument():
    miner = part("BatchEasyHardMiner", pos_strategy="hard", allowed_pos_range=[0.1, 5])
    assert build("TripletMarginLoss", miner).miner.allowed_pos_range == [0.1, 5]


# ---- guards -----------------------------------------------------------------------------


def test_equal_vectors_have_a_gradient_although_the_librarys_is_not_a_number():
    features, pids = BATCHES["two copies of each image"]
    leaf = features.clone().requires_grad_()
    losses.TupletMarginLoss()(leaf, pids).backward()
    assert leaf.grad.isnan().any()
    check_promises(build("TupletMarginLoss"), features, pids)


def test_a_mean_over_nothing_is_zero_although_the_librarys_is_not_a_number():
    features, pids = BATCHES["one image per identity"]
    assert losses.NCALoss()(features, pids).isnan()
    assert check_promises(build("NCALoss"), features, pids) == 0


# ---- weights of the loss ----------------------------------------------------------------


@pytest.fixture
def run_params(tiny_catalog, tiny_params):
    """A function from params of the loss to resolved params of a short training."""

    def resolve(**loss):
        raw = {
            **copy.deepcopy(tiny_params),
            "backbone": {"name": "tiny"},
            "loss": [{"name": "metric_learning", "params": loss}],
            "evaluation": [],
        }
        return check_run_params(raw, tiny_catalog, "test")

    return resolve


def test_every_loss_with_weights_of_its_own_is_known():
    with_weights = [name for name in LOSSES if list(build(name).parameters())]
    assert with_weights == WITH_WEIGHTS
    assert {"ArcFaceLoss", "ProxyAnchorLoss", "ProxyNCALoss", "SoftTripleLoss"} <= {*WITH_WEIGHTS}


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_weights_of_the_loss_are_trained_in_the_group_of_losses(run_params, tiny_catalog, name):
    params = run_params(loss=part(name))
    module = ModuleBuilder(params, tiny_catalog).module(6)
    built = module.losses
    groups = parameter_groups(params.optimizer, module.named_parameters())
    members = [n for settings, named in groups.items() if settings.role == "loss" for n, _ in named]
    assert len(members) == len(list(built.parameters())) == 1
    assert members[0] in module.state_dict()


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_weights_of_the_loss_are_saved(name):
    first, second = build(name), build(name)
    features, pids = BATCHES["identities with four images"]
    assert call(first, features, pids).value != call(second, features, pids).value
    second.load_state_dict(first.state_dict())
    assert torch.equal(call(first, features, pids).value, call(second, features, pids).value)


def test_a_margin_loss_may_learn_its_boundary():
    loss = build(part("MarginLoss", learn_beta=True))
    ((name, beta),) = loss.named_parameters()
    assert name == "loss.beta"
    call(loss, *BATCHES["identities with two images"]).value.backward()
    assert beta.grad.abs() > 0


@pytest.mark.parametrize(
    "params",
    [
        {"loss": part("ProxyAnchorLoss"), "miner": part("DistanceWeightedMiner")},
        {"loss": part("TripletMarginLoss", triplets_per_anchor=1)},
    ],
    ids=["weights and a random miner", "random triplets"],
)
def test_a_resumed_run_is_the_run(run_params, tiny_catalog, params):
    whole = run_params(**params)
    raw = whole.model_dump(mode="json")
    check_on_meta(whole, tiny_catalog)
    raw["train"]["epochs"] = 1
    run = start_train(check_run_params(raw, tiny_catalog, "test"), tiny_catalog, "parts")
    resume_train(run.path, tiny_catalog, whole)
    expected = start_train(whole, tiny_catalog, "whole")
    assert run.last_weights.read_bytes() == expected.last_weights.read_bytes()
    states = [torch.load(r.checkpoint, weights_only=True)["module"] for r in (run, expected)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


# ---- mistakes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        (
            {"loss": "TripletMarginLos"},
            "loss.name: no loss 'TripletMarginLos' in pytorch_metric_learning.losses; did you mean "
            "'TripletMarginLoss'?",
        ),
        ({"loss": "zzz"}, "losses; there are AngularLoss, ArcFaceLoss, CircleLoss, "),
        ({"loss": "BaseMetricLossFunction"}, "loss.name: no loss 'BaseMetricLossFunction' in "),
        ({"loss": "torch"}, "loss.name: no loss 'torch' in "),
        ({"loss": "__builtins__"}, "loss.name: no loss '__builtins__' in "),
        ({"loss": "MultiSimilarityMiner"}, "loss.name: no loss 'MultiSimilarityMiner' in "),
        (
            {"loss": "SupConLoss", "miner": "BatchHardMine"},
            "miner.name: no miner 'BatchHardMine' in pytorch_metric_learning.miners; did you mean "
            "'BatchHardMiner'?",
        ),
        (
            {"loss": "SupConLoss", "distance": part("CosinSimilarity")},
            "distance.name: no distance 'CosinSimilarity' in pytorch_metric_learning.distances; "
            "did you mean 'CosineSimilarity'?",
        ),
        (
            {"loss": "VICRegLoss"},
            "loss.name: 'VICRegLoss' cannot be used: it compares two views of each image",
        ),
        (
            {"loss": part("TupletMarginLoss", margn=5)},
            "loss.params.margn: 'TupletMarginLoss' takes no 'margn'; did you mean 'margin'? (it "
            "takes: distance, embedding_reg_weight, embedding_regularizer, margin, reducer, scale)",
        ),
        (
            {"loss": part("ProxyAnchorLoss", num_classes=9)},
            "loss.params.num_classes: is filled in; leave it out",
        ),
        (
            {"loss": part("MarginLoss", num_classes=9)},
            "loss.params.num_classes: is filled in; leave it out",
        ),
        (
            {"loss": part("ArcFaceLoss", embedding_size=9)},
            "loss.params.embedding_size: is filled in; leave it out",
        ),
        (
            {"loss": part("ArcFaceLoss", weight_init_func="normal")},
            "loss.params.weight_init_func: 'ArcFaceLoss' takes no 'weight_init_func'",
        ),
        (
            {"loss": part("SupConLoss", distance=part("LpDistance"))},
            "loss.params.distance: write it beside 'loss', not in its params",
        ),
        (
            {"loss": "SupConLoss", "miner": part("BatchHardMiner", distance="LpDistance")},
            "miner.params.distance: must be an object with 'name' and 'params'",
        ),
        (
            {"loss": part("SupConLoss", temperature=part("LpDistance"))},
            "loss.params.temperature: must be a plain value",
        ),
        (
            {
                "loss": "SupConLoss",
                "miner": part("BatchHardMiner", distance=part("LpDistance", q=1)),
            },
            "miner.params.distance.params.q: 'LpDistance' takes no 'q'",
        ),
        (
            {"loss": "TripletMarginLoss", "weight_regularizer": part("LpRegularizer")},
            "weight_regularizer: 'TripletMarginLoss' takes no 'weight_regularizer'",
        ),
        (
            {"loss": part("RankedListLoss")},
            "loss.params: 'RankedListLoss' must be given Tn, margin",
        ),
        (
            {"loss": "TupletMarginLoss", "distance": part("LpDistance")},
            "loss.params: 'TupletMarginLoss' refuses them: AssertionError: TupletMarginLoss ",
        ),
        (
            {"loss": "SupConLoss", "miner": part("BatchEasyHardMiner", pos_strategy="harsh")},
            "miner.params: 'BatchEasyHardMiner' refuses them: ValueError: pos_strategy must be ",
        ),
        (
            {"loss": part("PNPLoss"), "miner": "BatchHardMiner"},
            "loss: 'PNPLoss' with BatchHardMiner cannot be used with these params: ValueError: "
            "indices_tuple is not supported",
        ),
        (
            {"loss": "TripletMarginLoss", "reducer": part("PerAnchorReducer")},
            "loss: 'TripletMarginLoss' with PerAnchorReducer cannot be used with these params: "
            "NotImplementedError: Triplet reduction not supported",
        ),
        (
            {
                "loss": "SupConLoss",
                "distance": part("LpDistance"),
                "reducer": part("DivisorReducer"),
            },
            "loss: 'SupConLoss' with LpDistance, DivisorReducer cannot be used with these params: "
            "KeyError: 'divisor'",
        ),
        (
            {"loss": part("TripletMarginLoss", margin="0.3")},
            "loss: 'TripletMarginLoss' cannot be used with these params: TypeError: ",
        ),
        (
            {"loss": part("NTXentLoss", temperature=0)},
            "loss: 'NTXentLoss' gives nan for random vectors; change the params",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(params, problem):
    with pytest.raises(ReidError) as raised:
        build(**params)
    message = str(raised.value)
    assert message.startswith(f"loss 'metric_learning', params.{problem}") or (
        message.startswith("loss 'metric_learning', params.") and problem in message
    )
    assert "\n" not in message


@pytest.mark.parametrize("module", REFUSED)
def test_every_refused_class_has_its_reason_in_the_message(module):
    (kind,) = [kind for kind, (name, _) in KINDS.items() if name == module]
    for name, reason in REFUSED[module].items():
        with pytest.raises(ReidError, match=f"'{name}' cannot be used: {reason}"):
            build(**({"loss": "SupConLoss"} | {kind: part(name)}))


@pytest.mark.parametrize("name", sorted(TAKES_NO_MINER))
def test_a_miner_that_a_loss_does_not_take_is_refused_when_it_is_built(name):
    for miner in MINERS:
        with pytest.raises(ReidError, match="indices_tuple is not supported"):
            build(name, miner)


@pytest.mark.parametrize("value", [None, {"a": 1}, [[1]], [None]])
def test_values_are_numbers_booleans_strings_and_lists(value, catalog, tiny_params):
    tiny_params["loss"] = [
        {"name": "metric_learning", "params": {"loss": part("SupConLoss", temperature=value)}}
    ]
    with pytest.raises(ReidError, match=r"loss\.0\.params\.loss\.params\.temperature"):
        check_run_params(tiny_params, catalog, "test")


def test_without_the_library_the_message_says_how_to_install_it(monkeypatch):
    for module in [name for name in sys.modules if name.startswith("pytorch_metric_learning")]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ReidError, match=r'pip install "reid-core\[metric-learning\]"'):
        build("SupConLoss")


def test_a_wrong_name_is_found_before_the_first_image(run_params, tiny_catalog):
    params = run_params(loss=part("SupConLos"))
    with pytest.raises(ReidError, match="did you mean 'SupConLoss'"):
        check_on_meta(params, tiny_catalog)
