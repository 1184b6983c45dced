"""What torch raises in the core's own parts, and memory that runs out, each as one message."""

import json

import pytest
import torch
from torch import nn

from reid_core import ReidError
from reid_core.boundary import Origin, OutOfMemory
from reid_core.cli import main
from reid_core.compute.faults import computing
from reid_core.interrupt import Interrupted
from reid_core.training import memory

pytestmark = pytest.mark.usefixtures("one_thread")


def allocate():
    """Ask for more memory than any machine has."""
    return torch.empty(1 << 60)


def no_memory():
    raise MemoryError


@pytest.mark.parametrize("fill", [allocate, no_memory])
def test_memory_is_named_with_the_sizes_and_what_to_lower(fill):
    with pytest.raises(OutOfMemory) as error, computing("step 3, on 64 images of 9 x 9 pixels"):
        fill()
    text = str(error.value)
    assert text.startswith("step 3, on 64 images of 9 x 9 pixels: out of memory: ")
    assert "'sampler.params'; in evaluation 'data.batch_size'" in text


def test_memory_that_a_plugin_runs_out_of_has_the_sizes_too():
    origin = Origin("head", "global", "reid-core", "1")
    with (
        pytest.raises(OutOfMemory) as error,
        computing("step 3, on 64 images"),
        origin.calling("on a map"),
    ):
        allocate()
    assert str(error.value).startswith("step 3, on 64 images: out of memory on a map, in head 'gl")


def test_what_torch_raises_is_one_line_with_the_sizes():
    with pytest.raises(ReidError) as error, computing("step 3, on 2 images"):
        nn.Linear(3, 4)(torch.ones(2, 5))
    assert str(error.value) == (
        "step 3, on 2 images: RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x5 and "
        "3x4) (REID_CORE_TRACEBACK=1 shows the traceback)"
    )


@pytest.mark.parametrize(
    "raised", [ReidError("said"), Interrupted(2, "asked"), BrokenPipeError(), KeyboardInterrupt()]
)
def test_what_has_its_words_goes_through(raised):
    with pytest.raises(type(raised)) as error, computing("step 3"):
        raise raised
    assert error.value is raised


@pytest.mark.parametrize(("most", "there"), [("max\n", 5 << 30), ("1073741824\n", 1 << 30)])
def test_what_no_memory_holds_is_refused_with_the_sizes(tmp_path, monkeypatch, most, there):
    pages = {"SC_PHYS_PAGES": (5 << 30) // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(memory, "LIMIT_OF_CONTAINER", tmp_path / "most")
    monkeypatch.setattr(memory.os, "sysconf", pages.__getitem__)
    (tmp_path / "most").write_text(most)
    device, layer = torch.device("cpu"), nn.Linear(1 << 10, 1 << 16, device="meta", bias=False)
    assert memory.memory_of(device) == there
    left = (there - (1 << 29)) // (12 << 16)  # images of 256 x 256 beside 2 x 256 MB
    memory.check_memory(layer, left, (256, 256), device)
    with pytest.raises(OutOfMemory, match=rf"{left + 1} images of 256 x 256 pixels .* 0\.5 GB"):
        memory.check_memory(layer, left + 1, (256, 256), device)


@pytest.mark.parametrize(
    ("where", "begins"),
    [
        ("step", "step 1, on 6 images of 32 x 16 pixels: "),
        ("features", "features of query, on 8 images of 32 x 16 pixels: "),
    ],
)
def test_a_command_ends_with_the_message(tiny_params, tmp_path, capsys, monkeypatch, where, begins):
    from reid_core.features import extraction
    from reid_core.training import loop

    def fail(*arguments, **options):
        raise RuntimeError("an internal\nassert failed")

    if where == "features":
        monkeypatch.setattr(extraction, "averaged", fail)
    else:
        monkeypatch.setattr(loop, "loss_weight", fail)
    path = tmp_path / "params.json"
    path.write_text(json.dumps(tiny_params))
    status = main(["train", "--operation", "start_train", "--config_path", str(path)])
    error = capsys.readouterr().err
    assert status == 2
    assert error.startswith(f"error: {begins}RuntimeError: an internal assert failed")
    assert error.count("\n") == 1
