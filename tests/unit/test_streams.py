"""Streams: further batches that are a pure function of the step, with data of their own."""

from itertools import islice

import numpy as np
import pytest
import torch

from reid_core import (
    AugmentationComponent,
    Component,
    ObjectiveComponent,
    Params,
    ReidError,
    hookimpl,
)
from reid_core.contracts import Listing
from reid_core.data.column_codes import ColumnCodes
from reid_core.data.streams import Streams
from reid_core.data.training_images import TrainingImages
from reid_core.errors import ParamsError
from reid_core.params.validation import check_run_params
from reid_core.storage.dataset_stores import Stores
from stores import png, record

RESIZE = {"name": "resize", "params": {"height": 32, "width": 16}}


def mask():
    return png(5, mode="L")


class ReadingParams(Params):
    streams: list[str]


class Plugin:
    """Datasets of noise, an operation that changes sizes, and who reads streams."""

    @hookimpl
    def reid_objective(self):
        return [
            ObjectiveComponent(
                name="reading",
                params=ReadingParams,
                build=lambda params: lambda step: {},
                summary="-",
                streams=lambda params: tuple(params.streams),
            )
        ]

    @hookimpl
    def reid_dataset(self):
        unlabelled = [record(i, None, "extra", columns={"time": i}) for i in range(10)]
        masked = [
            record(i, str(i % 2), extras={"body": mask, "note": f"image {i}".encode})
            for i in range(8)
        ]
        partly = [*masked, record(8, "1")]
        kinds = {"body": "mask", "note": "text"}
        listings = {
            "unlabelled": Listing(unlabelled),
            "masked": Listing(masked, extras=kinds),
            "partly": Listing(partly, extras=kinds),
        }
        return [
            Component(name=name, build=lambda params, of=listing: of, summary="-")
            for name, listing in listings.items()
        ]

    @hookimpl
    def reid_augmentation(self):
        return [
            AugmentationComponent(
                name="cut",
                build=lambda params: lambda image, rng: image[:, 1:],
                stage="tensor",
                summary="-",
            )
        ]


@pytest.fixture
def streams_of(catalog_with, tiny_params, tmp_path):
    """A function from the section ``data.streams`` to the streams of a tiny run."""

    def make(given, extras=(), columns=("camid", "time"), workers=0, **train):
        tiny_params["data"] |= {"streams": given, "workers": workers}
        tiny_params["data"]["train"] = [{"name": "unlabelled", "alias": "u"}]
        tiny_params["train"] |= train
        reading = {"name": "reading", "params": {"streams": list(given)}}
        tiny_params["objective"] = [{"name": "supervised"}, reading]
        catalog = catalog_with(Plugin())
        params = check_run_params(tiny_params, catalog, "p")
        stores = Stores(tmp_path / "runs")
        images = TrainingImages.of([("u", stores.open(params.data.train[0]))], "extra")
        return Streams.of(params, stores, ColumnCodes.of(images, columns), extras)

    return make


def stream(source="unlabelled", size=4, **more):
    return {
        "sources": [{"name": source, "alias": "u" if source == "unlabelled" else source}],
        "sampler": {"name": "random", "params": {"batch_size": size}},
        **more,
    }


EXTRA = {"more": stream(split="extra")}


def taken(streams, step, count):
    streams.start(step)
    return list(islice(streams, count))


def equal(a, b):
    return all(
        torch.equal(getattr(a, name), getattr(b, name))
        for name in ("images", "pids", "camids", "source", "index")
    )


def same(one, other):
    """Say whether two lists of steps have the same batches."""
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(equal(*p) for n in a for p in zip(a[n], b[n], strict=True))
        for a, b in zip(one, other, strict=True)
    )


def test_a_run_without_streams_has_empty_steps(streams_of):
    assert taken(streams_of({}), 5, 3) == [{}, {}, {}]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_batches_are_a_pure_function_of_the_step(streams_of, workers):
    """Ten images make two batches of four: steps 3 to 8 lie in four epochs."""
    given = {"more": stream(split="extra", views=2), "other": stream("masked", 3)}
    whole = taken(streams_of(given, workers=workers), 0, 9)
    for step in (0, 1, 3, 4, 8):
        assert same(taken(streams_of(given), step, 9 - step), whole[step:])
    going_back = streams_of(given, workers=workers)
    assert same(taken(going_back, 7, 1), whole[7:8])
    assert same(taken(going_back, 2, 3), whole[2:5])
    going_back.start(5)  # where it stands
    assert same([next(going_back)], whole[5:6])


