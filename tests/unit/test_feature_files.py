"""Features files: what is filled in, what is converted, and what is refused in which words."""

import json
import pickle
import zipfile

import numpy as np
import pytest

from reid_core import ReidError
from reid_core.contracts import Features
from reid_core.features.feature_files import load_features, save_features
from reid_core.features.formats import read_arrays

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
        load_features(path, "query")
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "allow_pickle" not in text
    return text.removeprefix(f"{path}: ")


# ---- what is accepted -------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["npz", "safetensors", "NPZ"])
def test_what_is_saved_is_loaded(tmp_path, ending):
    path = tmp_path / f"query.{ending}"
    features = Features(
        values={
            "embedding": np.eye(2, 3, dtype=np.float32),
            "feature": np.eye(3, 2, dtype=np.float32).T,
            "aux.uc": np.ones((2, 1, 4), dtype=np.float32),
        },
        pids=np.array(["a", "ü"]),
        camids=np.array([3, -1]),
        names=np.array(["query/1.jpg", "query/2.jpg"]),
        junk=np.array([False, True]),
        distractor=np.array([True, False]),
        classes=("a", "b", "ü"),
        meta={"dataset": "toy", "images": 2},
        columns={
            "camid": np.array([3, -1]),
            "time": np.array([-1, 7]),
            "cloth": np.array(["", "ü"]),
        },
    )
    save_features(path, features)
    found = load_features(path, "query")
    assert found.columns.keys() == {"time", "cloth"}, "cameras are saved once"
    for name, array in found.columns.items():
        np.testing.assert_array_equal(array, features.columns[name])
        assert array.dtype.kind == features.columns[name].dtype.kind
    assert found.columns["time"].dtype == np.int64
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(features, name))
        assert getattr(found, name).dtype == getattr(features, name).dtype
    assert found.values.keys() == features.values.keys()
    for name, array in features.values.items():
        np.testing.assert_array_equal(found.values[name], array)
        assert found.values[name].dtype == np.float32
    assert (found.classes, found.meta) == (features.classes, features.meta)


def test_what_is_missing_is_neutral(path):
    found = load_features(saved(path), "query")
    assert found.pids.tolist() == ["7", "8"]
    assert found.camids.tolist() == [-1, -1]
    assert not found.junk.any()
    assert not found.distractor.any()
    assert found.junk.dtype == found.distractor.dtype == bool
    assert found.classes == ()


def test_names_that_are_made_up_differ_between_files_and_say_so(path):
    query = load_features(saved(path), "query")
    gallery = load_features(saved(path.with_name("gallery.npz")), "gallery")
    assert query.names.tolist() == [f"{path}:0", f"{path}:1"]
    assert not set(query.names) & set(gallery.names)
    assert (query.meta, query.names_are_made_up) == ({"file": str(path)}, True)
    assert query.rows(np.array([1])).names_are_made_up
    with_meta = saved(path, meta=np.array(json.dumps({"dataset": "toy"})))
    found = load_features(with_meta, "query")
    assert (found.meta, found.names_are_made_up) == ({"dataset": "toy"}, True)
    named = load_features(saved(path, names=["a", "b"]), "query")
    assert (named.meta, named.names_are_made_up) == ({"file": str(path)}, False)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_file_remembers_that_its_names_are_made_up(path, ending):
    """In ``meta``, which is where the card tells it."""
    found = load_features(saved(path), "query")
    copy, second = (path.with_name(f"{name}.{ending}") for name in ("copy", "second"))
    save_features(copy, found)
    again = load_features(copy, "query")
    assert again.names.tolist() == found.names.tolist() == [f"{path}:0", f"{path}:1"]
    assert (again.meta, again.names_are_made_up) == (found.meta, True)
    save_features(second, again)
    assert second.read_bytes() == copy.read_bytes()
    written = str(read_arrays(copy, "query")["meta"])
    assert json.loads(written) == {"file": str(path), "names": "row numbers"}


def test_other_words_of_meta_about_names_are_kept(path):
    meta = np.array(json.dumps({"names": "of the first frame"}))
    found = load_features(saved(path, names=["a", "b"], meta=meta), "query")
    assert (found.meta, found.names_are_made_up) == ({"names": "of the first frame"}, False)


