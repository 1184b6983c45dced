"""Kill a training at random moments, resume it, and compare it with one that was left alone.

    python tools/crash_test.py --kills 20 --seed 0 --workers 2

The moments are spread over the whole life of the process: start, packing, training, evaluation,
saving, end. Weights must be equal bit for bit, metrics.jsonl line for line. The main process alone
is killed, as the system does when memory runs out: its loader processes must end by themselves.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "REID_CORE_NO_THIRD_PARTY": "1"}
ORPHANS_END_WITHIN = 10.0
"""Seconds that the processes of a killed one have to end in."""

MACHINE_KEYS = ("images_per_second", "memory_mb", "time")
"""What a line of metrics.jsonl says of the machine and the clock; it may differ between runs."""

PARAMS: dict[str, Any] = {
    "data": {
        "train": [
            {
                "name": "synthetic_market",
                "params": {
                    "train_identities": 10,
                    "test_identities": 6,
                    "cameras": 3,
                    "distractors": 4,
                    "junk": 4,
                    "height": 64,
                    "width": 32,
                },
            }
        ]
    },
    "backbone": {"name": "resnet18", "params": {"pretrained": "none"}},
    "head": [{"name": "global", "params": {"dropout": 0.1}}],
    "loss": [{"name": "softmax"}, {"name": "triplet"}],
    "sampler": {"name": "class_balanced", "params": {"P": 4, "K": 2}},
    "augmentation": [
        {"name": "resize", "params": {"height": 32, "width": 16}},
        {"name": "pad_crop", "params": {"padding": 2}},
        {"name": "normalize"},
        {"name": "random_erasing"},
        {"name": "flip"},
    ],
    "optimizer": {"name": "sgd", "lr": 0.05},
    "schedule": {"name": "cosine"},
    "train": {
        "epochs": 3,
        "device": "cpu",
        "log_every": 1,
        "evaluate_every": 1,
        "checkpoint_every_steps": 3,
        "baselines": True,
    },
    "evaluation": [{"name": "market_evaluate"}],
}


@dataclass(frozen=True)
class Workplace:
    """A folder with a params file, and the one run in it."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, workers: int = 0) -> Workplace:
        """Write the params file into a new folder, for a number of loader processes."""
        folder.mkdir(parents=True)
        data = {**PARAMS["data"], "workers": workers}
        params = {**PARAMS, "data": data, "working_dir": str(folder / "runs")}
        (folder / "params.json").write_text(json.dumps(params), encoding="utf-8")
        return cls(folder)

    @property
    def run(self) -> Path:
        """Return the run directory."""
        return self.folder / "runs" / "run"

    def launch(self) -> subprocess.Popen[str]:
        """Start the training, or resume it where there is a run directory already."""
        what = ["--operation", "start_train", "--config_path", str(self.folder / "params.json")]
        name = "run"
        if self.run.is_dir():
            what, name = ["--operation", "resume_train"], str(self.run)
        return subprocess.Popen(
            [sys.executable, str(REPOSITORY / "train.py"), *what, "--sub_working_dir", name],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> float:
        """Start or resume, wait for the end, and return how many seconds it took.

        Raises:
            RuntimeError: The training failed.
        """
        start = time.monotonic()
        with self.launch() as process:
            output, _ = process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"exit status {process.returncode}:\n{output}")
        return time.monotonic() - start

    def kill_after(self, seconds: float) -> bool:
        """Start or resume, and kill the process; return False if it had ended before.

        Raises:
            RuntimeError: It failed by itself, or processes that it had started have not ended.
        """
        with self.launch() as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                check_no_orphans(process.pid)
                return True
        if process.returncode != 0:
            raise RuntimeError(f"exit status {process.returncode} after a crash:\n{output}")
        check_no_orphans(process.pid)
        return False

    def where(self) -> str:
        """Say how far the run has come, from the traces on the disk."""
        if any(self.folder.glob("runs/stores/.*.packing-*")):
            return "while packing"
        if not self.run.is_dir():
            return "before the run directory"
        parts = [f"step {line['step']}, {line['kind']}" for line in self.metrics()[-1:]]
        parts += [f"half-written {path.name}" for path in self.run.rglob(".*.tmp")]
        parts += ["after the last weights"] * (self.run / "weights/last.safetensors").is_file()
        return "; ".join(parts) or "before the first line"

    def metrics(self) -> list[dict[str, Any]]:
        """Return the whole lines of metrics.jsonl without what depends on the machine."""
        path = self.run / "metrics.jsonl"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        lines = [json.loads(line) for line in text.splitlines(True) if line.endswith("\n")]
        return [{k: v for k, v in line.items() if k not in MACHINE_KEYS} for line in lines]

    def differences(self, reference: Workplace) -> Iterator[str]:
        """Yield where this finished run differs from another."""
        for name in ("weights/last.safetensors", "weights/best.safetensors"):
            if (self.run / name).read_bytes() != (reference.run / name).read_bytes():
                yield f"{name} differs"
        lines = itertools.zip_longest(self.metrics(), reference.metrics(), fillvalue={})
        for number, (ours, theirs) in enumerate(lines, 1):
            if ours != theirs:
                keys = sorted(k for k in ours | theirs if ours.get(k) != theirs.get(k))
                yield f"metrics.jsonl differs: line {number}: {', '.join(keys)}"
        mine, others = ({p.name for p in w.run.iterdir()} for w in (self, reference))
        if mine != others:
            yield f"other files in the run directory: {sorted(mine ^ others)}"
        for leftover in [*self.run.rglob(".*.tmp"), *self.folder.glob("runs/stores/.*.packing-*")]:
            yield f"left behind: {leftover}"


