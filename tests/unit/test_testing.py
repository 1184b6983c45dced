"""The contract tests for authors find what is wrong and say it; what is right passes."""

import dataclasses
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import Field
from torch import nn

from reid_core import (
    AugmentationComponent,
    BackboneComponent,
    Component,
    DistanceComponent,
    EvaluatorComponent,
    LossComponent,
    ObjectiveComponent,
    Params,
    PostprocessComponent,
    ReidError,
    SamplerComponent,
    ScheduleComponent,
    hookimpl,
)
from reid_core.contracts import (
    Branch,
    BranchSpec,
    Callback,
    FeatureMap,
    HeadOutput,
    ImageRecord,
    Listing,
    Logger,
    LossOutput,
    Sample,
    Scores,
    Term,
)
from reid_core.discovery import isolated_catalog
from reid_core.testing import Case, check_component
from reid_plugins.toolkit.pk_batches import DrawnBatches, rank_slice

SUMMARY = "Something for a test"


def catalog_of(kind, component):
    """A catalog of one component."""
    hook = hookimpl(lambda self: [component])
    return isolated_catalog(type("Plugin", (), {f"reid_{kind}": hook})())


def failures(kind, component, **given):
    """The lines in which a component's faults are told, by the name of the check."""
    catalog = catalog_of(kind, component)
    assert catalog.faults == []
    with pytest.raises(AssertionError) as caught:
        check_component(kind, component.name, catalog, **given)
    first, *parts = re.split(r"\n  (?! )", str(caught.value))
    assert first == f"{kind} '{component.name}' of local 0:"
    return {part.partition(":")[0]: part.partition(":")[2].strip() for part in parts}


def passes(kind, component, **given):
    check_component(kind, component.name, catalog_of(kind, component), **given)


# ---- words ------------------------------------------------------------------------------


class Vague(Params):
    rate: float = Field(default=1.0, description="")


class Loose(Params, extra="ignore"):
    pass


def schedule(**given):
    usual = {"name": "x", "build": lambda params: level, "summary": SUMMARY}
    return ScheduleComponent(**{**usual, **given})


def level(progress, history):
    return 1.0


def test_a_right_component_passes():
    passes("schedule", schedule())


@pytest.mark.parametrize(
    ("given", "check", "message"),
    [
        ({"summary": "short"}, "the summary is one short line", "it has 5 characters"),
        ({"summary": "two\nlines of it"}, "the summary is one short line", "is not one line"),
        ({"params": Vague}, "every param has a description", "no description: params.rate"),
        (
            {"params": Loose},
            "the params refuse unknown keys and cannot be changed",
            "unknown keys are not forbidden",
        ),
        (
            {"build": lambda params, *, depth: level},
            "build takes params and keywords of its kind",
            "build asks for depth; the kind offers",
        ),
    ],
)
def test_words_and_params_that_are_wrong_are_told(given, check, message):
    found = failures("schedule", schedule(**given))
    assert message in found[check]


def test_everything_that_is_wrong_is_told_at_once_and_the_first_is_the_cause():
    component = schedule(summary="", build=lambda params: lambda p, h: -1.0)
    assert len(failures("schedule", component)) == 3
    with pytest.raises(AssertionError) as caught:
        check_component("schedule", "x", catalog_of("schedule", component))
    assert "characters" in str(caught.value.__cause__)


def test_wrong_params_and_an_unknown_name_are_mistakes_of_the_call():
    catalog = catalog_of("schedule", schedule())
    with pytest.raises(ReidError, match="params of schedule 'x' of local 0: rat: unknown key"):
        check_component("schedule", "x", catalog, params={"rat": 1})
    with pytest.raises(ReidError, match="unknown schedule 'y'"):
        check_component("schedule", "y", catalog)
    with pytest.raises(TypeError, match="sise"):
        check_component("schedule", "x", catalog, case={"sise": 1})


# ---- losses -----------------------------------------------------------------------------


def loss(call, **given):
    usual = {"name": "x", "summary": SUMMARY, "role": "metric", "build": lambda params: call}
    return LossComponent(**{**usual, **given})


def squares(x):
    return x.features.square().sum(dim=1)


VALUE = "a value is finite and attached to the graph and its gradient is finite"


@pytest.mark.parametrize(
    ("call", "check", "message"),
    [
        (lambda x: LossOutput(squares(x)), VALUE, "expected a 0-d floating-point tensor"),
        (lambda x: LossOutput(torch.zeros(())), VALUE, "returned value without a gradient"),
        (lambda x: LossOutput(squares(x).mean() / len(x.pids.unique()[1:])), VALUE, "one identity"),
        (lambda x: LossOutput((x.features / 0).mean()), VALUE, "the value is nan"),
        (lambda x: LossOutput(squares(x).sqrt().mean()), VALUE, "features of zero': the gradient"),
        (lambda x: LossOutput(squares(x).mean().double()), VALUE, "is torch.float64"),
        (
            lambda x: LossOutput(squares(x).mean(), {"m": squares(x).mean()}),
            "monitors are finite detached and of the same names",
            "the monitor 'm' is not detached",
        ),
        (
            lambda x: LossOutput(squares(x).mean(), {str(len(x.pids)): torch.zeros(())}),
            "monitors are finite detached and of the same names",
            "they differ by batch",
        ),
        (
            lambda x: LossOutput(squares(x).mean(), accuracy=torch.tensor(50.0)),
            "an accuracy is a fraction",
            "it is 50.0",
        ),
        (
            lambda x: LossOutput(squares(x)[0] + 0 * squares(x).mean()),
            "the order of the images does not matter",
            "not close",
        ),
        (
            lambda x: LossOutput(squares(x).mean() * torch.rand(())),
            "the same step has the same value",
            "and",
        ),
        (
            lambda x: LossOutput(2 * squares(x).mean().detach() - squares(x).mean()),
            "a small step against the gradient lowers the value",
            "from ",
        ),
    ],
)
def test_a_loss_that_breaks_its_contract_is_found(call, check, message):
    found = failures("loss", loss(call))
    assert message in found[check]


