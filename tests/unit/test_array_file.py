"""npz files: what numpy writes comes back; what is damaged is an error, never other numbers."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from damage import comparable, cuts, flips, outcomes
from reid_core import ReidError
from reid_core.array_file import NotAnArray, arrays_of, read_arrays

ARRAYS = {
    "name": np.array(["a.jpg", "ü.png"]),
    "camid": np.array([1, -1]),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "nothing": np.zeros((0, 3), dtype=bool),
    "text": np.array(""),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npz"


def message(path):
    with pytest.raises(ReidError) as caught:
        read_arrays(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def npz(*members):
    """Return a zip file of named members: the bytes of each, or an array."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(name, content if isinstance(content, bytes) else npy(content))
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


any_array = drawn.arrays(
    st.one_of(
        drawn.boolean_dtypes(),
        drawn.integer_dtypes(),
        drawn.floating_dtypes(),
        drawn.complex_number_dtypes(),
        drawn.unicode_string_dtypes(max_len=5),
        drawn.byte_string_dtypes(max_len=5),
    ),
    drawn.array_shapes(min_dims=0, min_side=0, max_side=4),
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "c.d"]), any_array, max_size=3),
    st.sampled_from([np.savez, np.savez_compressed]),
)
def test_what_numpy_writes_comes_back(arrays, save):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    found = arrays_of(buffer)
    assert comparable(found) == comparable(arrays)
    assert all(array.flags.writeable for array in found.values())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_wrong_bit_is_an_error_or_changes_nothing(path, save):
    save(path, **ARRAYS)
    data = path.read_bytes()
    damaged = flips(data, 1500)
    found = outcomes(path, damaged, lambda p: comparable(read_arrays(p)), comparable(ARRAYS))
    assert found["changed"] == 0
    assert found["error"] > 700


def test_a_cut_anywhere_is_an_error(path):
    np.savez(path, **ARRAYS)
    found = outcomes(path, cuts(path.read_bytes(), 7), read_arrays, None)
    assert found["same"] == found["changed"] == 0


def test_numbers_are_not_shifted_by_a_wrong_length_of_the_header(path):
    numbers = np.arange(100.0)
    np.savez(path, values=numbers)
    data = bytearray(path.read_bytes())
    length = data.index(np.lib.format.MAGIC_PREFIX) + 8
    data[length] ^= 8
    path.write_bytes(data)
    assert message(path).startswith("it is damaged or no npz file: 'values.npy' in it is damaged: ")


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ([("a.npy", np.ones(2)), ("a", b"x")], "'a' is in it twice"),
        ([("a.npy", b"no array")], "'a.npy' in it is no array"),
        ([("readme.txt", npy(np.ones(2)))], "'readme.txt' in it is no array"),
        ([("a.npy", npy(np.ones(2)) + b"x")], "17 bytes for float64 of shape (2,)"),
        ([("a.npy", npy(np.ones(2))[:-1])], "15 bytes for float64 of shape (2,)"),
        ([("a.npy", npy(np.ones((2, 3))).replace(b"(2, 3)", b"(-2,3)"))], "of shape (-2, 3)"),
        ([("a.npy", npy(np.ones(2)).replace(b"(2,)", b"9**9"))], "'a.npy' in it is damaged"),
        ([("a.npy", npy(np.ones(2)).replace(b"\x01\x00v", b"\x09\x00v", 1))], "of version (9, 0)"),
        (
            [("a.npy", npy(np.array(["x"])).replace(b"x\0\0\0", b"\xff" * 4))],
            "it holds what is no character",
        ),
        ([("a.npy", npy(np.zeros(2, "M8[s]")))], "'a.npy' in it is of type datetime64[s]"),
    ],
)
def test_members_that_cannot_be(path, members, text):
    path.write_bytes(npz(*members))
    assert text in message(path)


def test_an_object_is_no_array_and_is_not_unpickled(path):
    np.savez(path, a=np.array([{}], dtype=object))
    with path.open("rb") as file, pytest.raises(NotAnArray, match=r"a\.npy.* pickled objects"):
        arrays_of(file)


def test_other_compressions_are_refused(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.npy", npy(np.ones(2)))
    assert "'a.npy' in it is damaged: method of compression 12" in message(path)


def test_a_member_that_the_list_leaves_out_is_noticed(path):
    data = npz(("a.npy", np.ones(2)), ("b.npy", np.ones(2)))
    start, entry = data.index(b"PK\x01\x02"), data.rindex(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    size = (end - entry).to_bytes(4, "little")
    tail = data[end : end + 12] + size + data[end + 16 :]
    for kept, missing in ((data[start:entry], "b"), (data[entry:end], "a")):
        path.write_bytes(data[:start] + kept + tail)
        with zipfile.ZipFile(path) as archive:
            assert len(archive.namelist()) == 1, missing
        assert "is not w" in message(path)


def test_a_bomb_is_refused_before_it_is_read(path, monkeypatch):
    monkeypatch.setattr("reid_core.files.LARGEST_UNCHECKED", 1 << 16)
    np.savez_compressed(path, zeros=np.zeros(1 << 20))
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    assert "it would become 8388736 bytes, and has " in message(path)


def test_a_file_that_is_not_there(path):
    assert message(path) == "there is no such file"
    path.mkdir()
    assert "Is a directory" in message(path)
