"""A training that is killed or interrupted ends with the bytes of one that was left alone."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "crash_test.py"


@pytest.fixture(scope="module")
def tool():
    """The script ``tools/crash_test.py`` as a module."""
    spec = importlib.util.spec_from_file_location("crash_test", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["crash_test"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["crash_test"]


@pytest.fixture(scope="module")
def reference(tool, tmp_path_factory):
    """A run that was left alone, and the seconds that it took."""
    work = tool.Workplace.make(tmp_path_factory.mktemp("crash") / "reference")
    return work, work.finish()


def test_a_killed_training_ends_like_one_that_was_left_alone(tool, reference, tmp_path):
    lines = list(tool.crash_test(tmp_path, kills=3, seed=1, reference=reference))
    assert sum(": after " in line for line in lines) == 3
    assert sum(line == "resumed to the end: equal" for line in lines) == 2


def test_the_reference_has_every_step_once(reference):
    work, _ = reference
    steps = [line["step"] for line in work.metrics() if line["kind"] == "train"]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > 9


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_says_how_to_resume(tool, reference, tmp_path, number):
    work = tool.Workplace.make(tmp_path / "work")
    with work.launch() as process:
        while not any(line["kind"] == "train" for line in work.metrics()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert "stopping after this step; once more stops at once" in output
    done = work.metrics()[-1]["step"]
    assert (
        f"stopped after step {done}; everything is saved. Continue with: reid train "
        f"--operation resume_train --sub_working_dir {work.run}" in output
    )
    assert not (work.run / "weights" / "last.safetensors").exists()
    work.finish()
    assert list(work.differences(reference[0])) == []


def test_ctrl_c_reaches_loader_processes_too_and_still_saves(tool, tmp_path):
    work = tool.Workplace.make(tmp_path / "work")
    raw = json.loads((work.folder / "params.json").read_text())
    raw["data"]["workers"] = 2
    (work.folder / "params.json").write_text(json.dumps(raw))
    with work.launch() as process:
        while not any(line["kind"] == "train" for line in work.metrics()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "everything is saved" in output
    assert "Traceback" not in output


def test_a_killed_loader_process_costs_nothing_but_a_resume(tool, reference, tmp_path):
    work = tool.Workplace.make(tmp_path / "work", workers=2)
    with work.launch() as process:
        while not any(line["kind"] == "train" for line in work.metrics()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        workers = [pid for pid, words in tool.running(process.pid).items() if "spawn_main" in words]
        os.kill(workers[0], signal.SIGKILL)
        output, _ = process.communicate(timeout=120)
    tool.check_no_orphans(process.pid)
    assert (process.returncode, output.count("Traceback")) == (2, 0), output
    assert (
        f"error: the loader processes give no more batches: process {workers[0]} was en" in output
    )
    done = max(line["step"] for line in work.metrics())
    assert (
        f"All {done} steps so far are saved. Continue with: reid train --operation resume_train "
        f"--sub_working_dir {work.run}" in output
    )
    work.finish()
    assert list(work.differences(reference[0])) == []


def test_the_tool_finds_and_ends_an_orphan(tool, monkeypatch):
    monkeypatch.setattr(tool, "ORPHANS_END_WITHIN", 0.2)
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        with pytest.raises(RuntimeError, match=rf"orphans: {process.pid} sleep 60"):
            tool.check_no_orphans(process.pid)
        assert process.wait(timeout=60) == -signal.SIGKILL
    tool.check_no_orphans(process.pid)


def test_a_signal_during_packing_stops_at_once_and_leaves_no_half_packed_store(tool, tmp_path):
    work = tool.Workplace.make(tmp_path / "work")
    path = work.folder / "params.json"
    params = json.loads(path.read_text())
    params["data"]["train"][0]["params"]["train_identities"] = 20_000
    path.write_text(json.dumps(params))
    with work.launch() as process:
        while not list(work.folder.glob("runs/stores/.*.packing-*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output
    assert [p.suffix for p in (work.folder / "runs" / "stores").iterdir()] == [".lock"]
    assert not work.run.exists()


def test_the_tool_notices_a_difference(tool, reference, tmp_path):
    work = tool.Workplace.make(tmp_path / "work")
    (work.run / "weights").mkdir(parents=True)
    for name in ("last", "best"):
        (work.run / "weights" / f"{name}.safetensors").write_bytes(b"other")
    found = list(work.differences(reference[0]))
    assert [line.partition(":")[0] for line in found[:3]] == [
        "weights/last.safetensors differs",
        "weights/best.safetensors differs",
        "metrics.jsonl differs",
    ]
    with pytest.raises(RuntimeError, match=r"work: weights/last\.safetensors differs; weights"):
        tool.compared(work, reference[0])