def check_no_orphans(session: int) -> None:
    """Wait until no process of a session is left.

    Raises:
        RuntimeError: Some are, after ``ORPHANS_END_WITHIN``; they are killed.
    """
    deadline = time.monotonic() + ORPHANS_END_WITHIN
    while orphans := running(session):
        if time.monotonic() > deadline:
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise RuntimeError(f"orphans: {'; '.join(orphans.values())}")
        time.sleep(0.05)


def running(session: int) -> dict[int, str]:
    """Return the processes of a session by their ids, with their commands; zombies are none."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            facts = (folder / "stat").read_text().rpartition(")")[2].split()
            if facts[0] != "Z" and int(facts[3]) == session:
                words = (folder / "cmdline").read_text().replace("\0", " ")
                found[int(folder.name)] = f"{folder.name} {words[:200]}"
    return found


def moments(kills: int, rng: random.Random) -> list[float]:
    """Return random fractions of a life in random order, one in each of ``kills`` equal parts."""
    spread = [(i + rng.random()) / kills for i in range(kills)]
    rng.shuffle(spread)
    return spread


def crash_test(
    folder: Path,
    kills: int,
    seed: int,
    reference: tuple[Workplace, float] | None = None,
    workers: int = 0,
) -> Iterator[str]:
    """Kill and resume; every second kill hits a run that was killed before.

    Args:
        folder: An empty folder to work in.
        kills: Number of kills.
        seed: Of the moments.
        reference: A run that was left alone, and its seconds; None: make it now.
        workers: Loader processes; the run that is left alone has none in any case.

    Yields:
        A line per kill and per comparison.

    Raises:
        RuntimeError: A run failed, or did not end like the one that was left alone.
    """
    if reference is None:
        alone = Workplace.make(folder / "reference")
        reference = alone, alone.finish()
    alone, seconds = reference
    yield f"left alone: {seconds:.1f} s, {len(alone.metrics())} lines in metrics.jsonl"
    places = (Workplace.make(folder / f"run-{number}", workers) for number in itertools.count())
    work = next(places)
    if workers:
        seconds = work.finish()
        yield f"with {workers} loader processes: {seconds:.1f} s, {compared(work, alone)}"
        work = next(places)
    for number, moment in enumerate(moments(kills, random.Random(seed)), 1):
        while not work.kill_after(moment * seconds):
            yield f"kill {number}: too late, {compared(work, alone)}"
            work, seconds = next(places), seconds * 0.95
        yield f"kill {number}: after {moment * seconds:.2f} s, {work.where()}"
        if number % 2 == 0 or number == kills:
            work.finish()
            yield f"resumed to the end: {compared(work, alone)}"
            work = next(places)


def compared(work: Workplace, reference: Workplace) -> str:
    """Return ``"equal"``.

    Raises:
        RuntimeError: The runs differ.
    """
    if found := list(work.differences(reference)):
        raise RuntimeError(f"{work.folder}: {'; '.join(found)}")
    return "equal"


def main() -> int:
    """Run the test and print its lines; the exit status is 1 if a run differed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="how often to kill (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    parser.add_argument("--workers", type=int, default=2, help="loader processes (default: 2)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crash-test-") as folder:
        try:
            for line in crash_test(Path(folder), args.kills, args.seed, workers=args.workers):
                print(line, flush=True)
        except RuntimeError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print(
        f"{args.kills} kills, seed {args.seed}, {args.workers} loader processes: every run ended "
        "with the same bytes, and no process and no file was left behind"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
