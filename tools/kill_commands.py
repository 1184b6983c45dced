"""Kill packing, training and evaluating at random moments: what is left, and is it whole?

    python tools/kill_commands.py --kills 100 --seed 0

Only the main process is killed, as the system does when memory runs out; its two loader processes
must end by themselves. A command is killed again and again in one folder, and now and then carried
to its end there: the store must have the same content, the run the same weights and record, the
scores the same bytes as where nothing was killed. ``crash_test.py`` spreads its kills over one
training.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crash_test import ENVIRONMENT, REPOSITORY, Workplace, check_no_orphans, compared

COMMANDS = ("pack", "train", "evaluate")
WORKERS = 2
KILLS_UNTIL_THE_END = 8
"""After so many kills in one folder a command is carried to its end."""


@dataclass
class Subject:
    """A command in a folder of its own.

    Attributes:
        command: One of ``COMMANDS``.
        work: The folder.
        life: Seconds that the command takes when it is left alone.
        kills: So far in this folder.
    """

    command: str
    work: Workplace
    life: float = 0.0
    kills: int = 0

    def launch(self) -> subprocess.Popen[str]:
        """Start the command."""
        if self.command == "train":
            return self.work.launch()
        words = ["pack", str(self.work.folder / "params.json")]
        if self.command == "evaluate":
            words = ["train", "--operation", "evaluate", "--sub_working_dir", str(self.work.run)]
        return subprocess.Popen(
            [sys.executable, "-m", "reid_core", *words],
            cwd=REPOSITORY,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> float:
        """Carry the command to its end, and return how many seconds it took.

        Raises:
            RuntimeError: It failed, or left processes.
        """
        start = time.monotonic()
        with self.launch() as process:
            output, _ = process.communicate(timeout=1800)
        check_no_orphans(process.pid)
        if process.returncode != 0:
            raise RuntimeError(f"{self.command}: exit status {process.returncode}:\n{output}")
        return time.monotonic() - start

    def kill_after(self, seconds: float) -> bool:
        """Start and kill the command; return False if it had ended before.

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
                self.kills += 1
                return True
        check_no_orphans(process.pid)
        if process.returncode != 0:
            raise RuntimeError(f"{self.command}: status {process.returncode} by itself:\n{output}")
        return False

    def differences(self, alone: Workplace) -> Iterator[str]:
        """Yield where what was made differs from what was made without a kill."""
        if self.command == "train":
            compared(self.work, alone)
        if content_hash(self.work) != content_hash(alone):
            yield "another content of the store"
        if self.command == "evaluate":
            ours, theirs = (scores(place) for place in (self.work, alone))
            if ours != theirs:
                yield f"other scores: {sorted(ours)}, {sorted(theirs)}"
        for leftover in self.work.folder.glob("runs/stores/.*.packing-*"):
            yield f"left behind: {leftover}"


def content_hash(work: Workplace) -> str:
    """Return the content hash of the one store of a folder."""
    (manifest,) = work.folder.glob("runs/stores/*/manifest.json")
    return str(json.loads(manifest.read_text(encoding="utf-8"))["content_hash"])


def scores(work: Workplace) -> dict[str, bytes]:
    """Return the arrays that an evaluation of the run has saved, by their files' names."""
    return {p.name: p.read_bytes() for p in (work.run / "evaluations").glob("scores-*.npz")}


def subject_of(command: str, folder: Path, alone: Workplace) -> Subject:
    """Return a command in a new folder, with the run that an evaluation needs."""
    work = Workplace.make(folder, WORKERS)
    if command == "evaluate":
        shutil.copytree(alone.folder / "runs", work.folder / "runs")
        for path in (work.run / "evaluations").glob("scores-*"):
            path.unlink()
    return Subject(command, work)


def kill_commands(folder: Path, kills: int, seed: int) -> Iterator[str]:
    """Kill the commands in turn.

    Yields:
        A line per kill and per end.

    Raises:
        RuntimeError: Something was left running, was lost, or is different.
    """
    alone = Workplace.make(folder / "alone", WORKERS)
    lives = {name: Subject(name, alone).finish() for name in COMMANDS}
    yield "left alone: " + ", ".join(f"{name} {life:.1f} s" for name, life in lives.items())
    rng = random.Random(seed)
    subjects = {name: subject_of(name, folder / f"{name}-0", alone) for name in COMMANDS}
    for number in range(kills):
        name = COMMANDS[number % len(COMMANDS)]
        while not subjects[name].kill_after(moment := rng.random() * lives[name]):
            yield f"{name}: too late, {ended(subjects[name], alone)}"
            subjects[name] = subject_of(name, folder / f"{name}-{number}-{moment:.4f}", alone)
            lives[name] *= 0.9
        yield f"kill {number + 1}: {name} after {moment:.2f} s"
        last = number + len(COMMANDS) >= kills
        if last or subjects[name].kills == KILLS_UNTIL_THE_END:
            subjects[name].finish()
            yield f"{name}: carried to its end, {ended(subjects[name], alone)}"
            subjects[name] = subject_of(name, folder / f"{name}-{number}", alone)


def ended(subject: Subject, alone: Workplace) -> str:
    """Return ``"equal"``.

    Raises:
        RuntimeError: What was made differs.
    """
    if found := list(subject.differences(alone)):
        raise RuntimeError(f"{subject.work.folder}: {'; '.join(found)}")
    return "equal"


def main() -> int:
    """Run the test and print its lines; the exit status is 1 if something was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30, help="how often to kill (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments (default: 0)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-commands-") as folder:
        try:
            for line in kill_commands(Path(folder), args.kills, args.seed):
                print(line, flush=True)
        except RuntimeError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print(f"{args.kills} kills, seed {args.seed}: no process left, nothing lost or different")
    return 0


if __name__ == "__main__":
    sys.exit(main())