def test_a_loss_of_pairs_must_be_still_about_a_single_image():
    def call(x):
        return LossOutput(squares(x).mean())

    found = failures("loss", loss(call, needs=frozenset({"pairs"})))
    assert "it costs" in found["a single image has no pairs and costs nothing"]


def test_a_loss_gets_the_values_that_it_declares_in_the_shape_of_its_case():
    def call(x):
        visible = 1 + x.aux["visibility"].square()  # one number per image, unless the case has more
        return LossOutput((squares(x)[:, None] * visible.reshape(-1, 3)).mean())

    component = loss(call, reads=("visibility",))
    assert VALUE in failures("loss", component)
    passes("loss", component, case={"aux": {"visibility": (3,)}})


def test_a_loss_that_raises_is_told_with_what_it_raised():
    def call(x):
        raise RuntimeError("out of ideas")

    assert "RuntimeError: out of ideas" in failures("loss", loss(call))[VALUE]


def embedded(x):
    """A loss with a number for each of the clothes; -1 is the last one."""
    return LossOutput((squares(x) * torch.ones(2)[x.columns["clothes"]]).mean())


def test_a_loss_of_columns_meets_images_of_which_nothing_is_known():
    passes("loss", loss(embedded, columns=("clothes",)))

    def strict(x):
        assert (x.columns["clothes"] >= 0).all(), "unknown clothes"
        return embedded(x)

    check = "what is not known of the images leaves numbers"
    component = loss(strict, columns=("clothes",))
    assert list(failures("loss", component)) == [check]
    assert check in failures("loss", component, case={"columns": {"clothes": ("", "red")}})


def test_a_loss_gets_extras_and_indices_in_the_order_of_its_images():
    seen = []

    def call(x):
        share = x.extras["body"].float().mean(dim=(1, 2)) / 255
        words = torch.tensor([float(text[-1]) for text in x.extras["caption"]])
        seen.append(torch.equal(words, x.index.float()))
        return LossOutput((squares(x) * (share + words)).mean())

    component = loss(call, extras=("body", "caption"))
    passes("loss", component, case={"extras": {"caption": "text"}})
    assert set(seen) == {True}


class Memory(nn.Module):
    """A loss with a vector for each person, empty at first."""

    def __init__(self, dim, num_pids, follows=True):
        super().__init__()
        self.register_buffer("memory", torch.zeros(num_pids, dim))
        self.follows = follows

    def set_classes(self, change):
        self.memory = torch.zeros(change.num_pids if self.follows else 2, self.memory.shape[1])

    def forward(self, x):
        self.seen = x.features.detach(), x.pids
        return LossOutput(nn.functional.cross_entropy(x.features @ self.memory.T, x.pids))

    def after_step(self):
        vectors, pids = self.seen
        self.memory.index_add_(0, pids, vectors)


def test_a_memory_is_filled_by_steps_and_follows_new_identities():
    def build(params, *, dim, num_pids):
        return Memory(dim, num_pids)

    passes("loss", loss(None, build=build, normalize=True))

    def wrong(params, *, dim, num_pids):
        return Memory(dim, num_pids, follows=False)

    found = failures("loss", loss(None, build=wrong, normalize=True))
    assert list(found) == ["it follows new identities"]


# ---- heads and backbones ----------------------------------------------------------------


class PooledHead(nn.Module):
    """A right head; what it gives can be changed."""

    def __init__(self, channels, change=None, **spec):
        super().__init__()
        usual = {"name": "b", "dim": channels, "classifier": "b", "roles": frozenset({"id"})}
        self.branches = (BranchSpec(**{**usual, **spec}),)
        self.change, self.neck = change, nn.BatchNorm1d(channels)

    def forward(self, features):
        vector = features.map.mean(dim=(2, 3))
        output = HeadOutput({"b": Branch(vector, self.neck(vector))})
        return self.change(self, output) if self.change else output


def with_aux(output):
    return HeadOutput(output.branches, {"x": torch.ones(len(output.branches["b"].feature))})


def changed(output, change):
    vector = change(output.branches["b"].feature)
    return HeadOutput({"b": Branch(vector, vector)})


