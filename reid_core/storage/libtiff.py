"""The library that reads TIFF for Pillow writes to the standard error; here it learns not to."""

from __future__ import annotations

import contextlib
import ctypes
from functools import cache
from importlib import import_module

TIFF_BEGINNINGS = (b"II", b"MM")


@cache
def silence_libtiff() -> None:
    """Take libtiff its messages, which name no file, once in a process.

    What is wrong is raised by Pillow as well. Where the library cannot be reached, such as in a
    Pillow that has it built in, it goes on writing.
    """
    with contextlib.suppress(OSError, AttributeError):
        # Pillow's own module leads to the libraries that it was linked with.
        library = ctypes.CDLL(import_module("PIL._imaging").__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            function = getattr(library, name)
            function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
            function(None)
