"""From bytes to batches: the same batches however they are loaded, and nothing random in tests."""

import io
import operator
import random
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from reid_core import AugmentationComponent, ReidError, hookimpl
from reid_core.contracts import ImageRecord, Listing
from reid_core.data.column_codes import ColumnCodes
from reid_core.data.epoch_batches import epoch_batches
from reid_core.data.loaders import evaluation_loader
from reid_core.data.training_images import TrainingImages
from reid_core.data.training_loader import training_loader
from reid_core.data.transforms import Pipeline
from reid_core.params.entries import AugmentationEntry, SamplerEntry
from reid_core.params.messages import read_params
from reid_core.storage.packing import pack

AUGMENTATION = [
    {"name": "resize", "params": {"height": 24, "width": 12}},
    {"name": "color_jitter"},
    {"name": "pad_crop", "params": {"padding": 3}},
    {"name": "normalize"},
    {"name": "random_erasing", "params": {"p": 0.8, "fill": "noise"}},
    {"name": "flip"},
]


def png(seed, size=(12, 24)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def record(number, pid="1", split="train", size=(12, 24), **facts):
    return ImageRecord(
        name=f"{number}.png",
        split=split,
        pid=pid,
        camid=facts.pop("camid", number % 2),
        source=lambda: png(number, size),
        **facts,
    )


def packed(folder, records):
    return pack(Listing(records), folder, {"name": "test", "params": {}})


@pytest.fixture
def store(tmp_path):
    """Six people with four images each, and a few to be scored."""
    people = [record(i, str(i % 6)) for i in range(24)]
    return packed(tmp_path / "store", [*people, *(record(i, "9", "query") for i in range(24, 31))])


def pipeline_of(catalog, *, training=True, augmentation=AUGMENTATION):
    return Pipeline(
        [read_params(AugmentationEntry, a, catalog) for a in augmentation], training=training
    )


def batches_of(catalog, images, seed=5):
    sampler = read_params(
        SamplerEntry, {"name": "class_balanced", "params": {"P": 3, "K": 2}}, catalog
    )
    return epoch_batches(sampler, images, seed=seed)


def loaded(catalog, store, *, epochs=(0,), start=0, workers=0, seed=5):
    """Return all batches of some epochs."""
    images = TrainingImages.of([("test", store)])
    batches = batches_of(catalog, images)
    loader = training_loader(images, pipeline_of(catalog), batches, seed=seed, workers=workers)
    result = []
    for epoch in epochs:
        batches.set(epoch, start)
        result += list(loader)
    return result


def equal(a, b):
    return all(
        torch.equal(getattr(a, name), getattr(b, name))
        for name in ("images", "pids", "camids", "source", "index")
    )


# ---- training batches -------------------------------------------------------------------


def test_worker_processes_change_no_batch(catalog, store):
    here = loaded(catalog, store, epochs=(0, 1))
    elsewhere = loaded(catalog, store, epochs=(0, 1), workers=2)
    assert len(here) == len(elsewhere) == 8
    assert all(equal(a, b) for a, b in zip(here, elsewhere, strict=True))


def test_a_start_in_mid_epoch_gives_the_rest_of_its_batches(catalog, store):
    whole = loaded(catalog, store, epochs=(3,))
    for start in (1, 3, 4):
        rest = loaded(catalog, store, epochs=(3,), start=start)
        assert len(rest) == len(whole) - start
        assert all(equal(a, b) for a, b in zip(rest, whole[start:], strict=True))


def test_epochs_and_seeds_differ_in_augmentation(catalog, store):
    one, other, seeded = (
        {int(i): image for b in batches for i, image in zip(b.index, b.images, strict=True)}
        for batches in (
            loaded(catalog, store),
            loaded(catalog, store, epochs=(1,)),
            loaded(catalog, store, seed=6),
        )
    )
    assert one.keys() == other.keys() == seeded.keys() == set(range(24))
    assert not any(torch.equal(one[i], other[i]) for i in one)
    assert not any(torch.equal(one[i], seeded[i]) for i in one)


def test_an_image_that_is_twice_in_a_batch_is_augmented_twice(catalog, store):
    images = TrainingImages.of([("test", store)])
    keys = [[(0, 7), (0, 7), (0, 8), (0, 7)]]
    loader = training_loader(images, pipeline_of(catalog), keys, seed=0, workers=0)
    (batch,) = loader
    assert not torch.equal(batch.images[0], batch.images[1])
    assert not torch.equal(batch.images[1], batch.images[3])
    (again,) = loader
    assert equal(batch, again)


def test_a_batch_carries_what_the_store_knows(catalog, store):
    for batch in loaded(catalog, store):
        assert batch.images.shape == (6, 3, 24, 12)
        assert batch.images.dtype == torch.float32
        for pid, camid, source, index in zip(
            batch.pids, batch.camids, batch.source, batch.index, strict=True
        ):
            assert store.index.pid[index] == str(int(pid))
            assert store.index.camid[index] == camid
            assert source == 0
        assert {t.dtype for t in (batch.pids, batch.camids, batch.source, batch.index)} == {
            torch.int64
        }


def test_images_of_different_size_in_a_batch_are_an_error(catalog, tmp_path):
    records = [record(i, str(i % 3), size=(12 + i, 24)) for i in range(6)]
    images = TrainingImages.of([("test", packed(tmp_path / "store", records))])
    without_resize = pipeline_of(catalog, augmentation=[{"name": "normalize"}])
    keys = [[(0, 0), (0, 1)]]
    with pytest.raises(ReidError, match=r"images of one batch differ in size: .*put 'resize' fir"):
        list(training_loader(images, without_resize, keys, seed=0, workers=0))


# ---- what stands beside the images ------------------------------------------------------


def facing(seed):
    """Return a mask of the images' size that is no mirror image of itself."""
    buffer = io.BytesIO()
    Image.fromarray(np.tile(np.arange(12, dtype=np.uint8) + seed, (24, 1))).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def rich(tmp_path):
    """Images with columns, a mask and a text."""
    records = [
        record(
            i,
            str(i % 3),
            columns={"shirt": "red" if i % 2 else "blue"},
            extras={"note": f"note {i}".encode, "body": lambda i=i: facing(i)},
        )
        for i in range(12)
    ]
    listing = Listing(records, extras={"note": "text", "body": "mask"})
    return pack(listing, tmp_path / "rich", {"name": "test", "params": {}})


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_carry_columns_and_extras_that_were_asked_for(catalog, rich, workers):
    images = TrainingImages.of([("rich", rich)])
    codes = ColumnCodes.of(images, ["shirt", "camid"])
    augmentation = [AUGMENTATION[0], {"name": "normalize"}, {"name": "flip"}]
    loader = training_loader(
        images,
        pipeline_of(catalog, augmentation=augmentation),
        batches_of(catalog, images),
        seed=0,
        workers=workers,
        columns=codes.of_images(images),
        extras=["note", "body"],
    )
    mirrored = 0
    for batch in loader:
        index = batch.index.tolist()
        assert batch.columns.keys() == {"shirt", "camid"}
        assert batch.columns["shirt"].tolist() == [i % 2 for i in index]
        assert batch.extras["note"] == [f"note {i}" for i in index]
        for i, mask in zip(index, batch.extras["body"], strict=True):
            row = (torch.arange(12) + i).to(torch.uint8)
            expected = [row.expand(24, 12), row.flip(0).expand(24, 12)]
            assert any(torch.equal(mask, each) for each in expected)
            mirrored += torch.equal(mask, expected[1])
        moved = batch.to(torch.device("cpu"))
        assert moved.extras.keys() == {"note", "body"}
    assert 0 < mirrored < 12


def test_a_mask_is_read_for_every_image_or_for_none(catalog, rich, store):
    images = TrainingImages.of([("rich", rich), ("plain", store)])
    with pytest.raises(
        ReidError,
        match=r"'body' is read beside every image, and 24 of 24 images of dataset 'plain' have "
        r"none \(such as '0\.png'; its extras: none\)",
    ):
        training_loader(images, pipeline_of(catalog), [], seed=0, workers=0, extras=["body"])


def test_one_name_is_a_mask_or_a_text(catalog, rich, tmp_path):
    other = [record(0, extras={"body": b"words".strip})]
    texts = pack(Listing(other, extras={"body": "text"}), tmp_path / "texts", {"name": "t"})
    images = TrainingImages.of([("rich", rich), ("texts", texts)])
    with pytest.raises(ReidError, match=r"'body' is a mask in one dataset and a text in another"):
        training_loader(images, pipeline_of(catalog), [], seed=0, workers=0, extras=["body"])


@pytest.mark.parametrize("workers", [0, 2])
def test_new_labels_reach_processes_that_live_on(catalog, store, workers):
    images = TrainingImages.of([("test", store)])
    batches = batches_of(catalog, images)
    loader = training_loader(images, pipeline_of(catalog), batches, seed=5, workers=workers)
    batches.set(0, 0)
    before = list(loader)
    labels = np.arange(24) // 5 - 1
    loader.relabel(labels)
    assert loader.labels.tolist() == labels.tolist()
    again = list(loader)
    for old, new in zip(before, again, strict=True):
        assert torch.equal(old.images, new.images)
        assert new.pids.tolist() == [i // 5 - 1 for i in new.index.tolist()]
    assert images.labels.tolist() == [i % 6 for i in range(24)], "the images are as they were"


def test_an_operation_that_fails_in_a_process_is_named(catalog_with, store, monkeypatch):
    catalog = catalog_with(Failing())
    pipeline = pipeline_of(catalog, augmentation=[AUGMENTATION[0], {"name": "failing"}])
    images = TrainingImages.of([("test", store)])
    loader = training_loader(images, pipeline, [[(0, 3)]], seed=0, workers=1)
    with pytest.raises(ReidError, match=r"'failing' .* on image '3\.png': IndexError") as error:
        list(loader)
    assert "Traceback" not in str(error.value)
    monkeypatch.setenv("REID_CORE_TRACEBACK", "1")
    loader = training_loader(images, pipeline, [[(0, 3)]], seed=0, workers=1)
    with pytest.raises(ReidError, match=r"on image '3\.png'(.|\n)*Traceback(.|\n)*transforms\.py"):
        list(loader)


class Failing:
    @hookimpl
    def reid_augmentation(self):
        # Any function that can be sent to another process.
        component = AugmentationComponent(
            name="failing", build=lambda params: operator.getitem, stage="tensor", summary="-"
        )
        return [component]


# ---- evaluation -------------------------------------------------------------------------


def global_randomness():
    state = np.random.get_state()
    return torch.get_rng_state().tolist(), state[1].tolist(), state[2], random.getstate()


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_leave_global_randomness_alone(catalog, store, workers):
    before = global_randomness()
    positions = store.index.positions("query")
    test_time = pipeline_of(catalog, training=False)
    loader = evaluation_loader(store, positions, test_time, batch_size=4, workers=workers)
    assert sum(len(images) for images in loader) == 7
    assert global_randomness() == before


def test_the_training_loader_leaves_global_randomness_alone(catalog, store):
    before = global_randomness()
    loaded(catalog, store)
    assert global_randomness() == before


def test_evaluation_sees_each_image_once_in_the_order_of_the_positions(catalog, store):
    positions = store.index.positions("query")[::-1]
    test_time = pipeline_of(catalog, training=False)
    loader = evaluation_loader(store, positions, test_time, batch_size=3, workers=0)
    batches = list(loader)
    assert [len(b) for b in batches] == [3, 3, 1]
    rng = np.random.default_rng(1)  # of no consequence
    expected = torch.stack([test_time(store.image(int(p)), rng) for p in positions])
    assert torch.equal(torch.cat(batches), expected)
    assert torch.equal(torch.cat(list(loader)), expected)


def test_evaluation_keeps_only_the_preprocessing(catalog):
    names = [o.origin.name for o in pipeline_of(catalog, training=False).operations]
    assert names == ["resize", "normalize"]
    assert pipeline_of(catalog, training=False).input_size() == (24, 12)


def test_the_pipeline_converts_once_between_pictures_and_tensors(catalog):
    plain = pipeline_of(catalog, augmentation=[{"name": "flip", "params": {"p": 0.0}}])
    picture = Image.fromarray(np.arange(18, dtype=np.uint8).reshape(3, 2, 3) * 15)
    tensor = plain(picture, np.random.default_rng(0))
    expected = torch.tensor(np.asarray(picture)).permute(2, 0, 1) / 255
    assert torch.equal(tensor, expected)
    assert tensor.is_contiguous()


# ---- identities -------------------------------------------------------------------------


def test_an_identity_is_a_dataset_and_a_pid(tmp_path):
    one = packed(tmp_path / "one", [record(0, "7"), record(1, "8"), record(2, "7")])
    two = packed(tmp_path / "two", [record(3, "7", camid=4), record(4, "7", "query")])
    images = TrainingImages.of([("one", one), ("two", two)])
    assert images.classes == (("one", "7"), ("one", "8"), ("two", "7"))
    assert images.labels.tolist() == [0, 1, 0, 2]
    assert images.sources.tolist() == [0, 0, 0, 1]
    assert images.positions.tolist() == [0, 1, 2, 0]
    assert images.camids.tolist() == [0, 1, 0, 4]
    assert len(images) == 4


def test_images_of_two_datasets_come_from_their_own_store(catalog, tmp_path):
    one = packed(tmp_path / "one", [record(0, "7"), record(1, "8")])
    two = packed(tmp_path / "two", [record(2, "7"), record(3, "8")])
    images = TrainingImages.of([("one", one), ("two", two)])
    test_time = pipeline_of(catalog, training=False)
    keys = [[(0, 3), (0, 0)]]
    (batch,) = training_loader(images, test_time, keys, seed=0, workers=0)
    rng = np.random.default_rng(0)
    assert torch.equal(batch.images[0], test_time(two.image(1), rng))
    assert torch.equal(batch.images[1], test_time(one.image(0), rng))
    assert batch.source.tolist() == [1, 0]


def test_junk_and_distractors_never_train(tmp_path):
    records = [
        record(0, "1"),
        record(1, "-1", junk=True),
        record(2, "0", distractor=True),
        record(3, "2"),
        record(4, "1", junk=True),
    ]
    images = TrainingImages.of([("test", packed(tmp_path / "store", records))])
    assert images.positions.tolist() == [0, 3]
    assert images.classes == (("test", "1"), ("test", "2"))


def test_one_identity_alone_is_an_error(tmp_path):
    store = packed(tmp_path / "store", [record(0, "anna"), record(1, "anna"), record(2, None)])
    images = TrainingImages.of([("test", store)])
    with pytest.raises(ReidError, match=r"only one identity to train on \(anna of test\); a netwo"):
        images.check_identities()


def test_images_without_identity_have_no_label(tmp_path):
    people = [record(0, None), record(1, "b"), record(2, "a"), record(3, None), record(4, "b")]
    one = packed(tmp_path / "one", people)
    two = packed(tmp_path / "two", [record(5, None), record(6, "a")])
    images = TrainingImages.of([("one", one), ("two", two)])
    assert images.classes == (("one", "a"), ("one", "b"), ("two", "a"))
    assert images.labels.tolist() == [-1, 1, 0, -1, 1, -1, 2]
    images.check_identities()


def test_no_identity_at_all_is_an_error_only_where_people_are_told_apart(catalog, tmp_path):
    store = packed(tmp_path / "store", [record(i, None) for i in range(3)])
    images = TrainingImages.of([("test", store)])
    (batch,) = training_loader(images, pipeline_of(catalog), [[(0, 1), (0, 2)]], seed=0, workers=0)
    assert batch.pids.tolist() == [-1, -1]
    with pytest.raises(ReidError, match=r"no identity to train on: none of the 3 training images"):
        images.check_identities()


@pytest.mark.parametrize("records", [[record(0, split="query")], [record(0, junk=True)]])
def test_a_dataset_without_training_images_is_an_error(tmp_path, records):
    store = packed(tmp_path / "store", records)
    split = records[0].split
    with pytest.raises(ReidError, match=rf"dataset 'test' .* no training images; .*: {split}"):
        TrainingImages.of([("test", store)])


def test_a_damaged_image_stops_the_loader_by_name(catalog, tmp_path, monkeypatch):
    store = packed(tmp_path / "store", [record(0, "1"), record(1, "2")])
    monkeypatch.setattr(store, "read", lambda position: b"no image")
    images = TrainingImages.of([("test", store)])
    loader = training_loader(images, pipeline_of(catalog), [[(0, 1)]], seed=0, workers=0)
    with pytest.raises(ReidError, match=r"image '1\.png' cannot be decoded"):
        list(islice(loader, 1))