def head(change=None, **spec):
    def build(params, *, in_channels):
        return PooledHead(in_channels, change, **spec)

    return Component(name="x", build=build, summary=SUMMARY)


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (
            head(name="a b"),
            "branches are declared before the first forward",
            "whose name must consist of letters (A-Z, a-z), digits and '_', got 'a b'",
        ),
        (
            head(classifier=None),
            "roles classifiers and the test embedding agree",
            "has the role 'id' and no classifier",
        ),
        (
            head(lambda self, output: HeadOutput({"c": output.branches["b"]})),
            "forward gives what is declared",
            "returned the branches c; it has declared b",
        ),
        (
            head(
                lambda self, o: o if self.training else HeadOutput(o.branches, {"x": torch.ones(6)})
            ),
            "forward gives the same names in training and evaluation",
            "['x']",
        ),
        (
            head(
                lambda self, o: HeadOutput(
                    {
                        "b": Branch(
                            o.branches["b"].feature.detach(), o.branches["b"].feature.detach()
                        )
                    }
                )
            ),
            "the map and every parameter receive finite gradients",
            "",
        ),
        (
            head(lambda self, o: changed(o, lambda vector: vector.softmax(dim=0))),
            "in evaluation an image does not depend on the others",
            "",
        ),
    ],
)
def test_a_head_that_breaks_its_contract_is_found(component, check, message):
    found = failures("head", component)
    assert message in found[check]


def test_a_head_that_needs_tokens_or_a_stage_says_so_in_its_case():
    class Head(PooledHead):
        def forward(self, features):
            vector = features.tokens[:, 0] + features.maps["early"].mean(dim=(1, 2, 3))[:, None]
            return HeadOutput({"b": Branch(vector, self.neck(vector))})

    component = Component(
        name="x", build=lambda params, *, in_channels: Head(in_channels), summary=SUMMARY
    )
    assert "forward gives what is declared" in failures("head", component)
    passes("head", component, case=Case(tokens=2, maps={"early": (4, 6, 6)}))
    passes("head", component, case={"tokens": 1, "maps": {"early": (4, 6, 6)}, "size": (3, 3)})


class Grid(nn.Module):
    """A backbone for one input size alone; what it gives can be changed."""

    out_channels, stride = 8, 16

    def __init__(self, size=(32, 32), change=None):
        super().__init__()
        self.size, self.change = size, change
        self.cells = nn.Conv2d(3, 8, 16, stride=16)
        self.place = nn.Parameter(torch.zeros(8, *[side // 16 for side in size]))

    @property
    def stages(self):
        return {"cells": self.cells, "place": nn.ParameterList([self.place])}

    def forward(self, images, side):
        output = FeatureMap(self.cells(images) + self.place)
        return self.change(output) if self.change else output


def backbone(module=Grid, **given):
    return BackboneComponent(name="x", build=lambda params: module(**given), summary=SUMMARY)


def test_a_backbone_for_one_size_says_so_in_its_case():
    assert "the map has the declared channels and stride" in failures("backbone", backbone())
    passes("backbone", backbone(), case=Case(size=(32, 32)))


class Half(Grid):
    @property
    def stages(self):
        return {"cells": self.cells}


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (
            backbone(change=lambda o: FeatureMap(o.map[:, :4])),
            "the map has the declared channels and stride",
            "expected floats of at most 32 bits and of shape (2, 8, h, w)",
        ),
        (
            backbone(change=lambda o: FeatureMap(o.map, o.map.mean(dim=(2, 3)))),
            "the map has the declared channels and stride",
            "expected None or floats of shape (2, K, 8)",
        ),
        (
            backbone(Half),
            "the stages hold every parameter once and the last can be copied",
            "in no stage: place",
        ),
        (
            backbone(change=lambda o: FeatureMap(o.map.detach())),
            "every parameter receives a finite gradient",
            "",
        ),
        (
            backbone(change=lambda o: FeatureMap(o.map - o.map.mean(dim=0))),
            "in evaluation an image does not depend on the others",
            "",
        ),
    ],
)
def test_a_backbone_that_breaks_its_contract_is_found(component, check, message):
    found = failures("backbone", component, case=Case(size=(32, 32)))
    assert message in found[check]


def test_a_backbone_gets_the_side_columns_that_it_declares():
    class Sided(Grid):
        def forward(self, images, side):
            return FeatureMap(self.cells(images) + self.place + side["camid"][:, None, None, None])

    seen = []

    def build(params, *, input_size, side_values):
        seen.append((input_size, side_values))
        return Sided()

    component = BackboneComponent(name="x", build=build, summary=SUMMARY, side=("camid",))
    passes("backbone", component, case=Case(size=(32, 32)))
    assert len(seen) > 1
    assert seen == [((32, 32), {"camid": 3})] * len(seen)


def test_a_backbone_that_has_no_number_for_an_unknown_camera_is_found():
    class Sided(Grid):
        def forward(self, images, side):
            root = (side["camid"] + (side["camid"] < 0).all()).clamp(min=-1).float() + 1
            return FeatureMap((self.cells(images) + self.place) / root[:, None, None, None])

    component = dataclasses.replace(backbone(Sided), side=("camid",))
    found = failures("backbone", component, case=Case(size=(32, 32)))
    assert (
        "is not finite" in found["the map is finite and alike in form in training and evaluation"]
    )

    class Unknown(Grid):
        def forward(self, images, side):
            known = (side["camid"] >= 0).float().mean()
            return FeatureMap((self.cells(images) + self.place) / known)

    component = dataclasses.replace(backbone(Unknown), side=("camid",))
    found = failures("backbone", component, case=Case(size=(32, 32)))
    assert list(found) == [
        "what it does not know of an image leaves numbers",
        "in evaluation an image does not depend on the others",
    ]


# ---- samplers ---------------------------------------------------------------------------


class Ordered:
    """A right sampler; what it yields can be changed."""

    def __init__(self, count, rank=0, world_size=1, change=lambda self, batch: batch):
        self.count, self.change, self.epoch = count, change, 0
        self.share = slice(rank, 32, world_size)

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.count // 32

    def __iter__(self):
        for start in range(0, 32 * len(self), 32):
            batch = [(self.epoch, index) for index in range(start, start + 32)][self.share]
            yield self.change(self, batch)


def sampler(change=lambda self, batch: batch, share=True, **given):
    def build(params, *, labels, rank, world_size):
        where = {"rank": rank, "world_size": world_size} if share else {}
        return Ordered(len(labels), change=change, **where)

    return SamplerComponent(**{"name": "x", "build": build, "summary": SUMMARY, **given})


BATCHES = "it yields as many batches as it announces in every epoch"


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (
            sampler(lambda self, batch: [(np.int64(e), i) for e, i in batch]),
            BATCHES,
            "yields (np.int64(0), 0); expected a pair (epoch, index) of ints",
        ),
        (
            sampler(lambda self, batch: [(0, i) for _, i in batch]),
            BATCHES,
            "expected (epoch, index) of epoch 1",
        ),
        (
            sampler(lambda self, batch: [(e, i + 1000) for e, i in batch]),
            BATCHES,
            "an index from 0 to 319",
        ),
        (
            sampler(lambda self, batch: [(e, int(torch.randint(9, ()))) for e, _ in batch]),
            BATCHES,
            "a global random generator has been used",
        ),
        (
            sampler(share=False),
            "processes share the batches of a single one",
            "the shares are not the batch of a single process",
        ),
    ],
)
def test_a_sampler_that_breaks_its_contract_is_found(component, check, message):
    assert message in failures("sampler", component)[check]


