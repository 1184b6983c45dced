"""CSV files as people and programs save them: they are read, or named with the cause."""

import pytest

from reid_core import ReidError
from reid_plugins.dataset.manifest import ManifestParams, build

ROWS = [["path", "pid", "split", "camid"], ["a/1.jpg", "änna", "train", "3"]]
ROWS += [["a/2, x;y.jpg", "bert", "query", ""]]
EXPECTED = [("a/1.jpg", "änna", "train", 3), ("a/2, x;y.jpg", "bert", "query", -1)]


@pytest.fixture
def images(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("1.jpg", "2, x;y.jpg"):
        (tmp_path / "a" / name).write_bytes(b"")
    return tmp_path


def text_of(delimiter=",", end="\n", pad=""):
    """Return the rows as a text whose values are quoted where they must be."""
    quoted = [[f'"{cell}"' if set(cell) & set(",;") else cell for cell in row] for row in ROWS]
    return end.join(delimiter.join(f"{pad}{cell}" for cell in row) for row in quoted) + end


def listed(folder, data):
    """Return what a CSV file of some bytes lists."""
    (folder / "list.csv").write_bytes(data)
    records = build(ManifestParams(file=str(folder / "list.csv"))).records
    return [(r.name, r.pid, r.split, r.camid) for r in records]


def message(folder, data):
    with pytest.raises(ReidError) as error:
        listed(folder, data)
    return str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_dialect_is_read(images, delimiter, end, encoding):
    assert listed(images, text_of(delimiter, end).encode(encoding)) == EXPECTED


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_utf_16_of_both_byte_orders_is_read(images, mark):
    encoding = "utf-16-le" if mark == b"\xff\xfe" else "utf-16-be"
    assert listed(images, mark + text_of().encode(encoding)) == EXPECTED


@pytest.mark.parametrize("pad", [" ", "  ", "\u00a0"])
def test_blanks_before_values_are_left_out_also_before_quotes(images, pad):
    text = text_of(pad=pad) if pad != "\u00a0" else text_of().replace("bert", "\u00a0bert ")
    assert listed(images, text.encode()) == EXPECTED


def test_a_delimiter_said_in_the_first_line_is_left_out(images):
    assert listed(images, b"sep=;\r\n" + text_of(";", "\r\n").encode()) == EXPECTED
    assert "list.csv:3: " in message(images, b"sep=;\npath;pid;split\nno.jpg;a;train\n")


def test_rows_without_any_value_are_left_out(images):
    assert listed(images, (text_of() + ",,,\n\n , ,,\n").encode()) == EXPECTED


def test_backslashes_are_slashes_unless_a_file_has_them(images):
    rows = b"path,pid,split\na\\1.jpg,x,train\n"
    assert listed(images, rows) == [("a/1.jpg", "x", "train", -1)]
    (images / "a\\1.jpg").write_bytes(b"")
    assert listed(images, rows) == [("a\\1.jpg", "x", "train", -1)]


@pytest.mark.parametrize("path", ["C:\\photos\\1.jpg", "..\\1.jpg", "a\\..\\..\\1.jpg", "\\1.jpg"])
def test_paths_out_of_the_folder_are_named(images, path):
    found = message(images, f"path,pid,split\n{path},x,train\n".encode())
    assert "must be relative and stay inside root" in found


def test_two_spellings_of_one_path_are_one_image(images):
    found = message(images, b"path,pid,split\na/1.jpg,x,train\na\\1.jpg,x,train\n")
    assert "'a/1.jpg' is in split train already, line 2" in found


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (text_of().encode("utf-16-le"), "UTF-16 without a byte order mark, or no text; save it"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "bytes of number 0"),
        (text_of().encode("latin-1"), "save it as UTF-8"),
        (b"\xff\xfe" + b"p", "save it as UTF-8"),
        (b"x" * 70_000, "the first line has more than 65536 characters, so it is no header"),
        (b"," * 1_000_000, "the first line has more than 65536 characters"),
        (",".join(f"c{n}" for n in range(9000)).encode(), "and 8990 more unknown columns"),
        (
            b"path,pid,split\na/1.jpg," + b"x" * 200_000 + b",train\n",
            "list.csv:2: cannot be read as",
        ),
        (b'path,pid,split\na/1.jpg,"x,train\n' + b"y\n" * 99, "is a quotation mark missing"),
        (b'path,pid,split\na/1.jpg,"x"y,train\n', "list.csv:2: cannot be read as CSV"),
        (b"path,pid,split\n" + b"x," * 1_000_000, "expected 3 values, got 1000001"),
        (b"", "column 'path' is missing"),
        (b"path pid split\n", "with commas, semicolons, tabs or '|' between them"),
        (
            "path,pid,split\nnö\udcff.jpg,x,train\n".encode("utf-8", "surrogateescape"),
            "save it as UTF",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_the_cause(images, data, text):
    found = message(images, data)
    assert str(images / "list.csv") in found
    assert text in found
    assert len(found) < 2000
