"""Features as safetensors and as MATLAB files: the same features, and what is refused.

MATLAB files are written by scipy, whose writer shares nothing with our reader; damaged files are
made by chance.
"""

import contextlib
import json

import numpy as np
import pytest
import scipy.io
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

from reid_core import ReidError
from reid_core.contracts import Features
from reid_core.features import formats
from reid_core.features.feature_files import load_features, save_features
from reid_core.mat_file import read_variables

REFUSED = "not a features file of reid-core: "


def message(path, split="query"):
    with pytest.raises(ReidError) as caught:
        load_features(path, split)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert len(text.splitlines()) == 1
    return text.removeprefix(f"{path}: ")


# ---- safetensors ------------------------------------------------------------------------


@pytest.fixture
def tensors(tmp_path):
    """A function that writes a safetensors file of two images; None leaves a tensor out."""

    def write(strings, **arrays):
        path = tmp_path / "query.safetensors"
        arrays = {"values_embedding": np.eye(2), **arrays}
        named = {n.replace("values_", "values."): a for n, a in arrays.items() if a is not None}
        text = strings if isinstance(strings, str) else json.dumps(strings)
        save_file(named, path, metadata={"reid_core": text})
        return path

    return write


def test_safetensors_of_another_program(tensors):
    found = load_features(
        tensors(
            {"pids": ["a", "ü"], "classes": ["x"], "meta": {"dataset": "toy"}},
            camids=np.array([1, -1], dtype=np.int16),
            junk=np.array([True, False]),
            distractor=np.array([0, 1], dtype=np.uint8),
            values_feature=np.ones((2, 3), dtype=np.float16),
        ),
        "query",
    )
    assert found.pids.tolist() == ["a", "ü"]
    assert found.camids.tolist() == [1, -1]
    assert found.junk.tolist() == [True, False]
    assert found.distractor.tolist() == [False, True]
    assert found.classes == ("x",)
    assert (found.meta, found.names_are_made_up) == ({"dataset": "toy"}, True)
    assert set(found.values) == {"embedding", "feature"}


def test_pids_may_be_a_tensor_of_numbers(tensors):
    found = load_features(tensors({}, pids=np.array([7, 8])), "query")
    assert found.pids.tolist() == ["7", "8"]
    assert found.meta["file"].endswith("query.safetensors")


JSON = f"{REFUSED}metadata 'reid_core' must be the text of a JSON object with lists of strings"


@pytest.mark.parametrize(
    ("strings", "arrays", "text"),
    [
        ("{", {}, JSON),
        ("[]", {}, JSON),
        ('{"a":' * 99999, {}, JSON),
        ({"pids": "78"}, {}, f"{JSON}; 'pids' is none"),
        ({"pids": [7, 8]}, {}, f"{JSON}; 'pids' is none"),
        ({"pids": ["7", "8"], "meta": []}, {}, "'meta' must be the text of a JSON object"),
        ({"pids": ["7", "8"], "nams": []}, {}, "'nams' is no array of a features file; did you "),
        ({"pids": ["7", "8"]}, {"pids": np.ones(2)}, f"{REFUSED}pids in it is both a tensor and"),
        ({"pids": ["7"]}, {}, "'values.embedding' has 2 rows, 'pids' has 1"),
        ({"names": ["7", "8"]}, {}, "'pids' is missing (found: names, values.embedding)"),
        ({"pids": ["7", "8"]}, {"values_embedding": None, "junk": np.ones(2, bool)}, "'values.emb"),
        (
            {"pids": ["7", "8"]},
            {"values_embedding": np.ones((2, 2), int)},
            "'values.embedding' must be f",
        ),
    ],
)
def test_safetensors_that_cannot_be(tensors, strings, arrays, text):
    assert message(tensors(strings, **arrays)).startswith(text)


def test_numbers_of_any_precision_are_written_as_float32(tmp_path):
    features = Features(
        values={"embedding": np.array([[0.1, 1e-9], [1.0, 0.0]])},
        pids=np.array(["a", "b"]),
        camids=np.array([0, 1]),
        names=np.array(["1", "2"]),
        junk=np.zeros(2, dtype=bool),
        distractor=np.zeros(2, dtype=bool),
    )
    save_features(tmp_path / "query.safetensors", features)
    found = load_file(tmp_path / "query.safetensors")
    assert found["values.embedding"].dtype == np.float32
    assert found["camids"].dtype == np.int64


def test_safetensors_without_metadata(tmp_path):
    path = tmp_path / "query.safetensors"
    save_file({"values.embedding": np.eye(2)}, path)
    assert message(path) == "'pids' is missing (found: values.embedding)"


def test_more_names_than_the_format_takes_are_refused_when_written(tensors, monkeypatch):
    path = tensors({"pids": ["7", "8"]})
    features, before = load_features(path, "query"), path.read_bytes()
    monkeypatch.setattr(formats, "LONGEST_HEADER", 100)
    with pytest.raises(ReidError, match=r"query\.safetensors: too many names for safetensors; wri"):
        save_features(path, features)
    assert path.read_bytes() == before


