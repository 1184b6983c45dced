"""The one decoder: every kind of pixels by its rule, and damaged files by their names."""

import contextlib
import io
import random
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from listing import listed
from reid_core import ReidError
from reid_core.api.pictures import pictures_of
from reid_core.image_formats import ENDINGS, FORMATS, is_image_name
from reid_core.storage import decoding
from reid_core.storage.color_modes import BACKGROUND
from reid_core.storage.decoding import decode

RGB = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
GREY = np.random.default_rng(1).integers(0, 256, (6, 4), dtype=np.uint8)
ALPHA = np.random.default_rng(2).integers(0, 256, (6, 4), dtype=np.uint8)
DEEP = np.random.default_rng(3).integers(0, 2**16, (6, 4), dtype=np.uint16)


def saved(image, image_format="PNG", **options):
    """Return an image file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def png(depth, color, rows, transparent=b""):
    """Write a PNG file by hand: rows of bytes, and what its tRNS chunk holds."""
    height, width = len(rows), len(rows[0]) * 8 // depth // {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))]
    parts += [(b"tRNS", transparent)] if transparent else []
    parts += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def grey(values):
    """Return a picture of three equal channels."""
    return np.repeat(np.asarray(values)[..., None], 3, axis=2)


def over_background(colors, alpha):
    """Mix colours ``(H, W, 3)`` with the background; alpha 0 to 255."""
    share = alpha[..., None].astype(float) / 255
    return np.round(colors * share + np.array(BACKGROUND) * (1 - share))


CMYK = np.random.default_rng(4).integers(0, 256, (6, 4, 4), dtype=np.uint8)
INK = CMYK.astype(float) / 255
PALETTE = np.array([[255, 0, 0], [0, 255, 0], [9, 90, 200], [1, 2, 3]], dtype=np.uint8)
INDEX = GREY % 4
BITS = GREY > 99


def paletted(mode="P"):
    image = Image.fromarray(INDEX, "P")
    image.putpalette(PALETTE.ravel().tolist())
    return image


WITH_ALPHA = over_background(RGB, ALPHA)
SECOND_CLEAR = over_background(PALETTE[INDEX], np.where(INDEX == 1, 0, 255))
BY_MODE = {
    "RGB of PNG": (saved(Image.fromarray(RGB)), RGB),
    "RGB of BMP": (saved(Image.fromarray(RGB), "BMP"), RGB),
    "RGB of TIFF": (saved(Image.fromarray(RGB), "TIFF"), RGB),
    "RGB of PPM": (saved(Image.fromarray(RGB), "PPM"), RGB),
    "RGB of WebP": (saved(Image.fromarray(RGB), "WEBP", lossless=True), RGB),
    "L": (saved(Image.fromarray(GREY)), grey(GREY)),
    "L of PGM": (saved(Image.fromarray(GREY), "PPM"), grey(GREY)),
    "1": (saved(Image.fromarray(BITS)), grey(BITS * 255)),
    "1 of TIFF": (saved(Image.fromarray(BITS), "TIFF"), grey(BITS * 255)),
    "LA": (
        saved(Image.fromarray(np.dstack([GREY, ALPHA]), "LA")),
        over_background(grey(GREY), ALPHA),
    ),
    "RGBA of PNG": (saved(Image.fromarray(np.dstack([RGB, ALPHA]))), WITH_ALPHA),
    "RGBA of TIFF": (saved(Image.fromarray(np.dstack([RGB, ALPHA])), "TIFF"), WITH_ALPHA),
    "RGBA of WebP": (
        saved(Image.fromarray(np.dstack([RGB, ALPHA])), "WEBP", lossless=True, exact=True),
        WITH_ALPHA,
    ),
    "P": (saved(paletted()), PALETTE[INDEX]),
    "P of GIF": (saved(paletted(), "GIF"), PALETTE[INDEX]),
    "P with a transparent colour": (saved(paletted(), transparency=1), SECOND_CLEAR),
    "P of GIF with one": (saved(paletted(), "GIF", transparency=1), SECOND_CLEAR),
    "P with alpha by colour": (
        saved(paletted(), transparency=bytes([255, 0, 100, 30])),
        over_background(PALETTE[INDEX], np.array([255, 0, 100, 30])[INDEX]),
    ),
    "RGB with a transparent colour": (
        png(8, 2, [b"\1\2\3\4\5\6"], struct.pack(">3H", 4, 5, 6)),
        over_background(np.array([[[1, 2, 3], [4, 5, 6]]]), np.array([[255, 0]])),
    ),
    "L of 4 bits with a transparent grey": (
        png(4, 0, [b"\x0f\x75"], struct.pack(">H", 7)),
        grey([[0, 255, 0, 85]]),
    ),
    "L of 2 bits with a transparent white": (
        png(2, 0, [b"\x1b"], struct.pack(">H", 3)),
        grey([[0, 85, 170, 0]]),
    ),
    "16 bits of PNG": (saved(Image.fromarray(DEEP)), grey(DEEP // 256)),
    "16 bits of TIFF": (saved(Image.fromarray(DEEP), "TIFF"), grey(DEEP // 256)),
    "16 bits of TIFF, high byte first": (
        saved(Image.frombytes("I;16B", (4, 6), DEEP.astype(">u2").tobytes()), "TIFF"),
        grey(DEEP // 256),
    ),
    "16 bits of PGM": (
        b"P5 4 6 65535\n" + DEEP.astype(">u2").tobytes(),
        grey(DEEP // 256),
    ),
    "RGB of 16 bits": (
        png(16, 2, [struct.pack(">6H", 0x1234, 0xFFFF, 0x80FF, 0, 255, 256)]),
        np.array([[[0x12, 0xFF, 0x80], [0, 0, 1]]]),
    ),
    "CMYK of TIFF": (
        saved(Image.fromarray(CMYK, "CMYK"), "TIFF"),
        255 * (1 - INK[..., :3]) * (1 - INK[..., 3:]),
    ),
}
"""Files by what they have, each with the RGB that its rule gives, computed here by hand."""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BY_MODE)
def test_every_kind_of_pixels_becomes_rgb_by_its_rule(name):
    data, expected = BY_MODE[name]
    image = decode(data, name)
    assert image.mode == "RGB"
    np.testing.assert_allclose(np.asarray(image, dtype=float), expected, atol=1)


def test_a_jpeg_of_cmyk_comes_out_in_its_colours():
    flat = np.full((16, 16, 4), (200, 30, 60, 20), dtype=np.uint8)
    found = np.asarray(decode(saved(Image.fromarray(flat, "CMYK"), "JPEG", quality=100), "a"))
    expected = [(255 - ink) * 235 / 255 for ink in (200, 30, 60)]
    np.testing.assert_allclose(found.mean(axis=(0, 1)), expected, atol=4)


def test_a_jpeg_is_rgb_within_its_loss():
    ramp = np.add.outer(np.arange(32) * 4, np.arange(16) * 4)
    upright = np.dstack([ramp, ramp // 2, 255 - ramp]).astype(np.uint8)
    found = np.asarray(decode(saved(Image.fromarray(upright), "JPEG", quality=98), "a"))
    np.testing.assert_allclose(found.astype(int), upright, atol=12)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "its pixels are of mode F"),
        (saved(Image.fromarray(GREY.astype(np.int32)), "TIFF"), "its pixels are of mode I"),
        (png(16, 0, [b"\1\2"], b"\1\2"), "no rule for 16 bits with a transparent colour"),
        (png(16, 2, [b"\1\2" * 3], b"\1\2" * 3), "no rule for 16 bits with a transparent"),
        (saved(Image.fromarray(DEEP), "TIFF", tiffinfo={262: 0}), "no rule for pixels of the form"),
        (b"", "the file is empty"),
        (b"P6 8193 8193 255\n", "8193 x 8193 are more than 67108864 pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "(none of JPEG, PNG, BMP, WEBP, "),
        (saved(Image.fromarray(RGB), "ICO"), "truncated or not an image (none of JPEG"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(data, text):
    with pytest.raises(ReidError) as error:
        decode(data, "odd.tif")
    assert str(error.value).startswith("odd.tif: ")
    assert text in str(error.value)


def test_postscript_starts_no_program(monkeypatch):
    from PIL import EpsImagePlugin

    called = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: called.append(a))
    data = saved(Image.fromarray(RGB), "EPS")
    with pytest.raises(ReidError):
        decode(data, "a.jpg")
    opened = Image.open(io.BytesIO(data))
    with pytest.raises(ReidError, match="image 0: its format EPS is none of JPEG"):
        list(pictures_of(opened, "RGB"))
    assert not called


# ---- orientation ------------------------------------------------------------------------


def as_stored(upright, orientation):
    """Return the pixels that a file of an EXIF orientation has of an upright picture.

    Written from EXIF 2.32, table 6: where the stored row 0 and column 0 are seen.
    """
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: upright.swapaxes(0, 1)[:, ::-1],
    }[orientation]


def with_orientation(upright, orientation, image_format):
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(as_stored(upright, orientation)))
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(image_format, {})
    options |= {"tiffinfo": exif} if image_format == "TIFF" else {"exif": exif}
    return saved(stored, image_format, **options)


UPRIGHT = np.zeros((64, 32, 3), dtype=np.uint8)
UPRIGHT[:32, :, 0] = 255  # red above
UPRIGHT[:, :16, 2] = 255  # blue on the left


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pictures_are_turned_upright(image_format, orientation):
    data = with_orientation(UPRIGHT, orientation, image_format)
    image = decode(data, "a")
    assert image.size == (32, 64)
    off = np.abs(np.asarray(image).astype(int) - UPRIGHT)
    assert (off > 60).mean() < (0.05 if image_format == "JPEG" else 1e-9)
    (opened,) = pictures_of(Image.open(io.BytesIO(data)), "RGB")
    np.testing.assert_array_equal(np.asarray(opened), np.asarray(image))


def test_a_picture_is_turned_once():
    data = with_orientation(UPRIGHT, 6, "JPEG")
    once = decode(data, "a")
    (again,) = pictures_of(once, "RGB")
    assert again.size == (32, 64)
    assert once.getexif().get(decoding.ORIENTATION) is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_turns_nothing(orientation):
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = orientation
    assert decode(saved(Image.fromarray(UPRIGHT), "JPEG", exif=exif), "a").size == (32, 64)


@pytest.mark.parametrize("cut", [8, 9, 12, 14, 18, 24])
def test_damaged_exif_turns_nothing_and_warns_nobody(cut):
    data = saved(
        Image.fromarray(UPRIGHT), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\1"[:cut]
    )
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert decode(data, "a").size == (32, 64)
    assert not heard


# ---- damage -----------------------------------------------------------------------------


def files():
    """Return a file of every format and of some of their forms, by name."""
    image, exif = Image.fromarray(RGB), Image.Exif()
    exif[decoding.ORIENTATION] = 6
    found = {name: saved(image, name) for name in FORMATS}
    found |= {f"EXIF {name}": saved(image, name, exif=exif) for name in ("JPEG", "PNG", "WEBP")}
    for way in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        found[way] = saved(image, "TIFF", compression=way)
    found["progressive"] = saved(image, "JPEG", progressive=True)
    found["CMYK"] = saved(Image.fromarray(CMYK, "CMYK"), "JPEG")
    found["palette"] = saved(paletted(), transparency=1)
    found["16 bits"] = saved(Image.fromarray(DEEP))
    return found


def damaged(data, rng):
    """Return bytes with a few of them changed, left out, put in or cut off, the first ones most."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        at = rng.randrange(len(data)) if rng.random() < 0.5 else rng.randrange(min(60, len(data)))
        way = rng.randrange(8)
        if way < 4:
            data[at] = rng.choice((0, 1, 127, 255, rng.randrange(256)))
        elif way < 6:
            data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(1, 6))
        elif way < 7:
            del data[at + 1 :]
    return bytes(data)


