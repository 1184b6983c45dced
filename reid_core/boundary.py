"""Every call into a plugin goes through here: its faults become one message that names it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from reid_core.errors import ReidError
from reid_core.interrupt import Interrupted

TRACEBACK = "REID_CORE_TRACEBACK"
"""Environment variable: any value but "" and "0" shows the traceback behind a message."""

ALLOCATORS = ("DefaultCPUAllocator", "CUDA out of memory", "Storage size calculation overflowed")
"""What torch says of memory in errors that have no type of their own."""


class OutOfMemory(ReidError):
    """There is too little memory, that of the machine or that of a GPU."""


class PluginError(ReidError):
    """A plugin raised what it must not, or returned what its contract does not allow.

    Attributes:
        origin: Whose fault it is.
    """

    origin: Origin | None = None


def _plugin_error(origin: Origin, text: str) -> PluginError:
    """Return the error of a plugin; loader processes rebuild it from its text alone."""
    error = PluginError(text)
    error.origin = origin
    return error


@dataclass(frozen=True)
class Origin:
    """Where a component comes from; strings alone, so that loader processes can have it.

    Attributes:
        kind: Of the component.
        name: Its word in params files.
        distribution: Who offers it.
        version: Of the distribution.
        files: Folder of the plugin's package, or its one file; empty when not known.
    """

    kind: str
    name: str
    distribution: str
    version: str
    files: str = ""

    def __str__(self) -> str:
        """Name the component and its package, for messages."""
        return f"{self.kind} '{self.name}' of {self.distribution} {self.version}"

    def calling(self, place: str = "", given: Mapping[str, Any] | None = None) -> Call:
        """Return a context manager around a call into the plugin.

        Args:
            place: When or where it is called, for the message, e.g. ``"at step 12"``.
            given: Tensors that the plugin must leave as they are, by what the message calls them.
        """
        return Call(self, place, given or {})

    def fault(self, what: str, place: str = "") -> PluginError:
        """Return the error of a result that the contract does not allow.

        Args:
            what: What was expected and what came, e.g. ``"returned 3; expected a Term"``.
            place: As in ``calling``.
        """
        return _plugin_error(self, f"{self} {what}{_after(place)}; the plugin must be corrected")


class Call:
    """Turns what a plugin raises into a ``PluginError``; a ``ReidError`` of its own passes."""

    __slots__ = ("given", "origin", "place", "versions")

    def __init__(self, origin: Origin, place: str, given: Mapping[str, Any]) -> None:
        """Prepare for a call into the plugin of an origin."""
        self.origin, self.place, self.given = origin, place, given

    def __enter__(self) -> None:
        """Begin the call."""
        self.versions = [_version(tensor) for tensor in self.given.values()]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Word what was raised, or what was changed.

        Raises:
            PluginError: It was no ``ReidError``; its cause is what was raised. Or a tensor that
                was given is not what it was.
        """
        if kind is None:
            self._check_given()
        # A plugin may even call sys.exit; Ctrl-C and a stop that was asked for go through, and
        # so does the end of whoever reads the output.
        if not isinstance(error, Exception | SystemExit):
            return
        if isinstance(error, ReidError | Interrupted | BrokenPipeError):
            return
        text = " ".join(str(error).split())
        if is_out_of_memory(error):
            raise OutOfMemory(
                f"out of memory{_after(self.place)}, in {self.origin}: {text or 'none is left'}; "
                "take smaller batches, smaller images or a smaller network"
            ) from error
        cause = f"{type(error).__name__}: {text}" if text else type(error).__name__
        line = _own_line(self.origin.files, trace)
        raise _plugin_error(
            self.origin,
            f"{self.origin} failed{_after(self.place)}: {cause}{line}; if your params and data are "
            f"right, the plugin must be corrected ({TRACEBACK}=1 shows the traceback)",
        ) from error

    def _check_given(self) -> None:
        """Raise PluginError if a tensor was written into."""
        for (name, tensor), before in zip(self.given.items(), self.versions, strict=True):
            if _version(tensor) != before:
                raise self.origin.fault(
                    f"changed {name} that it was given in place; expected a new tensor", self.place
                )


def _version(tensor: Any) -> int:
    """Return how often a tensor was written into; those of inference mode do not count it."""
    return -1 if tensor is None or tensor.is_inference() else int(tensor._version)


def files_of(build: Callable[..., Any]) -> str:
    """Return the folder of the package that a function is from, or its file if it is alone."""
    while isinstance(build, partial):
        build = build.func
    module = sys.modules.get(getattr(build, "__module__", None) or "")
    top = sys.modules.get(module.__name__.partition(".")[0]) if module else None
    file = getattr(top, "__file__", None) or getattr(module, "__file__", None)
    if not file:
        return ""
    path = Path(file)
    return f"{path.parent}{os.sep}" if path.name == "__init__.py" else str(path)


def traceback_text(error: BaseException) -> str:
    """Return the whole traceback behind an error if the user asks for it, else nothing."""
    if os.environ.get(TRACEBACK, "") in ("", "0"):
        return ""
    return "".join(traceback.format_exception(error))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, that of the machine or that of a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in ALLOCATORS)


def _own_line(files: str, trace: TracebackType | None) -> str:
    """Return the last line of the plugin's own code in a traceback, in brackets."""
    frames = traceback.extract_tb(trace)
    own = [frame for frame in frames if files and frame.filename.startswith(files)]
    # Without a line of its own, the call itself was wrong, such as one argument too many.
    found = own[-1] if own else None
    return f" ({Path(found.filename).name}:{found.lineno})" if found else ""


def _after(place: str) -> str:
    return f" {place}" if place else ""
