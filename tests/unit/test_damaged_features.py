"""Features files with wrong bits and cuts: an error or the same, in every format."""

import json
import zlib

import numpy as np
import pytest
import scipy.io
from safetensors.numpy import load_file, save_file

from damage import comparable, cuts, flips, outcomes
from reid_core import ReidError
from reid_core.contracts import Features
from reid_core.features.feature_files import load_features, save_features

FEATURES = Features(
    values={"embedding": np.arange(6, dtype=np.float32).reshape(3, 2)},
    pids=np.array(["1", "2", "x"]),
    camids=np.array([0, 1, -1]),
    names=np.array(["a", "b", "c"]),
    junk=np.array([True, False, False]),
    distractor=np.zeros(3, dtype=bool),
    columns={"clothes": np.array([3, 4, 5])},
    meta={"dataset": "people"},
)


def content(path):
    found = load_features(path, "query")
    arrays = {name: getattr(found, name) for name in ("pids", "camids", "names", "junk")}
    arrays |= {"distractor": found.distractor, **found.values, **found.columns}
    return comparable(arrays), {n: m for n, m in found.meta.items() if n != "file"}


@pytest.fixture(params=["npz", "safetensors"])
def ours(request, tmp_path):
    path = tmp_path / f"query.{request.param}"
    save_features(path, FEATURES)
    return path


@pytest.fixture(params=[False, True], ids=["plain", "compressed"])
def matlab(request, tmp_path):
    path = tmp_path / "pytorch_result.mat"
    arrays = {"query_f": np.eye(3), "query_label": [1, 2, 3], "query_cam": [1, 1, 2]}
    scipy.io.savemat(path, arrays, do_compression=request.param)
    return path


def test_one_wrong_bit_in_a_file_of_ours(ours):
    data, expected = ours.read_bytes(), content(ours)
    found = outcomes(ours, [*flips(data, 300), *cuts(data, 67)], content, expected)
    assert found["changed"] == 0
    assert found["error"] > 200


def test_a_wrong_bit_in_the_numbers_of_safetensors_is_told(tmp_path):
    path = tmp_path / "query.safetensors"
    save_features(path, FEATURES)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReidError, match="it is damaged: the checksum of its tensors differs"):
        load_features(path, "query")


def test_another_programs_safetensors_need_no_checksum(tmp_path):
    path = tmp_path / "query.safetensors"
    save_features(path, FEATURES)
    texts = {"pids": ["1", "2", "x"], "names": ["a", "b", "c"], "meta": {"dataset": "people"}}
    expected = content(path)
    save_file(load_file(path), path, metadata={"reid_core": json.dumps(texts)})
    assert content(path) == expected


def test_numbers_of_another_byte_order_are_saved_as_they_are(tmp_path):
    path = tmp_path / "query.safetensors"
    save_features(path, FEATURES)
    expected = content(path)
    swapped = {"camids": FEATURES.camids.astype(">i8")}
    save_features(path, Features(**{**vars(FEATURES), **swapped}))
    assert content(path) == expected


def test_a_cut_matlab_file(matlab):
    found = outcomes(matlab, cuts(matlab.read_bytes(), 5), content, None)
    assert found["same"] == found["changed"] == 0


def test_one_wrong_bit_in_a_matlab_file(matlab, request):
    data, expected = matlab.read_bytes(), content(matlab)
    found = outcomes(matlab, flips(data, 300), content, expected)
    assert found["error"] > 60
    # Only compressed variables carry a checksum.
    assert found["changed"] == 0 or "plain" in request.node.name


def compressed(matrix, declared=None):
    """Return a MATLAB file of one compressed variable."""
    size = len(matrix) if declared is None else declared
    tag = np.array([14, size], dtype="<u4").tobytes()
    inner = zlib.compress(tag + matrix)
    outer = np.array([15, len(inner)], dtype="<u4").tobytes()
    return b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + outer + inner


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (compressed(b"\0" * 64, 2**31), "it is damaged: it would become 2147483648 bytes, and has"),
        (compressed(b"\0" * 64, 32), "it is damaged: a compressed variable is not whole"),
        (compressed(b"\0" * 64)[:-2], "it was cut off, or is damaged"),
        (compressed(b"\0" * 64, 4096), "it was cut off, or is damaged"),
    ],
)
def test_a_compressed_variable_of_another_size_than_it_says(tmp_path, data, text):
    path = tmp_path / "pytorch_result.mat"
    path.write_bytes(data)
    with pytest.raises(ReidError, match=text):
        load_features(path, "query")


def test_a_wrong_checksum_of_a_compressed_variable(tmp_path):
    path = tmp_path / "pytorch_result.mat"
    scipy.io.savemat(path, {"query_f": np.eye(3)}, do_compression=True)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReidError, match=r"it is damaged: .*incorrect data check"):
        load_features(path, "query")


def test_a_function_handle_and_an_object_are_no_numbers(tmp_path):
    path = tmp_path / "pytorch_result.mat"
    scipy.io.savemat(path, {"query_f": np.eye(3), "query_label": [1, 2, 3], "query_cam": [1, 1, 2]})
    data = bytearray(path.read_bytes())
    flags = data.index(b"\x06\0\0\0\x08\0\0\0") + 8
    for array_class in (3, 16, 17, 18):  # object, function, opaque, object of new style
        data[flags] = array_class
        path.write_bytes(data)
        with pytest.raises(ReidError, match="'query_f' is no array of real numbers"):
            load_features(path, "query")