def by_label(leave_out):
    """A sampler of 8 identities with 4 images each, by the toolkit."""

    def build(params, *, labels, seed, rank, world_size):
        names = [label for label in np.unique(labels) if label >= 0 or not leave_out]
        groups = [np.flatnonzero(labels == name) for name in names]

        def draw(rng):
            visits = rng.permuted(np.tile(np.arange(len(groups)), (5, 1)), axis=1)[:, :8]
            return np.array([[rng.choice(groups[i], 4) for i in row] for row in visits])

        share = rank_slice(8, "P", rank, world_size)
        return DrawnBatches("x", draw, 5, seed=seed, share=share)

    return SamplerComponent(name="x", build=build, summary=SUMMARY)


def test_images_without_identity_must_not_be_one_person():
    passes("sampler", by_label(leave_out=True))
    check = "images without identity are not one person"
    assert (
        "as if they were one person; leave them out"
        in failures("sampler", by_label(leave_out=False))[check]
    )


def test_a_right_sampler_passes():
    passes("sampler", sampler())


def test_a_sampler_gets_columns_with_the_values_of_its_case():
    seen = []

    def build(params, *, labels, columns, rank, world_size):
        seen.append({name: set(values) for name, values in columns.items()})
        return Ordered(len(labels), rank, world_size)

    component = SamplerComponent(
        name="x", build=build, summary=SUMMARY, columns=lambda params: ("clothes", "view")
    )
    passes("sampler", component, case={"columns": {"view": ("left", "")}})
    assert len(seen) > 1
    assert seen == [{"clothes": {0, 1, -1}, "view": {"left", ""}}] * len(seen)


# ---- evaluators, distances, post-processing ---------------------------------------------


def evaluator(change=lambda **scores: scores, keep=lambda f: ~f.junk, knows=True, **given):
    def evaluate(splits):
        query, gallery = splits["query"], splits["gallery"]
        gallery = gallery.rows(keep(gallery))
        one, other = (split.values["embedding"] for split in (query, gallery))
        other = other / np.linalg.norm(other, axis=1, keepdims=True)
        found = (one @ other.T).argmax(axis=1)
        right = (gallery.pids[found] == query.pids) & ~gallery.distractor[found]
        right &= (query.pids != "") | (not knows)
        scores = {"metrics": {"r": float(right.mean())}, "primary": "r", "protocol": {"junk": "no"}}
        return Scores(**change(**scores, per_query={"right": right}))

    usual = {"build": lambda params: evaluate, "splits": ("query", "gallery")}
    return EvaluatorComponent(**{"name": "x", "summary": SUMMARY, **usual, **given})


SCORES = "scores are what can be compared and written"


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (
            evaluator(splits=("probe", "gallery")),
            SCORES,
            "declares splits ('probe', 'gallery'); expected a tuple of names out of",
        ),
        (
            evaluator(lambda **s: {**s, "primary": "mAP"}),
            SCORES,
            "primary 'mAP' (str); expected one of r",
        ),
        (
            evaluator(lambda **s: {**s, "metrics": {"r": True}}),
            SCORES,
            "metric 'r' True (bool); expected a finite number",
        ),
        (
            evaluator(lambda **s: {**s, "metrics": {"r": -s["metrics"]["r"]}}),
            "larger is better",
            " clean and -",
        ),
        (
            evaluator(keep=lambda f: np.ones(len(f), dtype=bool)),
            "junk changes no number",
            "with other vectors and pids of the junk images",
        ),
        (
            evaluator(knows=False),
            "images without identity are never a right answer",
            'when images of the pid "" get pids that nobody else has',
        ),
        (
            evaluator(lambda **s: {**s, "protocol": {}}),
            SCORES,
            "expected every choice behind the numbers",
        ),
        (
            evaluator(lambda **s: {**s, "protocol": {"junk": ("no",)}}),
            "protocol and card come back from json",
            "the protocol is not what JSON makes of it",
        ),
        (
            evaluator(lambda **s: {**s, "per_query": {"a": np.ones(3), "b": np.ones(4)}}),
            SCORES,
            "per_query['a'] of shape (3,); expected one row for each of 14",
        ),
    ],
)
def test_an_evaluator_that_breaks_its_contract_is_found(component, check, message):
    assert message in failures("evaluator", component)[check]


