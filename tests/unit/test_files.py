"""Files that are whole or not there, and the advice when the disk refuses one."""

import errno
import os
from contextlib import suppress

import pytest

from reid_core import ReidError
from reid_core.files import atomic_path, saving, write_text


def message(path):
    with pytest.raises(ReidError) as caught:
        write_text(path, "new")
    text = str(caught.value)
    assert text.startswith(f"{path}: cannot be written: ")
    return text.removeprefix(f"{path}: cannot be written: ")


def refused(path, number):
    with pytest.raises(ReidError) as caught, saving(path):
        raise OSError(number, os.strerror(number))
    return str(caught.value)


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "new" / "x.txt"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new"
    with suppress(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["x.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_wants_room(tmp_path, number):
    assert refused(tmp_path / "x", number) == (
        f"{tmp_path / 'x'}: cannot be written: the disk is full; what was saved before is still "
        "whole. Make room or choose another place, and run again"
    )


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "Make the place writable for you or choose another one, and run again"),
        (errno.EROFS, "Make the place writable for you or choose another one, and run again"),
        (errno.EIO, "Choose another place, and run again"),
    ],
)
def test_other_errors_say_what_they_are(tmp_path, number, advice):
    text = refused(tmp_path / "x", number)
    assert f"cannot be written: {os.strerror(number)}; what was saved" in text
    assert text.endswith(advice)
    assert "room" not in text


@pytest.mark.parametrize("below", ["x", "below/x"])
def test_a_file_in_place_of_the_folder(tmp_path, below):
    (tmp_path / "file").write_text("old")
    text = message(tmp_path / "file" / below)
    assert text.startswith(("File exists; ", "Not a directory; "))
    assert text.endswith(
        "A file stands where a folder is needed: move it away or choose another place, "
        "and run again"
    )
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_in_place_of_the_file(tmp_path):
    (tmp_path / "x").mkdir()
    text = message(tmp_path / "x")
    assert text.startswith("Is a directory; ")
    assert "A folder stands where a file is needed" in text
    assert os.listdir(tmp_path) == ["x"]


def test_a_name_that_is_too_long(tmp_path):
    for path in (tmp_path / ("n" * 300), tmp_path / ("n" * 300) / "x"):
        text = message(path)
        assert text.startswith("File name too long; ")
        assert text.endswith("Choose a shorter name, and run again")


@pytest.mark.parametrize("leads", ["to a file", "nowhere"])
def test_a_link_is_not_written_through_and_not_replaced(tmp_path, leads):
    outside, link = tmp_path / "outside", tmp_path / "x"
    if leads == "to a file":
        outside.write_text("theirs")
    link.symlink_to(outside)
    with pytest.raises(ReidError, match=r"x: is a link, and no file is written in the place of o"):
        write_text(link, "ours")
    assert link.is_symlink()
    assert outside.exists() == (leads == "to a file")
    assert not outside.exists() or outside.read_text() == "theirs"


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    (tmp_path / f".x.{os.getpid()}.tmp").symlink_to(outside)
    write_text(tmp_path / "x", "ours")
    assert (outside.read_text(), (tmp_path / "x").read_text()) == ("theirs", "ours")
    assert not (tmp_path / "x").is_symlink()