def test_an_epoch_of_a_stream_has_each_image_once(streams_of):
    steps = taken(streams_of({"more": stream(split="extra", size=5)}), 4, 2)
    assert sorted(torch.cat([s["more"][0].index for s in steps]).tolist()) == list(range(10))


def test_batches_have_labels_of_their_own_and_the_columns_of_the_run(streams_of):
    streams = streams_of({**EXTRA, "masked": stream("masked", 8)})
    (step,) = taken(streams, 0, 1)
    (more,), (masked,) = step["more"], step["masked"]
    assert more.images.shape == (4, 3, 32, 16)
    assert more.pids.tolist() == [-1] * 4
    assert masked.pids.tolist() == [i % 2 for i in masked.index.tolist()]
    # The run is trained on ``u``, whose times are 0, 1, ...; of ``masked`` it knows nothing.
    assert more.columns["time"].tolist() == more.index.tolist()
    assert more.columns["camid"].tolist() == more.camids.tolist()
    assert masked.columns["time"].tolist() == masked.columns["camid"].tolist() == [-1] * 8
    assert more.extras == {}


def test_views_show_the_same_images_augmented_differently(streams_of):
    steps = taken(
        streams_of(
            {
                "more": stream(
                    split="extra",
                    views=3,
                    augmentation=[RESIZE, {"name": "pad_crop", "params": {"padding": 8}}],
                )
            }
        ),
        0,
        4,
    )
    for step in steps:
        one, two, three = step["more"]
        assert one.index.tolist() == two.index.tolist() == three.index.tolist()
        for a, b in ((one, two), (one, three), (two, three)):
            assert not any(torch.equal(x, y) for x, y in zip(a.images, b.images, strict=True))


def test_a_view_may_have_operations_of_its_own(streams_of):
    weak, strong = [RESIZE], [RESIZE, {"name": "pad_crop", "params": {"padding": 8}}]
    views = {"more": stream(split="extra", size=10, views=[weak, strong, weak])}
    (step,) = taken(streams_of(views), 0, 1)
    one, two, three = step["more"]
    assert one.index.tolist() == two.index.tolist() == three.index.tolist()
    assert torch.equal(one.images, three.images)  # nothing is random in them
    assert not torch.equal(one.images, two.images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": []}, r"data\.streams\.more\.views: expected a whole number or needs 1 or more"),
        ({"views": [[]]}, r"data\.streams\.more\.views\.0: needs 1 or more"),
        ({"views": [[{"name": "rezise"}]]}, r"views\.0\.0\.name: .*mean 'resize'"),
        (
            {"views": [[RESIZE]], "augmentation": [RESIZE]},
            r"data\.streams\.more: 'views' has operations of its own; leave 'augmentation' out",
        ),
        (
            {"views": [[RESIZE], [RESIZE, {"name": "normalize"}, {"name": "color_jitter"}]]},
            r"data\.streams\.more\.views\.1\.2\.name: 'color_jitter' works on pictures",
        ),
        (
            {"views": [[RESIZE], [{"name": "resize", "params": {"height": 8, "width": 8}}]]},
            r"data\.streams\.more: augmentation: images of the training are 8 x 8",
        ),
    ],
)
def test_views_that_cannot_work_are_refused(streams_of, change, message):
    with pytest.raises(ReidError, match=message):
        streams_of({"more": {**stream(split="extra"), **change}})


def test_streams_of_one_dataset_have_other_orders_and_other_augmentations(streams_of):
    whole = {"one": stream(split="extra", size=10), "two": stream(split="extra", size=10)}
    (step,) = taken(streams_of(whole), 0, 1)
    (one,), (two,) = step["one"], step["two"]
    assert one.index.tolist() != two.index.tolist()
    augmented = {"augmentation": [RESIZE, {"name": "pad_crop", "params": {"padding": 8}}]}
    (step,) = taken(streams_of({n: {**s, **augmented} for n, s in whole.items()}), 0, 1)
    (one,), (two,) = step["one"], step["two"]
    by_index = dict(zip(two.index.tolist(), two.images, strict=True))
    pairs = [(x, by_index[i]) for i, x in zip(one.index.tolist(), one.images, strict=True)]
    assert not any(torch.equal(*pair) for pair in pairs)


def test_the_seed_of_the_run_changes_order_and_augmentation(streams_of):
    one, two = (taken(streams_of(EXTRA, seed=seed), 0, 2) for seed in (0, 1))
    assert [s["more"][0].index.tolist() for s in one] != [s["more"][0].index.tolist() for s in two]