def test_a_right_evaluator_passes_and_gets_what_it_declares():
    passes("evaluator", evaluator())
    for number in (np.float32, np.float64, int):
        passes("evaluator", evaluator(lambda kind=number, **s: {**s, "metrics": {"r": kind(1)}}))
    passes("evaluator", evaluator(aux=("visibility",), columns=("clothes", "camid")))


def test_columns_of_an_evaluator_may_have_other_values_in_every_split():
    def build(params):
        def evaluate(splits):
            words = {split: set(f.columns["modality"]) for split, f in splits.items()}
            assert words == {"query": {"infrared"}, "gallery": {"visible", ""}}
            return Scores({"r": 1.0}, "r", {"junk": "no"})

        return evaluate

    columns = {"modality": {"query": ("infrared",), "gallery": ("visible", "")}}
    component = evaluator(build=build, columns=("modality",))
    passes("evaluator", component, case={"columns": columns})
    assert SCORES in failures("evaluator", component)


def test_an_evaluator_gets_its_own_distance_also_where_the_catalog_has_it_not():
    def build(params, *, distance, device):
        return lambda splits: Scores({"r": 1.0}, "r", {"distance": [distance.name, device]})

    passes("evaluator", evaluator(build=build, distance="of_my_own"))
    passes("evaluator", evaluator(build=build, distance="of_my_own"), case={"context": {}})
    with pytest.raises(ReidError, match="the case of a evaluator has no context 'depth'"):
        passes("evaluator", evaluator(build=build), case={"context": {"depth": 1}})


class Manhattan:
    symmetric, normalizes = True, False

    def prepare(self, vectors):
        return vectors

    def fill(self, query, gallery, out):
        out.copy_(torch.cdist(query.features, gallery.features, p=1))

    def values(self, keys):
        return keys


class Lopsided(Manhattan):
    def fill(self, query, gallery, out):
        super().fill(query, gallery, out)
        out.add_(gallery.features.sum(dim=1))


class Blocky(Manhattan):
    def fill(self, query, gallery, out):
        super().fill(query, gallery, out)
        out.sub_(out.mean())


class Spoiling(Manhattan):
    def prepare(self, vectors):
        vectors.features.mul_(2)
        return vectors


@pytest.mark.parametrize(
    ("built", "check", "message"),
    [
        (Lopsided, "what it says of symmetry is true", "it says that it is symmetric and is not"),
        (Blocky, "rows of prepared images are prepared rows", "not those of the whole"),
        (Spoiling, "every key is filled and finite", "changed the features that it was given"),
        (
            type("Unit", (Manhattan,), {"normalizes": True}),
            "what it says of lengths is true",
            "normalizes: True, and the length of a vector counts",
        ),
        (
            type("Back", (Manhattan,), {"values": lambda self, keys: -keys}),
            "values grow with the keys",
            "a larger key has a smaller distance",
        ),
        (
            type("Lazy", (Manhattan,), {"fill": lambda self, query, gallery, out: None}),
            "every key is filled and finite",
            "left them unwritten",
        ),
    ],
)
def test_a_distance_that_breaks_its_contract_is_found(built, check, message):
    component = DistanceComponent(name="x", build=lambda params: built(), summary=SUMMARY)
    assert message in failures("distance", component)[check]


def test_a_right_distance_passes():
    passes("distance", DistanceComponent(name="x", build=lambda p: Manhattan(), summary=SUMMARY))


def test_a_distance_gets_the_columns_and_values_that_it_declares():
    seen = set()

    class Apart(Manhattan):
        def fill(self, query, gallery, out):
            super().fill(query, gallery, out)
            one, other = query.columns["modality"], gallery.columns["modality"]
            seen.update([*one, *other])
            out.add_(torch.from_numpy(one[:, None] == other[None]))
            out.add_(query.aux["uc"][:, None] + gallery.aux["uc"][None])

    component = DistanceComponent(
        name="x",
        build=lambda params: Apart(),
        summary=SUMMARY,
        aux=lambda params: ("uc",),
        columns=("modality",),
    )
    passes("distance", component, case={"columns": {"modality": ("visible", "")}})
    assert seen == {"visible", ""}


def step(call, stage="features"):
    return PostprocessComponent(name="x", build=lambda p: call, summary=SUMMARY, stage=stage)


def scaled(comparison, factor=2.0):
    query, gallery = comparison.query, comparison.gallery
    sides = (dataclasses.replace(s, features=factor * s.features) for s in (query, gallery))
    return comparison.with_vectors(*sides)


def half(comparison):
    return comparison.with_vectors(comparison.query.rows(0, 5), comparison.gallery)