def test_a_type_that_numpy_lacks_is_named(tmp_path):
    path = tmp_path / "query.safetensors"
    save_torch_file({"values.embedding": torch.ones(2, 2, dtype=torch.bfloat16)}, path)
    assert message(path) == (
        f"{REFUSED}'values.embedding' in it is of type BF16; save it as float32"
    )


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "missing", "folder"])
def test_damaged_safetensors(tensors, damage):
    path = tensors({"pids": ["7", "8"]})
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"empty": b"", "text": b"some text", "cut": content[:-3]}[damage])
    why = {"missing": "there is no such file", "folder": "it cannot be read: Is a directory"}
    assert message(path).startswith(f"{REFUSED}{why.get(damage, 'it is damaged: ')}")


# ---- MATLAB -----------------------------------------------------------------------------

RESULT = {
    "query_f": np.array([[1, 0], [0, 1]], dtype=np.float32),
    "query_label": [2, 15],
    "query_cam": [1, 6],
    "gallery_f": np.arange(8, dtype=np.float32).reshape(4, 2),
    "gallery_label": [-1, 0, 2, 15],
    "gallery_cam": [3, 1, 2, 6],
}
"""What Person_reID_baseline_pytorch hands to ``scipy.io.savemat``: lists become 1 x N."""


@pytest.fixture
def result(tmp_path):
    """A function that writes ``pytorch_result.mat``; None leaves a variable out."""

    def write(do_compression=False, format="5", **changes):
        path = tmp_path / "pytorch_result.mat"
        content = {name: array for name, array in (RESULT | changes).items() if array is not None}
        scipy.io.savemat(path, content, do_compression=do_compression, format=format)
        return path

    return write


@pytest.mark.parametrize("do_compression", [False, True])
def test_one_matlab_file_has_two_splits(result, do_compression):
    path = result(do_compression)
    query, gallery = (load_features(path, split) for split in ("query", "gallery"))
    assert query.pids.tolist() == ["2", "15"]
    assert query.camids.tolist() == [1, 6]
    assert not query.junk.any()
    assert not query.distractor.any()
    assert gallery.pids.tolist() == ["-1", "0", "2", "15"]
    assert gallery.camids.tolist() == [3, 1, 2, 6]
    assert gallery.junk.tolist() == [True, False, False, False]
    assert gallery.distractor.tolist() == [False, True, False, False]
    for split, found in (("query", query), ("gallery", gallery)):
        assert list(found.values) == ["embedding"]
        np.testing.assert_array_equal(found.values["embedding"], RESULT[f"{split}_f"])
        assert found.values["embedding"].dtype == np.float32
        assert (found.meta, found.names_are_made_up) == ({"file": str(path)}, True)
        assert found.names[1] == f"{path}:{split}:1"
    assert not set(query.names) & set(gallery.names)


def test_multi_query_is_a_file_of_its_own(tmp_path):
    path = tmp_path / "multi_query.mat"
    content = {"mquery_f": np.eye(3), "mquery_label": [[1.0, 2.0, 2.0]], "mquery_cam": [1, 1, 2]}
    scipy.io.savemat(path, content)
    found = load_features(path, "multi_query")
    assert found.pids.tolist() == ["1", "2", "2"]
    assert found.values["embedding"].dtype == np.float64
    assert message(path, "query") == (
        f"{REFUSED}'query_f' is missing (found: mquery_cam, mquery_f, mquery_label)"
    )


def test_one_image_and_a_column_of_labels(result):
    path = result(
        query_f=np.ones((1, 2)), query_label=[7], query_cam=[1], gallery_label=[[-1], [0], [2], [9]]
    )
    assert load_features(path, "query").pids.tolist() == ["7"]
    assert load_features(path, "gallery").pids.tolist() == ["-1", "0", "2", "9"]


def test_further_whole_numbers_of_a_split_are_columns(result):
    path = result(query_clothes=[4, -1], gallery_clothes=[1, 2, 3, 4], query_score=[0.5, 1])
    query, gallery = (load_features(path, split) for split in ("query", "gallery"))
    assert query.columns.keys() == {"clothes"}
    assert query.columns["clothes"].tolist() == [4, -1]
    assert gallery.columns["clothes"].tolist() == [1, 2, 3, 4]


