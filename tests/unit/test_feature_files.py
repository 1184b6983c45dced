"""Features files: what is filled in, what is converted, and what is refused in which words."""

import json
import pickle
import zipfile

import numpy as np
import pytest

from reid_core import ReidError
from reid_core.contracts import Features
from reid_core.feature_files import load_features, save_features

COLUMNS = ("pids", "camids", "names", "junk", "distractor")


@pytest.fixture
def path(tmp_path):
    """Where a features file is written."""
    return tmp_path / "query.npz"


def saved(path, **arrays):
    """Write an npz of two images; ``values_x`` stands for ``values.x``, None leaves one out."""
    arrays = {"pids": ["7", "8"], "values_embedding": np.eye(2), **arrays}
    named = {n.replace("values_", "values."): a for n, a in arrays.items() if a is not None}
    np.savez(path, **named)
    return path


def message(path):
    with pytest.raises(ReidError) as caught:
        load_features(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "allow_pickle" not in text
    return text.removeprefix(f"{path}: ")


# ---- what is accepted -------------------------------------------------------------------


def test_what_is_saved_is_loaded(path):
    features = Features(
        values={"embedding": np.eye(2, 3, dtype=np.float32), "aux.uc": np.ones(2)},
        pids=np.array(["a", "ü"]),
        camids=np.array([3, -1]),
        names=np.array(["query/1.jpg", "query/2.jpg"]),
        junk=np.array([False, True]),
        distractor=np.array([True, False]),
        classes=("a", "b", "ü"),
        meta={"dataset": "toy", "images": 2},
    )
    save_features(path, features)
    found = load_features(path)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(features, name))
        assert getattr(found, name).dtype == getattr(features, name).dtype
    assert found.values.keys() == features.values.keys()
    for name, array in features.values.items():
        np.testing.assert_array_equal(found.values[name], array)
    assert (found.classes, found.meta) == (features.classes, features.meta)


def test_what_is_missing_is_neutral(path):
    found = load_features(saved(path))
    assert found.pids.tolist() == ["7", "8"]
    assert found.camids.tolist() == [-1, -1]
    assert not found.junk.any()
    assert not found.distractor.any()
    assert found.junk.dtype == found.distractor.dtype == bool
    assert found.classes == ()


def test_names_that_are_made_up_differ_between_files_and_say_so(path):
    query = load_features(saved(path))
    gallery = load_features(saved(path.with_name("gallery.npz")))
    assert query.names.tolist() == [f"{path}:0", f"{path}:1"]
    assert not set(query.names) & set(gallery.names)
    assert query.meta == {"file": str(path), "names": "row numbers"}
    meta = np.array(json.dumps({"dataset": "toy"}))
    assert load_features(saved(path, meta=meta)).meta == {"dataset": "toy", "names": "row numbers"}
    assert "names" not in load_features(saved(path, names=["a", "b"])).meta


def test_types_of_other_programs_are_converted(path):
    found = load_features(
        saved(
            path,
            pids=np.array([7, 8], dtype=np.uint8),
            camids=np.array([1.0, -1.0]),
            names=np.array([b"1.jpg", b"2.jpg"]),
            junk=np.array([0, 1]),
            distractor=np.array([1, 0], dtype=np.int8),
        )
    )
    assert found.pids.tolist() == ["7", "8"]
    assert found.names.tolist() == ["1.jpg", "2.jpg"]
    assert found.camids.tolist() == [1, -1]
    assert found.camids.dtype == np.int64
    assert found.junk.tolist() == [False, True]
    assert found.distractor.tolist() == [True, False]
    assert found.junk.dtype == found.distractor.dtype == bool