def test_extras_are_delivered_where_all_datasets_of_a_stream_have_them(streams_of):
    keeping = {"augmentation": [RESIZE, {"name": "flip", "params": {"p": 1.0}}]}
    given = {**EXTRA, "masked": stream("masked", 8, **keeping)}
    (step,) = taken(streams_of(given, extras=["body", "note"]), 0, 1)
    (masked,) = step["masked"]
    assert step["more"][0].extras == {}
    assert masked.extras["note"] == [f"image {i}" for i in masked.index.tolist()]
    assert masked.extras["body"].shape == (8, 32, 16)
    assert masked.extras["body"].dtype == torch.uint8


def test_hashes_and_lines_name_stream_and_dataset(streams_of):
    streams = streams_of({**EXTRA, "masked": stream("masked", 3)})
    assert list(streams.content_hashes()) == ["streams/more/u", "streams/masked/masked"]
    assert len(set(streams.content_hashes().values())) == 2
    assert streams.lines() == [
        "stream more: 10 images, 0 identities; its epoch has 2 batches",
        "stream masked: 8 images, 2 identities; its epoch has 2 batches",
    ]


# ---- what is refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "extras", "message"),
    [
        (
            stream(),
            (),
            r"data\.streams\.more: dataset 'u' \(.*\) has no training images; its splits: extra",
        ),
        (
            stream("masked", split="query"),
            (),
            r"data\.streams\.more: dataset 'masked' .* has no images to train on in 'query'",
        ),
        (
            stream("masked", 9),
            (),
            r"data\.streams\.more: sampler random: 8 training images do not fill one batch of 9",
        ),
        (
            stream("masked", augmentation=[RESIZE, {"name": "cut"}]),
            (),
            r"data\.streams\.more: augmentation: images of the training are 31 x 16 .* 'cut' of ",
        ),
        (
            stream("masked", augmentation=[{"name": "resize"}]),
            (),
            r"data\.streams\.more: augmentation: images of the training are 256 x 128 .* 32 x 16",
        ),
        (
            stream("masked", augmentation=[RESIZE, {"name": "cut"}]),
            ("body",),
            r"data\.streams\.more: augmentation: 'body' is read .* 'cut' of .* does not say",
        ),
        (
            stream("partly"),
            ("body",),
            r"data\.streams\.more: 'body' is read beside every image, and 1 of 9 images of dataset "
            r"'partly' have none \(such as '8\.png'; its extras: body, note\)",
        ),
    ],
)
def test_what_a_stream_cannot_do_names_the_stream(streams_of, given, extras, message):
    with pytest.raises(ReidError, match=message):
        streams_of({"more": given}, extras)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": 0}, r"data\.streams\.more\.views: must be >= 1 or a list, got 0"),
        ({"split": "test"}, r"data\.streams\.more\.split: .*got \"test\""),
        ({"sources": []}, r"data\.streams\.more\.sources: needs 1 or more"),
        ({"augmentation": []}, r"data\.streams\.more\.augmentation: needs 1 or more"),
        ({"sampler": {"name": "randm"}}, r"data\.streams\.more\.sampler\.name: .*mean 'random'"),
        ({"batch_size": 3}, r"data\.streams\.more\.batch_size: unknown key"),
    ],
)
def test_params_of_streams_are_checked_with_their_place(streams_of, change, message):
    with pytest.raises(ParamsError, match=message):
        streams_of({"more": {**stream(), **change}})


def test_a_name_that_can_be_no_file_is_refused(streams_of):
    with pytest.raises(ParamsError, match="the name becomes part of file names"):
        streams_of({"a/b": stream()})


def test_random_numbers_of_streams_leave_the_global_ones_alone(streams_of):
    before = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()
    taken(streams_of(EXTRA), 0, 5)
    assert (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()) == before


def test_a_stream_must_be_there_if_it_is_read_and_read_if_it_is_there(catalog_with, tiny_params):
    tiny_params["data"]["streams"] = {"more": stream(), "other": stream()}
    reading = {"name": "reading", "params": {"streams": ["more", "othr"]}}
    tiny_params["objective"] = [{"name": "supervised"}, reading]
    with pytest.raises(ParamsError) as caught:
        check_run_params(tiny_params, catalog_with(Plugin()), "p")
    assert caught.value.problems == [
        "objective.1: 'reading' reads the stream 'othr'; did you mean 'other'?; add "
        "'data.streams.othr'",
        "data.streams.other: no objective reads it; add one that does, or leave it out",
    ]