def test_other_variables_may_be_anything(result):
    path = result(note="text", cells=np.array([1, "a"], dtype=object), more={"a": 1})
    assert len(load_features(path, "gallery")) == 4


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"query_cam": None}, "'query_cam' is missing (found: gallery_cam, gallery_f, gallery_la"),
        ({"query_cam": [1, 2, 3]}, "'query_cam' has 3 values for 2 rows of vectors"),
        ({"query_label": [[1, 2], [3, 4]]}, "'query_label' must be 1 x N, got 2 x 2"),
        ({"query_label": np.zeros((1, 2, 1))}, "'query_label' must be 1 x N, got 1 x 2"),
        ({"query_label": []}, "'query_label' must be 1 x N, got 0 x 0"),
        ({"query_label": [0.5, 1]}, "'query_label' must be whole numbers, -1 or larger"),
        ({"query_label": [np.nan, 1]}, "'query_label' must be whole numbers, -1 or larger"),
        ({"query_label": [1e30, 1]}, "'query_label' must be whole numbers, -1 or larger"),
        ({"query_label": [-2, 1]}, "'query_label' must be whole numbers, -1 or larger"),
        ({"query_cam": ["1", "2"]}, "'query_cam' is no array of real numbers"),
        ({"query_f": np.eye(2) * 1j}, "'query_f' is no array of real numbers"),
        ({"query_f": scipy.sparse.csc_array(np.eye(2))}, "'query_f' is no array of real numbers"),
        ({"query_f": np.array([[1, "a"]], dtype=object)}, "'query_f' is no array of real number"),
        ({"query_f": {"a": 1}}, "'query_f' is no array of real numbers"),
        ({"query_f": np.ones((2, 2), int)}, "'query_f' must be (N, D) floats, got int64 of shape"),
        ({"query_f": np.ones((2, 2, 2))}, "'query_f' must be (N, D) floats, got float64 of shape"),
    ],
)
def test_a_variable_that_cannot_be_is_named(result, changes, text):
    assert message(result(**changes)).startswith(f"{REFUSED}{text}")


def test_a_split_that_such_files_have_not(result):
    assert message(result(), "val") == (
        f"{REFUSED}a MATLAB file has the splits query, gallery, multi_query, not 'val'"
    )


def test_a_split_without_images_is_no_split(result):
    assert "'query_label' must be 1 x N" in message(result(query_f=np.ones((0, 2)), query_label=[]))


def test_matlab_files_of_other_levels(result, tmp_path):
    assert message(result(format="4")).startswith(f"{REFUSED}it is no MATLAB file of level 5")
    path = tmp_path / "v73.mat"
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    path.write_bytes(header.ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n")
    assert message(path).startswith(f"{REFUSED}it is a MATLAB 7.3 file (HDF5), which is not read")


@pytest.mark.parametrize("content", [b"", b"text", b"x" * 500])
def test_a_file_that_is_no_matlab_file(tmp_path, content):
    path = tmp_path / "pytorch_result.mat"
    path.write_bytes(content)
    assert message(path).startswith(f"{REFUSED}it is no MATLAB file of level 5")


def test_a_matlab_file_that_was_cut_off(result):
    path = result()
    path.write_bytes(path.read_bytes()[:-30])
    assert message(path) == f"{REFUSED}it was cut off, or is damaged"


def test_a_variable_that_is_there_twice(result):
    path = result()
    content = path.read_bytes()
    path.write_bytes(content + content[128:])
    assert message(path).endswith("' twice")


@pytest.mark.parametrize("do_compression", [False, True])
def test_wrong_bytes_anywhere_are_an_error_or_other_numbers_but_never_a_crash(
    result, tmp_path, do_compression
):
    content = result(do_compression).read_bytes()
    random = np.random.default_rng(0)
    loaded = 0
    for _ in range(400):
        damaged = bytearray(content)
        for at in random.integers(0, len(content), size=3):
            damaged[at] = random.integers(256)
        path = tmp_path / "damaged.mat"
        path.write_bytes(damaged[: random.integers(1, 2 * len(content))])
        with contextlib.suppress(ReidError):
            load_features(path, "gallery")
            loaded += 1
    assert loaded < 300


def big_endian():
    """A file as a machine with the other byte order writes it: one double matrix [1 3; 2 4]."""
    parts = [
        (6, np.array([6, 0], dtype=">u4").tobytes()),
        (5, np.array([2, 2], dtype=">i4").tobytes()),
        (1, b"numbers"),
        (2, bytes([1, 2, 3, 4])),  # MATLAB saves whole doubles as bytes
    ]
    body = b"".join(
        np.array([kind, len(data)], dtype=">u4").tobytes()
        + data.ljust(-(-len(data) // 8) * 8, b"\0")
        for kind, data in parts
    )
    tag = np.array([14, len(body)], dtype=">u4").tobytes()
    return b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + tag + body


def test_the_other_byte_order_and_numbers_stored_as_smaller_ones(tmp_path):
    path = tmp_path / "big.mat"
    path.write_bytes(big_endian())
    with path.open("rb") as file:
        array = read_variables(file)["numbers"].array()
    assert array.dtype == np.float64
    assert array.tolist() == scipy.io.loadmat(path)["numbers"].tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("do_compression", [False, True])
def test_every_numeric_type_reads_as_scipy_reads_it(tmp_path, do_compression):
    random = np.random.default_rng(1)
    types = ["f4", "f8", *(f"{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8))]
    arrays = {f"a_{t}": random.integers(0, 100, (3, 4, 2)).astype(t) for t in types}
    arrays["empty"] = np.ones((0, 3))
    path = tmp_path / "arrays.mat"
    scipy.io.savemat(path, arrays, do_compression=do_compression)
    expected = scipy.io.loadmat(path)
    with path.open("rb") as file:
        found = {name: variable.array() for name, variable in read_variables(file).items()}
    assert found.keys() == arrays.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name])
        assert array.dtype == arrays[name].dtype
        assert array.flags.writeable