def wrong_with(data, name):
    """Return what is wrong with how a file is decoded: anything but RGB or an error by name."""
    try:
        image = decode(data, name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as opened:
                sizes = (opened.size, opened.size[::-1])
        return None if image.mode == "RGB" and image.size in sizes else f"{image.mode} {image.size}"
    except ReidError as error:
        text = str(error)
        return None if text.startswith(f"{name}: ") and " at 0x" not in text else text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_gives_rgb_or_an_error_by_name(seed):
    rng = random.Random(seed)
    everything, problems = files(), []
    for count in range(400):
        name = rng.choice(list(everything))
        problem = wrong_with(damaged(everything[name], rng), f"{count}.jpg")
        problems += [f"{name}: {problem}"] if problem else []
    assert not problems, listed(problems)


@pytest.mark.parametrize("name", files())
def test_a_file_that_is_cut_off_is_refused_or_whole(name):
    data = files()[name]
    whole, accepted = np.asarray(decode(data, "a")), {}
    for size in range(len(data)):
        with contextlib.suppress(ReidError):
            accepted[size] = np.array_equal(np.asarray(decode(data[:size], "a")), whole)
    assert all(accepted.values())
    assert all(size > len(data) - 24 for size in accepted)  # all pixels, and not the last words


def test_a_damaged_tiff_writes_nothing_by_itself(capfd):
    data = saved(Image.fromarray(RGB), "TIFF", compression="tiff_adobe_deflate")
    with pytest.raises(ReidError):
        decode(data[:40] + bytes(9) + data[49:], "a.tif")
    assert capfd.readouterr() == ("", "")


RAISED = (
    *(OSError, SyntaxError, ValueError, struct.error, zlib.error, IndexError, KeyError, TypeError),
    *(EOFError, MemoryError, OverflowError, RuntimeError, AttributeError, NotImplementedError),
    *(RecursionError, ZeroDivisionError, AssertionError, Image.DecompressionBombWarning),
)


@pytest.mark.parametrize("kind", RAISED)
def test_whatever_pillow_raises_is_the_images_error(kind, monkeypatch):
    def load(self):
        raise kind("in <_io.BytesIO object at 0x7f1959dff1f0>")

    monkeypatch.setattr(decoding.JpegImageFile, "load", load)
    with pytest.raises(ReidError) as error:
        decode(saved(Image.fromarray(RGB), "JPEG"), "a.jpg")
    assert str(error.value).startswith("a.jpg: t")
    assert "0x" not in str(error.value)


# ---- names ------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", sorted(ENDINGS))
def test_every_ending_is_of_a_format_that_pillow_reads(ending):
    (name,) = (name for name, endings in FORMATS.items() if ending in endings)
    Image.init()
    assert Image.registered_extensions().get(ending, name) in (name, "DIB")
    assert is_image_name(f"a{ending.upper()}")
    assert not is_image_name(f"a{ending}.txt")
    assert not is_image_name(f"._a{ending}")


def test_the_guide_lists_every_ending_and_the_largest_image():
    guide = (Path(__file__).parents[2] / "docs" / "images.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in guide.splitlines() if line.startswith("| ")][1:]
    found = {
        name.strip().upper(): tuple(endings.replace("`", "").split()) for name, endings in rows
    }
    assert found == FORMATS
    assert "at most 2^26 pixels" in guide
    assert decoding.MAX_PIXELS == 2**26


def test_a_png_of_absurd_size_is_too_large_and_not_damaged():
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    data = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + header
    data += zlib.crc32(header).to_bytes(4, "big")
    data += bytes(4) + b"IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big")
    with pytest.raises(ReidError, match=r"^huge\.png: more than 67108864 pixels; make it smaller$"):
        decode(data, "huge.png")
