"""A white sheet to write on and to put framed images on, drawn with Pillow alone."""

from __future__ import annotations

from functools import cache
from typing import Literal

from PIL import Image, ImageDraw, ImageOps

from reid_plugins.toolkit.pictures.fonts import (
    cut,
    direction,
    font_of,
    pieces_of,
    width_of,
)

Kind = Literal["query", "match", "wrong", "junk"]

# Green and vermillion of Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS: dict[Kind, str] = {
    "query": "#333333",
    "match": "#009E73",
    "wrong": "#D55E00",
    "junk": "#8C8C8C",
}
FRAME = 5
"""Pixels from the outer edge of a frame to the image, whatever the width of its line."""

INK, GREY, PAPER = "#1A1A1A", "#666666", "#FFFFFF"

_BEHIND = "#F0F0F0"  # beside an image that is narrower or lower than its frame
_LINE: dict[Kind, int] = {"query": 2, "match": 5, "wrong": 5, "junk": 3}
_DASH, _DASH_GAP = 7, 5
_BADGE, _SHARPER = 22, 8
_SIGNS = {
    "match": [(0.27, 0.53), (0.44, 0.69), (0.74, 0.34)],
    "wrong": [(0.31, 0.31), (0.69, 0.69), (0.5, 0.5), (0.69, 0.31), (0.31, 0.69)],
    "junk": [(0.28, 0.5), (0.72, 0.5)],
}


class Sheet:
    """A picture in the making; all places and sizes are pixels (x, y) or (width, height)."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), PAPER)
        self._pen = ImageDraw.Draw(self.image)

    def write(
        self,
        place: tuple[int, int],
        text: str,
        size: int,
        *,
        colour: str = INK,
        bold: bool = False,
        anchor: str = "ls",
        width: int | None = None,
    ) -> int:
        """Write one line of text, cut with "..." where it is wider than ``width``.

        Args:
            place: Where the anchor comes to lie.
            text: What to write; line breaks become spaces, see ``pieces_of``.
            size: Height of the font.
            colour: Hexadecimal colour.
            bold: Use the bold font.
            anchor: Pillow's two letters, e.g. ``"ls"`` for left end and baseline.
            width: The most that the text may take; None for any.

        Returns:
            Width of what was written.
        """
        if width is not None:
            text = cut(text, size, width, bold=bold)
        total = width_of(text, size, bold=bold)
        x = place[0] - total * {"l": 0, "m": 0.5, "r": 1}[anchor[0]]
        for piece in pieces_of(text, bold=bold):
            self._pen.text(
                (x, place[1]),
                piece.text,
                fill=colour,
                font=font_of(piece.font, size),
                anchor="l" + anchor[1],
                direction=direction(),
            )
            x += piece.width(size)
        return round(total)

    def put(
        self, image: Image.Image, place: tuple[int, int], size: tuple[int, int], kind: Kind
    ) -> None:
        """Put an image into a frame, as large as fits and with its own proportions.

        Args:
            image: Any size, any mode.
            place: Upper left corner of the frame.
            size: Outer size of the frame.
            kind: Chooses the frame's colour and line and the sign at its corner.
        """
        (x, y), (width, height), line = place, size, _LINE[kind]
        outline = (x, y, x + width - 1, y + height - 1)
        self._pen.rectangle(outline, fill=PAPER, outline=COLOURS[kind], width=line)
        if kind == "junk":
            self._cut_into_dashes(outline, line)
        inner = width - 2 * FRAME, height - 2 * FRAME
        picture = _fitted(image, inner)
        if kind == "junk":
            grey = ImageOps.grayscale(picture).convert("RGB")
            picture = Image.blend(grey, Image.new("RGB", inner, PAPER), 0.5)
        self.image.paste(picture, (x + FRAME, y + FRAME))
        if kind != "query":
            badge = _badge(kind)
            self.image.paste(badge, (x + width - _BADGE + 5, y - 5), badge)

    def _cut_into_dashes(self, outline: tuple[int, int, int, int], line: int) -> None:
        left, top, right, bottom = outline
        for x in range(left + _DASH, right - _DASH_GAP, _DASH + _DASH_GAP):
            for y in (top, bottom - line + 1):
                self._pen.rectangle((x, y, x + _DASH_GAP - 1, y + line - 1), fill=PAPER)
        for y in range(top + _DASH, bottom - _DASH_GAP, _DASH + _DASH_GAP):
            for x in (left, right - line + 1):
                self._pen.rectangle((x, y, x + line - 1, y + _DASH_GAP - 1), fill=PAPER)


def _fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the image as RGB, as large as ``size`` allows, in the middle of a grey one."""
    scale = min(size[0] / image.width, size[1] / image.height)
    width, height = (max(1, round(side * scale)) for side in image.size)
    small = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    result = Image.new("RGB", size, _BEHIND)
    result.paste(small, ((size[0] - width) // 2, (size[1] - height) // 2))
    return result


@cache
def _badge(kind: Kind) -> Image.Image:
    """Return a disc with a white rim and a tick, a cross or a dash, ``(22, 22)`` RGBA."""
    # Pillow draws without anti-aliasing, so it is drawn larger and made smaller.
    side = _BADGE * _SHARPER
    large = Image.new("RGBA", (side, side), COLOURS[kind] + "00")
    pen = ImageDraw.Draw(large)
    pen.ellipse((0, 0, side - 1, side - 1), fill=PAPER)
    rim = 1.5 * _SHARPER
    pen.ellipse((rim, rim, side - 1 - rim, side - 1 - rim), fill=COLOURS[kind])
    points = [(x * side, y * side) for x, y in _SIGNS[kind]]
    pen.line(points, fill=PAPER, width=round(0.12 * side), joint="curve")
    return large.resize((_BADGE, _BADGE), Image.Resampling.LANCZOS)
