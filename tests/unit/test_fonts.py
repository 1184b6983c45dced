"""Names in any script: every letter in a picture is one that its font draws, or an escape."""

import unicodedata

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reid_plugins.toolkit.pictures import fonts
from reid_plugins.toolkit.pictures.fonts import cut, pieces_of, width_of
from reid_plugins.toolkit.pictures.panels import Line, render_panels
from reid_plugins.toolkit.pictures.sheet import Sheet

NAMES = [
    "张伟",
    "محمد علي",
    "अमित कुमार",
    "สมชาย",
    "Ünal 😀",
    "\ud83d",
    "a\u202eb\x00\n\tc",
    "🇰🇷👩‍🚀",
]


@pytest.fixture(autouse=True)
def no_other_fonts(request, monkeypatch):
    """A machine that has matplotlib's fonts alone, or the paths that a test gives."""
    given_fonts = []
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda: list(given_fonts))
    fonts._system_fonts.cache_clear()
    yield given_fonts
    fonts._system_fonts.cache_clear()


def font_with(path, letters, empty=""):
    """Write a font that draws a square for each letter, and nothing for the empty ones."""
    pen = TTGlyphPen(None)
    for x, y in ((100, 0), (100, 700), (800, 700), (800, 0)):
        (pen.lineTo if pen.points else pen.moveTo)((x, y))
    pen.closePath()
    square, nothing = pen.glyph(), TTGlyphPen(None).glyph()
    names = {letter: f"u{ord(letter):x}" for letter in letters + empty}
    glyphs = {name: nothing if letter in empty else square for letter, name in names.items()}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *glyphs])
    builder.setupCharacterMap({ord(letter): name for letter, name in names.items()})
    builder.setupGlyf({".notdef": nothing, **glyphs})
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *glyphs], (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return str(path)


def letters_of(path):
    """Return what a font has, by another library than the one under test."""
    return set(map(chr, TTFont(path, fontNumber=0).getBestCmap()))


def read_back(pieces):
    text = "".join(piece.text for piece in pieces)
    return text.encode("ascii", "backslashreplace").decode("unicode_escape")


def check(text, bold=False):
    pieces = pieces_of(text, bold=bold)
    assert read_back(pieces) == "".join(" " if c.isspace() else c for c in text)
    for piece in pieces:
        assert set(piece.text) <= letters_of(piece.font)
        assert not {unicodedata.category(letter) for letter in piece.text} & {"Cc", "Cs", "Cn"}
        assert "\u202e" not in piece.text


texts = st.text(st.characters(codec=None).filter(lambda c: c != "\\"), max_size=20)


@settings(deadline=None)
@given(texts, st.booleans())
def test_every_letter_is_one_of_its_font_or_an_escape(text, bold):
    check(text, bold)


@pytest.mark.parametrize("name", NAMES)
def test_names_become_no_empty_boxes(name):
    check(name)


def test_letters_that_no_font_has_are_escaped():
    (piece,) = pieces_of("identity 张")
    assert piece.text == "identity \\u5f20"


def test_a_font_of_the_machine_is_used_for_its_letters_alone(no_other_fonts, tmp_path):
    small = font_with(tmp_path / "A-Regular.ttf", "张")
    large = font_with(tmp_path / "B.ttf", "张伟三")
    no_other_fonts += [small, large, str(tmp_path / "absent.ttf")]
    first, second = pieces_of("id 张伟力")[:2]
    assert (first.text, first.font.name) == ("id ", "DejaVuSans.ttf")
    assert (second.text, str(second.font)) == ("张伟", large)
    assert str(pieces_of("张")[0].font) == small, "regular ones come first"
    check("id 张伟力")


def test_an_outline_that_is_empty_is_escaped(no_other_fonts, tmp_path):
    no_other_fonts.append(font_with(tmp_path / "empty.ttf", "伟", empty="张"))
    assert "".join(piece.text for piece in pieces_of("张伟")) == "\\u5f20伟"


def test_the_font_that_has_a_box_for_everything_is_left_alone(no_other_fonts, tmp_path):
    no_other_fonts.append(font_with(tmp_path / "LastResort.otf", "张"))
    assert pieces_of("张")[0].text == "\\u5f20"


def test_a_script_from_right_to_left_is_escaped_where_it_would_be_read_backwards(monkeypatch):
    assert pieces_of("علي")[0].text == "علي"
    monkeypatch.setattr(fonts, "_lays_out", lambda: False)
    assert pieces_of("علي")[0].text == "\\u0639\\u0644\\u064a"


@settings(deadline=None)
@given(texts, st.integers(20, 300))
def test_a_cut_text_fits_and_is_its_own_beginning(text, width):
    shown = cut(text, 13, width)
    assert shown == text or text.startswith(shown.removesuffix("..."))
    assert shown == text or width_of(shown, 13) <= width or len(shown) <= 4


@pytest.mark.parametrize("anchor", ["ls", "ms", "rs"])
def test_a_text_of_several_fonts_is_written_as_one(no_other_fonts, tmp_path, anchor):
    no_other_fonts.append(font_with(tmp_path / "other.ttf", "张"))
    sheet = Sheet(400, 60)
    width = sheet.write((200, 40), "a张a张", 20, anchor=anchor)
    columns = np.flatnonzero((np.asarray(sheet.image).min(axis=(0, 2))) < 128)
    left = {"ls": 200, "ms": 200 - width / 2, "rs": 200 - width}[anchor]
    assert left <= columns[0] < left + 6
    assert left + width - 8 <= columns[-1] <= left + width


def test_curves_with_names_in_any_script(no_other_fonts, tmp_path, caplog):
    """Nothing is said on the way: no warning, and nothing in the log."""
    lines = [Line(name * 8, [0.0, 1.0], [1.0, i + 1.0]) for i, name in enumerate(NAMES)]
    escaped = render_panels({"loss": lines})
    no_other_fonts.append(font_with(tmp_path / "other.ttf", "张伟"))
    fonts._system_fonts.cache_clear()
    drawn = render_panels({"loss": lines})
    assert drawn != escaped
    (tmp_path / "curves.png").write_bytes(drawn)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.width == 1400
    assert not [
        r for r in caplog.records if r.name.startswith(("matplotlib.text", "matplotlib.fo"))
    ]
