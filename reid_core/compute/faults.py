"""Where the core itself computes: what torch raises there becomes one message with its sizes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from reid_core.boundary import TRACEBACK, OutOfMemory, is_out_of_memory
from reid_core.errors import ReidError
from reid_core.interrupt import Interrupted

SMALLER = (
    "take smaller batches ('sampler.params'; in evaluation 'data.batch_size', or 'batch_size' of "
    "eval_params.json), smaller images ('augmentation') or a smaller network ('backbone', 'head')"
)


@contextmanager
def computing(what: str) -> Iterator[None]:
    """Word what is raised in the block, unless it is worded already.

    Args:
        what: What is computed, with its sizes, e.g. ``"step 2, on 64 images of 256 x 128 pixels"``.

    Raises:
        OutOfMemory: There is too little memory, that of the machine or that of a GPU.
        ReidError: Whatever else was raised.
    """
    try:
        yield
    except OutOfMemory as error:
        raise OutOfMemory(f"{what}: {error}") from error
    except (ReidError, Interrupted, BrokenPipeError):
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or "no reason is given"
        if is_out_of_memory(error):
            raise OutOfMemory(f"{what}: out of memory: {text}; {SMALLER}") from error
        raise ReidError(
            f"{what}: {type(error).__name__}: {text} ({TRACEBACK}=1 shows the traceback)"
        ) from error