def test_one_file_for_two_splits_makes_up_the_same_names(path):
    """All images against all: an image must be found again under its name."""
    query, gallery = (load_features(saved(path), split) for split in ("query", "gallery"))
    np.testing.assert_array_equal(query.names, gallery.names)


def test_types_of_other_programs_are_converted(path):
    found = load_features(
        saved(
            path,
            pids=np.array([7, 8], dtype=np.uint8),
            camids=np.array([1.0, -1.0]),
            names=np.array([b"1.jpg", b"2.jpg"]),
            junk=np.array([0, 1]),
            distractor=np.array([1, 0], dtype=np.int8),
        ),
        "query",
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
        (
            {"values_embedding": [1.0, 2.0]},
            "'values.embedding' must be (N, D) floats, got float64 of sh",
        ),
        ({"values_embedding": np.array(1.0)}, "'values.embedding' must have one row per image"),
        ({"values_embedding": [[1], [2]]}, "'values.embedding' must be floats, got int64"),
        ({"values_logits": np.ones((2, 2, 2))}, "'values.logits' must be (N, D) floats"),
        ({"values_aux.uc": ["a", "b"]}, "'values.aux.uc' must be floats"),
        (
            {"camid": [1, 2]},
            "'camid' is no array of a features file; did you mean 'camids'? (known: pids, camids, "
            "names, junk, distractor, classes, meta, values.embedding, values.feature, "
            "values.logits, values.aux.<name>, columns.<name>)",
        ),
        ({"columns.camid": [1, 2]}, "'columns.camid' is no array of a features file: save it as"),
        ({"columns.clothes": [0.5, 1]}, "'columns.clothes' must be (N,) whole numbers or strings"),
        ({"columns.clothes": [[1], [2]]}, "'columns.clothes' must be (N,) whole numbers or string"),
        ({"columns.clothes": ["red"]}, "'columns.clothes' has 1 rows, 'pids' has 2"),
        (
            {"columns.on": [True, False]},
            "'columns.on' must be (N,) whole numbers or strings, got b",
        ),
        ({"values_aux": np.ones(2)}, "'values.aux' is no array of a features file"),
        ({"meta": np.array("[1]")}, "'meta' must be the text of a JSON object; use json.dumps"),
        ({"meta": np.array("{")}, "'meta' must be the text of a JSON object"),
        ({"meta": np.array('{"a": NaN}')}, "'meta' must be the text of a JSON object"),
        ({"meta": np.array('{"a": 1e999}')}, "'meta' must be the text of a JSON object"),
        ({"meta": np.array('{"a":' * 99999)}, "'meta' must be the text of a JSON object"),
    ],
)
def test_an_array_that_cannot_be_is_named(path, arrays, text):
    assert message(saved(path, **arrays)).startswith(text)


ENDINGS = "features are read from files that end in .npz, .safetensors, .mat; rename it if it is"


@pytest.mark.parametrize("name", ["query", "query.npy", "query.npz.gz", ".npz"])
def test_an_ending_that_stands_for_no_format(path, name):
    assert message(path.with_name(name)).startswith(ENDINGS)


def test_features_are_not_written_as_a_format_that_is_only_read(path):
    features = load_features(saved(path), "query")
    for ending, text in (
        ("mat", "features are written as .npz or .safetensors"),
        ("txt", ENDINGS),
    ):
        other = path.with_suffix(f".{ending}")
        with pytest.raises(ReidError) as caught:
            save_features(other, features)
        assert str(caught.value).startswith(f"{other}: {text}")
        assert not other.exists()


REFUSED = "not a features file of reid-core: "


def test_a_missing_file(path):
    assert message(path) == f"{REFUSED}there is no such file"
    assert (
        message(path.with_name(f"{'n' * 300}.npz"))
        == f"{REFUSED}it cannot be read: File name too long"
    )
    path.mkdir()
    assert message(path) == f"{REFUSED}it cannot be read: Is a directory"


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
    assert message(path).startswith(
        f"{REFUSED}'pids.npy' in it holds pickled objects, which could run"
    )


def test_a_zip_file_of_something_else(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    assert message(path).startswith(f"{REFUSED}'readme.txt' in it is no array")
