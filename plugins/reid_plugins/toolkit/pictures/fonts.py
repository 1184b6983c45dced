r"""Fonts for names in any script, and escapes for letters that no font has.

A picture is written with DejaVu, which comes with matplotlib. Letters that it lacks are written
with other fonts of this machine, and those that no font has as in Python (``\u5f20``), so that
nothing becomes an empty box.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ImageFont, features

_JOINERS = "\u200c\u200d"
"""Invisible, and part of words in Persian and Hindi."""


@dataclass(frozen=True)
class Piece:
    """A part of a text that one font draws.

    Attributes:
        text: Its letters, from left to right unless the script goes the other way.
        font: The font's file.
    """

    text: str
    font: Path

    def width(self, size: float) -> float:
        """Return the width in pixels, at a height of the font in pixels."""
        return font_of(self.font, size).getlength(self.text)


def pieces_of(text: str, *, bold: bool = False) -> list[Piece]:
    """Return what to draw for a text, in order.

    Args:
        text: Any text; line breaks and tabs become spaces.
        bold: Prefer a bold font; only DejaVu has one.

    Returns:
        Pieces with escapes in place of letters that no font has.
    """
    line = "".join(" " if letter.isspace() else letter for letter in text)
    plain = _dejavu(bold)
    fonts = [plain, *_fonts_beside(plain, {letter for letter in line if _is_drawn(letter)})]
    pieces: list[Piece] = []
    for letter in line:
        # An accent stays with its letter.
        beside = [pieces[-1].font] if pieces and unicodedata.category(letter)[0] == "M" else []
        found = _font_for(letter, beside + fonts) if _is_drawn(letter) else None
        shown, font = (letter, found) if found else (_escaped(letter), plain)
        if pieces and pieces[-1].font == font:
            pieces[-1] = replace(pieces[-1], text=pieces[-1].text + shown)
        else:
            pieces.append(Piece(shown, font))
    return pieces


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width in pixels of all that is drawn for a text."""
    return sum(piece.width(size) for piece in pieces_of(text, bold=bold))


def cut(text: str, size: float, width: float, *, bold: bool = False) -> str:
    """Return a text, or its start and "..." where it is wider than ``width`` pixels.

    >>> cut("a", 20, 100), cut("a" * 100, 20, 100)
    ('a', 'aaaaaa...')
    """
    if width_of(text, size, bold=bold) <= width:
        return text
    letters = range(1, len(text))
    fit = bisect(letters, width, key=lambda n: width_of(text[:n] + "...", size, bold=bold))
    return text[:fit] + "..."


def direction() -> str | None:
    """Return what Pillow is told of a piece: the names of a list are read from left to right."""
    return "ltr" if features.check("raqm") else None


@cache
def font_of(path: Path, size: float) -> ImageFont.FreeTypeFont:
    """Open a font at a height in pixels."""
    return ImageFont.truetype(str(path), size)


def _fonts_beside(plain: Path, letters: set[str]) -> list[Path]:
    """Return fonts of this machine for the letters that the plain one lacks, the best first."""
    missing = {letter for letter in letters if not _has(plain, letter)}
    others = list(_system_fonts()) if missing else []
    found = []
    while missing and others:
        best = max(others, key=lambda path: sum(_has(path, letter) for letter in missing))
        others.remove(best)
        if not any(_has(best, letter) for letter in missing):
            break
        found.append(best)
        missing -= {letter for letter in missing if _has_ink(best, letter)}
    return found


def _font_for(letter: str, fonts: list[Path]) -> Path | None:
    """Return the first font that has a letter."""
    return next((path for path in fonts if _has_ink(path, letter)), None)


def _is_drawn(letter: str) -> bool:
    """Return whether a letter can be shown as it is; signs that turn or hide others cannot."""
    if unicodedata.bidirectional(letter) in ("R", "AL") and not _lays_out():
        return False  # it would be read backwards
    return letter.isprintable() or letter in _JOINERS


def _escaped(letter: str) -> str:
    r"""Return a letter as Python writes it.

    >>> print(_escaped("张"))
    \u5f20
    """
    return letter.encode("unicode_escape").decode("ascii")


def _dejavu(bold: bool) -> Path:
    """Return DejaVu, which comes with matplotlib: Pillow's own font has few accents."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return Path(matplotlib.get_data_path(), "fonts", "ttf", name)


@cache
def _system_fonts() -> tuple[Path, ...]:
    """Return the fonts of this machine, regular ones first; not those that have boxes for all."""
    from matplotlib.font_manager import findSystemFonts

    names = {str(path): Path(path).name.lower() for path in findSystemFonts()}
    paths = [path for path, name in names.items() if "lastresort" not in name]
    return tuple(map(Path, sorted(paths, key=lambda path: ("regular" not in names[path], path))))


@cache
def _codes_of(path: Path) -> npt.NDArray[np.int32]:
    """Return the codes of a font's letters, ascending; of a collection, those of its first font."""
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(str(path))
        # Not those of bitmaps, which emoji have: they cannot be written in any size.
        codes = list(font.get_charmap()) if font.scalable else []
    except (OSError, RuntimeError, ValueError):
        codes = []  # no font after all
    return np.unique(np.array(codes, dtype=np.int32))


def _has(path: Path, letter: str) -> bool:
    """Return whether a font lists a letter."""
    codes = _codes_of(path)
    place = int(np.searchsorted(codes, ord(letter)))
    return place < len(codes) and int(codes[place]) == ord(letter)


@cache
def _has_ink(path: Path, letter: str) -> bool:
    """Return whether a font has a letter that can be seen: those of some coloured fonts cannot."""
    if not _has(path, letter):
        return False
    is_seen = unicodedata.category(letter)[0] in "LNPS"
    return not is_seen or font_of(path, 20).getmask(letter).getbbox() is not None


@cache
def _lays_out() -> bool:
    """Return whether both libraries that draw text know how to write from right to left."""
    from matplotlib import ft2font

    return bool(features.check("raqm")) and hasattr(ft2font, "__libraqm_version__")