def in_place(comparison):
    comparison.query.features.mul_(2)
    return comparison


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (step(scaled, "distances"), "it changes what its stage says", "it leaves the keys"),
        (step(half), "it changes what its stage says", "returned query features of shape (5, 64)"),
        (step(in_place), "it changes what its stage says", "changed the query's features"),
        (
            step(lambda c: None),
            "it changes what its stage says",
            "returned None; expected a Comparison",
        ),
        (
            step(lambda c: scaled(c, float("nan"))),
            "it changes what its stage says",
            "query features that are NaN",
        ),
    ],
)
def test_a_step_that_breaks_its_contract_is_found(component, check, message):
    assert message in failures("postprocess", component)[check]


def test_a_right_step_passes():
    passes("postprocess", step(scaled))


# ---- augmentations, schedules, objectives -----------------------------------------------


def brighter(image, rng):
    return image.point(lambda value: min(255, int(value * rng.uniform(1, 2))))


def drawing(image, rng):
    return image.point(lambda value: int(value * torch.rand(())))


def cropped(image, rng):
    return image.crop((0, 0, 4 + int(rng.integers(8)), 8))


def grey(image, rng):
    return image.convert("L")


def drawn_on(image, rng):
    image.putpixel((0, 0), (1, 2, 3))
    return image.copy()


def augmentation(call, **given):
    usual = {"build": lambda params: call, "stage": "pil", "summary": SUMMARY, "name": "x"}
    return AugmentationComponent(**{**usual, **given})


SAME_STAGE = "the result is an image of the same stage and its size is not random"


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (augmentation(cropped), SAME_STAGE, "the size is random"),
        (augmentation(grey), SAME_STAGE, "expected an RGB PIL.Image"),
        (augmentation(drawing), "the same rng gives the same image", ""),
        (augmentation(drawn_on), "the input is left as it was", "has been changed"),
        (
            augmentation(brighter, use="both"),
            "preprocessing draws no random number",
            "rng.uniform is used",
        ),
        (
            augmentation(lambda image, rng: image.copy()),
            "it can be sent to loader processes",
            "",
        ),
        (augmentation(brighter, extras="moves"), SAME_STAGE, "AttributeError"),
        (
            augmentation(lambda sample, rng: sample.image.copy(), extras="moves"),
            SAME_STAGE,
            "expected a Sample, as it declares 'extras'",
        ),
        (
            augmentation(lambda s, rng: Sample(s.image.resize((8, 8)), s.masks), extras="moves"),
            SAME_STAGE,
            "expected a PIL.Image of mode L and 8 x 8 pixels",
        ),
        (
            augmentation(lambda images, rngs: images[:2], stage="batch"),
            SAME_STAGE,
            "expected a float32 tensor (4, 3, H, W)",
        ),
        (
            augmentation(lambda images, rngs: images * rngs[0].uniform(), stage="batch"),
            "an image of a batch depends on its own generator",
            "an image becomes another one beside other images",
        ),
    ],
)
def test_an_augmentation_that_breaks_its_contract_is_found(component, check, message):
    assert message in failures("augmentation", component)[check]


def moved(sample, rng):
    mirror = Image.Transpose.FLIP_LEFT_RIGHT
    masks = {name: mask.transpose(mirror) for name, mask in sample.masks.items()}
    return Sample(sample.image.transpose(mirror), masks)


def mixed(images, rngs):
    return torch.stack(
        [image * rng.uniform() for image, rng in zip(images, rngs, strict=True)]
    ).float()


def test_right_augmentations_pass_at_every_stage_and_with_masks():
    passes("augmentation", augmentation(brighter))
    passes("augmentation", augmentation(moved, extras="moves"))
    passes("augmentation", augmentation(mixed, stage="batch"))


@pytest.mark.parametrize(
    ("factor", "check", "message"),
    [
        (lambda p, h: float("nan"), "the factor is finite and not negative in every step", "nan"),
        (lambda p, h: 0.0, "the factor is finite and not negative in every step", "always 0"),
        (
            lambda p, h: 0.1 * len(h) + 1,
            "a schedule that looks at the scores says so",
            "declare reads_scores=True",
        ),
        (lambda p, h: 1.0, "it can be pickled", ""),
    ],
)
def test_a_schedule_that_breaks_its_contract_is_found(factor, check, message):
    found = failures("schedule", schedule(build=lambda params: factor))
    assert message in found[check]


def objective(call):
    return ObjectiveComponent(name="x", build=lambda params: call, summary=SUMMARY)


TERMS = "it maps a step to finite terms with detached monitors"


def length(step):
    return step.outputs.embedding.square().sum(dim=1).mean()


@pytest.mark.parametrize(
    ("call", "check", "message"),
    [
        (lambda step: {"x": length(step)}, TERMS, "expected a Term"),
        (lambda step: {}, TERMS, "none of objective 'x' of local 0 gave a term"),
        (
            lambda step: {"x": Term(length(step), 1.0, {"m": length(step)})},
            TERMS,
            "monitors that are not detached: ['m']",
        ),
        (
            lambda step: {"x": Term(length(step) / 0)},
            TERMS,
            "the total is inf",
        ),
    ],
)
def test_an_objective_that_breaks_its_contract_is_found(call, check, message):
    assert message in failures("objective", objective(call))[check]


def test_an_objective_that_reads_a_file_on_shapes_alone_is_found():
    def build(params, *, load_trained):
        teacher = load_trained("runs/first")
        return lambda step: {"x": Term(length(step) + 0 * len(teacher.classes))}

    component = ObjectiveComponent(name="x", build=build, summary=SUMMARY)
    found = failures("objective", component)
    assert list(found) == ["it is built on shapes alone without reading a file"]


