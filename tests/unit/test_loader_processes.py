"""Loader processes that die, stand still, lack means or lose their parent: one message."""

import errno
import multiprocessing
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from reid_core.contracts import ImageRecord, Listing
from reid_core.data import loader_processes, loader_watch, loaders, shared_batches
from reid_core.data.loader_processes import LoaderContext
from reid_core.data.loader_troubles import LoadingStopped
from reid_core.data.loaders import Loader, evaluation_loader, handing_errors_over
from reid_core.data.shared_batches import Parcel
from reid_core.data.transforms import Pipeline
from reid_core.errors import ReidError
from reid_core.params.entries import AugmentationEntry
from reid_core.params.messages import read_params
from reid_core.storage.packing import pack

NAMED = r"memory .* room .* /dev/shm .* 'data\.workers' .*now 2"
"""What every message of loader processes says."""


@pytest.fixture
def reading(catalog, tmp_path):
    """A begun iteration over forty images, one a batch, in two processes, and these."""

    def png(seed):
        from io import BytesIO

        from PIL import Image

        buffer = BytesIO()
        Image.new("RGB", (8, 8), (seed, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()

    records = [
        ImageRecord(name=f"{i}.png", split="query", pid="1", camid=0, source=lambda i=i: png(i))
        for i in range(40)
    ]
    store = pack(Listing(records), tmp_path / "store", {"name": "test", "params": {}})
    entries = [
        {"name": "resize", "params": {"height": 64, "width": 64}},
        {"name": "normalize"},
    ]
    pipeline = Pipeline(
        [read_params(AugmentationEntry, e, catalog) for e in entries], training=False
    )
    loader = evaluation_loader(store, np.arange(40), pipeline, batch_size=1, workers=2)
    items = iter(loader)
    next(items)
    yield items, multiprocessing.active_children()
    for process in multiprocessing.active_children():
        process.kill()


def test_a_killed_process_ends_the_wait_with_a_message(reading):
    items, processes = reading
    os.kill(processes[0].pid, signal.SIGKILL)
    pid = processes[0].pid
    with pytest.raises(
        LoadingStopped,
        match=rf"process {pid} was ended by SIGKILL, as the system does when memory .*{NAMED}",
    ):
        list(items)
    assert multiprocessing.active_children() == []


def test_a_stopped_process_ends_the_wait_with_a_message_and_is_ended(reading, monkeypatch):
    items, processes = reading
    monkeypatch.setattr(loader_watch, "PATIENCE", 3.0)
    os.kill(processes[1].pid, signal.SIGSTOP)
    pid = processes[1].pid
    with pytest.raises(
        LoadingStopped, match=rf"no batch has come for 3 s \(.*process {pid} is stopped.*{NAMED}"
    ):
        list(items)
    assert multiprocessing.active_children() == []


def test_a_process_that_dies_during_a_step_is_told_after_it(reading):
    items, processes = reading
    before = signal.getsignal(signal.SIGCHLD)
    os.kill(processes[0].pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while processes[0].is_alive():  # the step: nothing may break it off
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(LoadingStopped, match="SIGKILL"):
        next(items)
    assert signal.getsignal(signal.SIGCHLD) is before


def test_processes_that_cannot_be_started_are_an_error_with_the_limit(capfd):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    loader = Loader(DataLoader([1] * 8, num_workers=2, multiprocessing_context=LoaderContext()))
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        # All but a few, enough for the first of the pipes.
        held += [os.open(os.devnull, os.O_RDONLY) for _ in range(58 - len(open_files()))]
        with pytest.raises(LoadingStopped, match=r"too many open files\. .*'ulimit -n', now 64"):
            list(loader)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)
    assert "Exception ignored" not in capfd.readouterr().err


def open_files():
    return [n for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")]


ORPHANS = """
import multiprocessing, os, signal
from torch.utils.data import DataLoader
from reid_core.data.loader_processes import LoaderContext

if __name__ == "__main__":
    items = iter(DataLoader([1] * 8, num_workers=2, multiprocessing_context=LoaderContext()))
    if {begun}:
        next(items), next(items)  # one of each process
        for process in multiprocessing.active_children():
            os.kill(process.pid, signal.SIGSTOP)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("begun", [False, True], ids=["starting", "stopped"])
def test_processes_end_with_a_parent_that_is_killed(tmp_path, begun):
    script = tmp_path / "parent.py"
    script.write_text(ORPHANS.format(begun=begun))
    out = tmp_path / "out"
    with out.open("w") as stdout:
        done = subprocess.run([sys.executable, script], stdout=stdout, stderr=subprocess.DEVNULL)
    pids = [int(word) for word in out.read_text().split()]
    assert (len(pids), done.returncode) == (2, -signal.SIGKILL)
    deadline = time.monotonic() + 60
    while alive := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("by_kernel", [True, False])
def test_a_process_whose_parent_has_gone_ends_before_it_begins(monkeypatch, by_kernel):
    class Gone(BaseException):
        pass

    def end():
        raise Gone

    monkeypatch.setattr(loader_processes, "_end", end)
    monkeypatch.setattr(loader_processes.ctypes, "CDLL", lambda name: Prctl())
    monkeypatch.setattr(loader_processes.threading, "Thread", Thread)
    with pytest.raises(Gone):
        loader_processes._born(loader_processes.LoaderProcess, os.getppid() + 1, by_kernel)
    process = loader_processes._born(loader_processes.LoaderProcess, os.getppid(), by_kernel)
    assert type(process) is loader_processes.LoaderProcess
    with pytest.raises(Gone):
        loader_processes._follow(os.getppid() + 1)


class Prctl:
    def prctl(self, option, number):
        assert (option, number) == (1, signal.SIGKILL)


class Thread:
    def __init__(self, target, args, daemon):
        assert (target, daemon) == (loader_processes._follow, True)

    def start(self):
        pass


SMALL = """
import torch
from torch.utils.data import DataLoader, Dataset
from reid_core.data.loaders import Loader, handing_errors_over
from reid_core.data.loader_processes import LoaderContext

class Large(Dataset):
    def __len__(self):
        return 6

    @handing_errors_over
    def __getitems__(self, keys):
        return torch.full((500, 1000), float(keys[0]))

def as_it_is(batch):
    return batch

if __name__ == "__main__":
    loader = DataLoader(
        Large(), batch_size=1, num_workers=2, collate_fn=as_it_is,
        multiprocessing_context=LoaderContext(),
    )
    try:
        print(*(int(item.mean()) for item in Loader(loader)))
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ("64k", "0 1 2 3 4 5\n"),  # and each of these has 2 MB
        ("4k", "LoadingStopped: .*No space left on device.* /dev/shm .0 kB free.*'data\\.workers'"),
    ],
)
def test_a_small_room_for_shared_memory(tmp_path, size, says):
    script = tmp_path / "small.py"
    script.write_text(SMALL)
    mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    small = ["unshare", "-m", "sh", "-c"]
    if shutil.which("unshare") is None or subprocess.run([*small, mount]).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    done = subprocess.run(
        [*small, f"{mount} && exec {sys.executable} {script}"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert re.match(says, done.stdout), done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


# ---- what is sent -----------------------------------------------------------------------


class Sent(Dataset):
    """Tensors of many kinds, small and large, each its own shape."""

    def __len__(self):
        return 1

    def __getitems__(self, keys):
        return Parcel(tensors())


def tensors():
    rng = torch.Generator().manual_seed(0)
    large = torch.rand(4, 3, 50, 40, generator=rng)
    return [
        large,
        large.permute(0, 2, 3, 1),
        large.half(),
        large.bfloat16().contiguous(),
        large > 0.5,
        torch.arange(7),
        torch.tensor(2.5),
        torch.zeros(0, 3),
        {"beside": ["text", 3]},
    ]


def test_what_is_sent_arrives_as_it_is_and_may_be_written_into():
    loader = DataLoader(
        Sent(), batch_size=1, num_workers=1, collate_fn=as_it_is, multiprocessing_context="spawn"
    )
    (found,) = list(loader)
    for got, expected in zip(found[:-1], tensors()[:-1], strict=True):
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        assert torch.equal(got, expected)
        got.zero_()
    assert found[-1] == {"beside": ["text", 3]}


def as_it_is(batch):
    return batch


def in_a_process(monkeypatch):
    """Pretend to be a loader process."""
    info = type("Info", (), {"num_workers": 2})()
    monkeypatch.setattr(loaders, "get_worker_info", lambda: info)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.ENOMEM])
def test_a_batch_that_cannot_be_sent_is_an_error_of_its_process(monkeypatch, number):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    in_a_process(monkeypatch)
    monkeypatch.setattr(shared_batches.os, "posix_fallocate", fail)
    told = handing_errors_over(lambda dataset, keys: torch.zeros(100_000))(None, [])
    assert isinstance(told, LoadingStopped)
    assert os.strerror(number) in str(told)
    assert "'data.workers'" in str(told)
    assert str(pickle.loads(pickle.dumps(told))) == str(told)


def test_any_error_of_a_process_is_handed_over_as_ours(monkeypatch):
    in_a_process(monkeypatch)

    def load(dataset, keys):
        raise KeyError("who")

    told = handing_errors_over(load)(None, [])
    assert type(told) is ReidError
    assert str(told).startswith("a batch of images cannot be loaded: KeyError: 'who' (REID_CORE")

    def too_large(dataset, keys):
        return torch.empty(1 << 60)

    told = handing_errors_over(too_large)(None, [])
    assert type(told) is LoadingStopped
    assert "memory" in str(told)
