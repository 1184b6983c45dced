"""The drawn people and places behind the data set `synthetic_market`."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from reid_plugins.dataset._attributes import make_person
from reid_plugins.dataset._camera import make_camera
from reid_plugins.dataset._people import draw_person
from reid_plugins.dataset._scenes import draw_background


def draw(seed=0, pid=0, camid=0, shot=0, height=128, width=64):
    rng = np.random.default_rng([seed, pid, camid, shot])
    return draw_person(make_person(seed, pid), make_camera(seed, camid), rng, height, width)


def pixels(image):
    return np.asarray(image, dtype=np.float64)


def average_shot(seed, pid, camid, shots=12):
    return np.mean([pixels(draw(seed, pid, camid, shot)) for shot in range(shots)], axis=0)


def test_the_same_seed_gives_the_same_person_and_camera():
    assert make_person(3, 7) == make_person(3, 7)
    assert make_camera(3, 2) == make_camera(3, 2)


def test_people_of_one_world_are_all_different():
    people = [make_person(0, pid) for pid in range(400)]
    looks = {(p.top, p.second, p.pattern, p.lower, p.lower_colour, p.bag, p.hair) for p in people}
    assert len(set(people)) == 400
    assert len(looks) > 390


def test_worlds_have_different_people_and_cameras():
    assert all(make_person(0, pid) != make_person(1, pid) for pid in range(50))
    assert all(make_camera(0, camid) != make_camera(1, camid) for camid in range(6))


def test_the_second_colour_of_a_garment_differs_from_the_first():
    assert all(p.top != p.second for p in (make_person(0, pid) for pid in range(200)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_six_cameras_see_six_different_places_in_different_light(seed):
    cameras = [make_camera(seed, camid) for camid in range(6)]
    casts = np.array([camera.white_balance for camera in cameras])
    gaps = np.abs(casts[:, None] - casts[None]).sum(axis=2) + np.eye(6)
    assert len({camera.scene for camera in cameras}) == 6
    assert gaps.min() > 0.03


def test_a_camera_beyond_the_sixth_is_still_its_own():
    assert make_camera(0, 6) != make_camera(0, 0)


def test_drawing_gives_the_same_bytes_whatever_was_drawn_before():
    keys = [(pid, camid) for pid in range(4) for camid in range(3)]
    forward = {key: draw(5, *key).tobytes() for key in keys}
    backward = {key: draw(5, *key).tobytes() for key in reversed(keys)}
    assert forward == backward


def test_every_shot_of_a_person_is_a_new_picture():
    assert len({draw(shot=shot).tobytes() for shot in range(20)}) == 20


@pytest.mark.parametrize(("height", "width"), [(128, 64), (64, 32), (256, 128), (96, 96), (16, 8)])
def test_pictures_have_the_size_asked_for(height, width):
    for shot in range(12):
        picture = draw(pid=shot, camid=shot, shot=shot, height=height, width=width)
        assert isinstance(picture, Image.Image)
        assert picture.mode == "RGB"
        assert picture.size == (width, height)


@pytest.mark.parametrize(("height", "width"), [(128, 64), (40, 20)])
def test_false_alarms_have_the_size_asked_for_and_are_repeatable(height, width):
    camera = make_camera(0, 1)
    first, again = (
        draw_background(camera, np.random.default_rng(4), height, width) for _ in range(2)
    )
    assert first.mode == "RGB"
    assert first.size == (width, height)
    assert first.tobytes() == again.tobytes()


def test_no_picture_is_flat_black_or_burnt_out():
    for pid in range(36):
        picture = pixels(draw(0, pid, pid % 6))
        assert picture.std() > 15
        assert 30 < picture.mean() < 225


def test_a_person_changes_the_middle_of_the_picture_more_than_its_border():
    camera = make_camera(0, 0)
    empty = np.mean(
        [pixels(draw_background(camera, np.random.default_rng([9, k]))) for k in range(12)], axis=0
    )
    changes = [np.abs(average_shot(0, pid, 0) - empty) for pid in range(6)]
    change = np.mean(changes, axis=(0, 3))
    assert change[24:112, 24:40].mean() > 2 * change[:, [*range(6), *range(58, 64)]].mean()


def test_the_same_person_has_another_colour_under_another_camera():
    for pid in range(4):
        torso = [average_shot(0, pid, camid)[40:60, 26:38].mean(axis=(0, 1)) for camid in range(6)]
        spread = np.ptp(np.array(torso), axis=0)
        assert spread.max() > 15


def test_every_attribute_value_occurs_among_two_hundred_people():
    people = [make_person(0, pid) for pid in range(200)]
    assert {p.pattern for p in people} == {
        "plain", "hoops", "stripes", "checks", "logo", "two_tone", "band", "sash", "panels",
    }  # fmt: skip
    assert {p.bag for p in people} == {"none", "backpack", "shoulder", "hand"}
    assert {p.hat for p in people} == {"none", "cap", "beanie"}
    assert {p.lower for p in people} == {"trousers", "shorts", "skirt"}
    assert {p.bag_side for p in people} == {-1, 1}


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        make_person(-1, 0)


# ---- how many pictures ------------------------------------------------------------------


def test_every_number_of_the_params_is_that_of_the_pictures(catalog):
    market = catalog.component("dataset", "synthetic_market")
    given = {"train_identities": 3, "test_identities": 2, "cameras": 2, "train_images": 4}
    listing = market.build(market.params(**given, test_images=5, distractors=6, junk=7))
    counts = Counter(record.split for record in listing.records)
    assert counts == {"train": 3 * 2 * 4, "query": 2 * 2, "gallery": 2 * 2 * (5 - 1) + 6 + 7}
    assert sum(record.distractor for record in listing.records) == 6
    assert sum(record.junk for record in listing.records) == 7