def test_a_right_objective_passes():
    passes("objective", objective(lambda step: {"x": Term(length(step))}))


def test_an_objective_has_logits_only_if_it_says_that_it_needs_them():
    def call(step):
        return {"x": Term(step.outputs.logits["whole"].square().mean())}

    assert "KeyError: 'whole'" in failures("objective", objective(call))[TERMS]
    passes("objective", dataclasses.replace(objective(call), needs=("classifier",)))


def test_an_objective_gets_streams_columns_and_texts_as_its_case_says():
    def call(step):
        (one, other), words = step.streams["target"], step.batch.extras["caption"]
        assert len(words) == len(step.batch.columns["clothes"]) == len(one.pids) == len(other.pids)
        return {"x": Term(step.model(one.images).embedding.square().mean() * len(words[0]))}

    component = dataclasses.replace(objective(call), columns=("clothes",), extras=("caption",))
    assert "KeyError: 'target'" in failures("objective", component)[TERMS]
    passes("objective", component, case={"extras": {"caption": "text"}, "streams": {"target": 2}})


class Average(nn.Module):
    """An objective with a second network that is not trained."""

    untrained = ("average",)

    def __init__(self, average):
        super().__init__()
        self.average = average

    def forward(self, step):
        with torch.no_grad():
            wanted = self.average(step.batch.images).embedding
        return {"x": Term((step.outputs.embedding - wanted).square().mean())}


def test_an_objective_may_build_a_second_network():
    def build(params, *, build_model):
        return Average(build_model())

    passes("objective", ObjectiveComponent(name="x", build=build, summary=SUMMARY))


# ---- callbacks and loggers --------------------------------------------------------------


def callback(kind, **given):
    def build(params, *, num_images):
        return kind(**given) if given else kind()

    return Component(name="x", build=build, summary=SUMMARY)


class Patient(Callback):
    """A right callback: it ends a training after some scores, and forgets nothing."""

    def __init__(self, remembers=True, answer=True):
        self.count, self.remembers, self.answer = 0, remembers, answer

    def before_epoch(self, context):
        features = context.extract(outputs=("embedding", "aux.uc"))
        assert len(features) == len(context.labels)
        context.log({"images": len(features), "epoch": context.progress.epoch})
        context.relabel(np.arange(len(features)) % (3 + self.count), features)

    def after_evaluation(self, context, results):
        assert context.extract("query", "people").values["embedding"].shape[1] == 12
        self.count += 1
        return self.count >= 4 and self.answer

    def state_dict(self):
        return {"count": self.count} if self.remembers else {}

    def load_state_dict(self, state):
        self.count = state.get("count", 0)


class Afterwards(Callback):
    def after_epoch(self, context):
        context.relabel(context.labels)


class Gaps(Callback):
    def before_epoch(self, context):
        context.relabel(2 * context.labels)


class Silent(Callback):
    def after_epoch(self, context):
        context.log({"share": float("nan")})


REMEMBERED = "what it remembers comes back through a checkpoint"


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (callback(Callback), "it goes through epochs", "which defines none of after_epoch"),
        (callback(Patient, answer=1), "it goes through epochs", "expected True, False or None"),
        (callback(Patient, remembers=False), REMEMBERED, "it would do"),
        (callback(Afterwards), "it goes through epochs", "only 'before_epoch' may relabel"),
        (callback(Gaps), "it goes through epochs", "labels must count from 0 without a gap"),
        (callback(Silent), "it goes through epochs", "expected finite numbers by name"),
        (
            callback(type("Arrays", (Patient,), {"state_dict": lambda self: {"x": np.ones(1)}})),
            REMEMBERED,
            "keeps a ndarray in state_dict()['x']",
        ),
    ],
)
def test_a_callback_that_breaks_its_contract_is_found(component, check, message):
    assert message in failures("callback", component)[check]


def test_a_callback_that_reads_files_where_shapes_are_checked_is_found():
    def build(params, *, num_images):
        if num_images == 1:
            raise OSError("the clusters of the last run are not there")
        return Patient()

    found = failures("callback", Component(name="x", build=build, summary=SUMMARY))
    assert list(found) == ["it can be built where shapes alone are checked"]


def test_a_right_callback_passes_and_is_given_its_own_context():
    passes("callback", callback(Patient))
    with pytest.raises(ReidError, match="the case of a callback has no context 'num_images'"):
        passes("callback", callback(Patient), case={"context": {"num_images": 3}})


def logger(write, **methods):
    kind = type("Kind", (Logger,), {"write": write, **methods})

    def build(params, *, directory, step):
        built = kind()
        built.file = directory / "lines.txt"
        return built

    return Component(name="x", build=build, summary=SUMMARY)


def keep(self, record):
    with self.file.open("a") as file:
        file.write(record["kind"])


LINES = "it takes every line and a run can go on from an earlier step"


@pytest.mark.parametrize(
    ("component", "check", "message"),
    [
        (logger(lambda self, record: record["total"]), LINES, "KeyError: 'total'"),
        (logger(keep, flush=lambda self: 1 / 0), LINES, "ZeroDivisionError"),
        (logger(None), LINES, "it has no 'write(record)'"),
        (
            logger(lambda self, r: (self.file.parent / "metrics.jsonl").write_text("")),
            "the other files of the run are left as they were",
            "changed: metrics.jsonl",
        ),
    ],
)
def test_a_logger_that_breaks_its_contract_is_found(component, check, message):
    assert message in failures("logger", component)[check]