# ---- what is refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"junk": [0, 2]}, "'junk' must be (N,) true or false (or 0 and 1), got int64"),
        ({"junk": [0.0, np.nan]}, "'junk' must be (N,) true or false"),
        ({"distractor": ["", "1"]}, "'distractor' must be (N,) true or false"),
        ({"camids": [0.5, 1]}, "'camids' must be (N,) whole numbers (-1: not known), got float64"),
        ({"camids": [np.nan, 1]}, "'camids' must be (N,) whole numbers"),
        ({"camids": [np.inf, 1]}, "'camids' must be (N,) whole numbers"),
        ({"camids": np.array([2**63, 1], dtype=np.uint64)}, "'camids' must be (N,) whole numbers"),
        ({"camids": ["1", "2"]}, "'camids' must be (N,) whole numbers"),
        ({"camids": [[1], [2]]}, "'camids' must be (N,) whole numbers (-1: not known), got int64 "),
        ({"pids": [1.0, 2.0]}, "'pids' must be (N,) strings, got float64 of shape (2,)"),
        ({"pids": np.array("7")}, "'pids' must have one row per image, got a single value"),
        ({"pids": [["7", "8"]]}, "'pids' must be (N,) strings, got <U1 of shape (1, 2)"),
        ({"pids": None}, "'pids' is missing (found: values.embedding)"),
        ({"names": np.array([b"\xff", b"x"])}, "'names' must be (N,) strings, not bytes beyond"),
        ({"names": np.array("x")}, "'names' must have one row per image, got a single value"),
        ({"names": ["x"]}, "'names' has 1 rows, 'pids' has 2"),
        ({"junk": [True] * 3}, "'junk' has 3 rows, 'pids' has 2"),
        ({"classes": np.array("x")}, "'classes' must have one row per image"),
        ({"values_embedding": None}, "'values.embedding' is missing (found: pids)"),
        ({"values_embedding": [1.0, 2.0]}, "'embedding' must be (N, D) floats, got float64 of sh"),
        ({"values_embedding": np.array(1.0)}, "'embedding' must have one row per image"),
        ({"values_embedding": [[1], [2]]}, "'embedding' must be floats, got int64"),
        ({"values_logits": np.ones((2, 2, 2))}, "'logits' must be (N, D) floats"),
        ({"values_aux.uc": ["a", "b"]}, "'aux.uc' must be floats"),
        ({"meta": np.array("[1]")}, "'meta' must be the text of a JSON object; use json.dumps"),
        ({"meta": np.array("{")}, "'meta' must be the text of a JSON object"),
        ({"meta": np.array('{"a": NaN}')}, "'meta' must be the text of a JSON object"),
        ({"meta": np.array('{"a": 1e999}')}, "'meta' must be the text of a JSON object"),
        ({"meta": np.array('{"a":' * 99999)}, "'meta' must be the text of a JSON object"),
    ],
)
def test_an_array_that_cannot_be_is_named(path, arrays, text):
    assert message(saved(path, **arrays)).startswith(text)


REFUSED = "not a features file of reid-core: "


def test_a_missing_file(path):
    assert message(path) == f"{REFUSED}there is no such file"
    assert message(path.with_name("n" * 300)) == f"{REFUSED}it cannot be read: File name too long"
    assert message(path.parent) == f"{REFUSED}it cannot be read: Is a directory"


def test_a_single_array(path):
    with path.open("wb") as file:
        np.save(file, np.eye(2))
    assert message(path).startswith(f"{REFUSED}it holds a single array (npy); make it with")


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps({"pids": ["7"]})])
def test_a_file_that_is_no_npz(path, content):
    path.write_bytes(content)
    assert message(path).startswith(f"{REFUSED}it is no npz file, or was cut off; make it with")


def test_a_file_that_was_cut_off(path):
    content = saved(path).read_bytes()
    path.write_bytes(content[:-30])
    assert message(path).startswith(f"{REFUSED}it is no npz file, or was cut off")


def test_a_file_with_other_bytes_in_the_middle(path):
    content = bytearray(saved(path).read_bytes())
    at = content.index(b"\x93NUMPY") + 130
    content[at : at + 4] = b"\xff" * 4
    path.write_bytes(content)
    assert message(path).startswith(f"{REFUSED}it is damaged: ")


def test_pickled_objects(path):
    np.savez(path, pids=np.array([{}], dtype=object))
    assert message(path).startswith(f"{REFUSED}it holds pickled objects, which could run any prog")


def test_a_zip_file_of_something_else(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    assert message(path).startswith(f"{REFUSED}'readme.txt' in it is no array")