def test_a_right_logger_passes():
    passes("logger", logger(keep))


# ---- datasets ---------------------------------------------------------------------------


def dataset(*records, root=None):
    def build(params):
        return Listing(list(records), root, extras={"body": "mask"})

    return Component(name="x", build=build, summary=SUMMARY)


def picture(red=0):
    file = io.BytesIO()
    Image.new("RGB", (4, 8), (red, 0, 0)).save(file, "PNG")
    return file.getvalue()


RIGHT = ImageRecord("a.png", "train", "anna", 0, picture)


@pytest.mark.parametrize(
    ("records", "check", "message"),
    [
        ([], "the packer accepts it", "the dataset has no images"),
        (
            [RIGHT, RIGHT],
            "the packer accepts it",
            "a.png: twice in split 'train'",
        ),
        (
            [dataclasses.replace(RIGHT, name="/a.png")],
            "names are relative paths with forward slashes",
            "'/a.png'",
        ),
        (
            [dataclasses.replace(RIGHT, camid=-2)],
            "the packer accepts it",
            "camid -2",
        ),
        (
            [dataclasses.replace(RIGHT, source=lambda: b"none")],
            "images can be decoded and are the same when they are read again",
            "a.png: truncated or not an image",
        ),
        (
            [dataclasses.replace(RIGHT, extras={"body": picture})],
            "images can be decoded and are the same when they are read again",
            "a.png: its 'body' cannot be read as a mask: its mode is RGB",
        ),
        (
            [dataclasses.replace(RIGHT, columns={"clothes": 1.5})],
            "the packer accepts it",
            "column 'clothes' is 1.5",
        ),
        (
            [dataclasses.replace(RIGHT, junk=True, distractor=True)],
            "what else it says is of the known forms",
            "junk and distractor: ['a.png']",
        ),
    ],
)
def test_a_dataset_that_breaks_its_contract_is_found(records, check, message):
    assert message in failures("dataset", dataset(*records))[check]


def test_images_that_are_other_ones_when_they_are_read_again_are_found():
    count = iter(range(100, 200))
    record = dataclasses.replace(RIGHT, source=lambda: picture(next(count)))
    found = failures("dataset", dataset(record))
    check = "images can be decoded and are the same when they are read again"
    assert found == {check: "a.png: other bytes when it is read again"}


def test_a_right_dataset_passes():
    passes("dataset", dataset(dataclasses.replace(RIGHT, columns={"clothes": 3})))


def test_kinds_without_checks_of_their_own_are_checked_for_their_words():
    component = Component(name="x", build=lambda params: SimpleNamespace(), summary="bad")
    assert list(failures("command", component)) == ["the summary is one short line"]


# ---- what is told once ------------------------------------------------------------------

NEED = " checks that need it were left out)"


def told(kind, component, **given):
    """The whole text of what is wrong."""
    with pytest.raises(AssertionError) as caught:
        check_component(kind, component.name, catalog_of(kind, component), **given)
    return str(caught.value)


def failing(params):
    raise ValueError("of no use")


@pytest.mark.parametrize(
    ("kind", "component", "message"),
    [
        (
            "evaluator",
            evaluator(build=lambda params: lambda splits: 1.0),
            "returned 1.0 (float); expected Scores",
        ),
        ("evaluator", evaluator(build=failing), "failed while it was built: ValueError: of no use"),
        (
            "dataset",
            Component(name="x", build=lambda params: [], summary=SUMMARY),
            "returned a list; expected a Listing, whose 'records' are a list of ImageRecord",
        ),
        (
            "sampler",
            SamplerComponent(name="x", build=lambda params: np.arange(3), summary=SUMMARY),
            "built a ndarray without set_epoch; expected a BatchSampler, which has __len__, "
            "__iter__, set_epoch",
        ),
        (
            "sampler",
            sampler(lambda self, batch: np.array(batch)),
            "yields a ndarray; expected a list of pairs (epoch, index), not empty",
        ),
        ("schedule", schedule(build=failing), "failed while it was built: ValueError: of no use"),
    ],
)
def test_what_every_check_would_meet_is_told_once(kind, component, message):
    text = told(kind, component)
    assert text.count(message) == 1
    first, _, last = text.splitlines()
    assert first == f"{kind} 'x' of local 0:"
    assert last.startswith("  (")
    assert last.endswith(NEED)


def test_a_plugin_that_failed_to_load_is_told_with_its_own_words():
    class Broken:
        @hookimpl
        def reid_loss(self):
            raise ValueError("no such folder")

    with pytest.raises(AssertionError) as caught:
        check_component("loss", "mine", isolated_catalog(Broken()))
    text = str(caught.value)
    assert text.startswith("loss 'mine' is not there:\n  plugin 'Broken' of local 0: ")
    assert "no such folder" in text


def test_an_evaluator_that_reads_an_undeclared_column_is_told_what_to_declare():
    def build(params):
        return lambda splits: splits["query"].columns["clothes"]

    text = told("evaluator", evaluator(build=build))
    assert (
        "'clothes' is not declared; add columns=(\"clothes\",) to the EvaluatorComponent "
        "(declared: none)"
    ) in text
