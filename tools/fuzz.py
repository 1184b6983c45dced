"""Damage every kind of file that a person can hand us, and look what is made of it.

    python tools/fuzz.py                               # everything, at its full number
    python tools/fuzz.py --share 0.01                  # a hundredth of it
    python tools/fuzz.py --only weights --case 17      # one input again, with its traceback

Every input ends well in one of three ways: it is refused by the project's error, it is read and
means what it meant before, or, where nothing can tell, it is accepted. What is counted as a fault:
another exception or a raw warning (``traceback``), other numbers without a word (``changed``), no
answer in time (``hang``), a process that died (``crash``). The exit status is 1 if there was one.
The same seed gives the same inputs of the same sources.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

WORKER = Path(__file__).with_name("fuzz_worker.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "REID_CORE_NO_THIRD_PARTY": "1"}

COUNTS = {
    "params": 10_000,
    "models": 1_000,
    "stores": 1_000,
    "index-bits": 100_000,
    "features-bits": 100_000,
    "features": 3_000,
    "scores": 3_000,
    "records": 3_000,
    "logs": 3_000,
    "checkpoints": 3_000,
    "weights": 3_000,
    "images": 20_000,
}
"""Inputs of each kind, or all that there are: a small file has fewer bits."""

FAULTS = ("traceback", "changed", "hang", "crash")
PATIENCE = 60.0
"""Seconds without an answer that count as a hang; the slowest input takes about two."""
START_PATIENCE = 240.0
"""Likewise for the first answer of a process, which trains a small network before."""
SHOWN = 5
"""Faults of a kind that are printed; the rest are counted."""


@dataclass
class Tally:
    """What became of the inputs of one kind."""

    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, outcome: str, text: str) -> None:
        """Count one input."""
        self.outcomes[outcome] += 1
        if outcome in FAULTS:
            self.faults.append(f"{self.kind} {number}: {outcome}: {text}")

    def lines(self) -> Iterator[str]:
        """Yield the row of the table, and the first faults."""
        total = sum(self.outcomes.values())
        words = ", ".join(f"{n} {outcome}" for outcome, n in sorted(self.outcomes.items()))
        yield f"{self.kind:<14} {total:>7} inputs: {words}"
        yield from (f"  {fault}" for fault in self.faults[:SHOWN])
        if len(self.faults) > SHOWN:
            yield f"  ... and {len(self.faults) - SHOWN} more"


def fuzz(kind: str, seed: int, start: int, stop: int) -> Tally:
    """Try the inputs of a kind from ``start`` to before ``stop``."""
    tally = Tally(kind)
    while start < stop:
        done, end = _run_worker(tally, kind, seed, start, stop)
        if end == "finished":
            break
        tally.add(done, *end)
        start = done + 1
    return tally


def _run_worker(
    tally: Tally, kind: str, seed: int, start: int, stop: int
) -> tuple[int, str | tuple[str, str]]:
    """Run a process until it ends or gives no answer.

    Returns:
        The number of the input that it was at, and ``"finished"`` or outcome and words of that
        input.
    """
    command = [sys.executable, str(WORKER), kind, str(seed), str(start), str(stop)]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        at = start
        for line in _answers(process):
            if line is None:
                process.kill()
                return at, ("hang", "no answer in time")
            number, outcome, text = json.loads(line)
            tally.add(number, outcome, text)
            at = number + 1
        status = process.wait()
        said = process.stderr.read().strip()[-300:] if process.stderr else ""
    if status == 0:
        return at, "finished"
    return at, ("crash", f"the process ended with status {status}: {said}")


def _answers(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """Yield the lines of a process; None when one is awaited for too long."""
    assert process.stdout is not None
    rest, deadline = b"", time.monotonic() + START_PATIENCE
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                yield None
                return
            part = os.read(process.stdout.fileno(), 1 << 16)
            *lines, rest = (rest + part).split(b"\n")
            yield from (line.decode() for line in lines)
            if not part:
                return
            if lines:
                deadline = time.monotonic() + PATIENCE


def chosen(names: list[str], share: float) -> dict[str, int]:
    """Return the number of inputs by the names of kinds; no names: all kinds."""
    kinds = names or list(COUNTS)
    return {kind: max(1, round(COUNTS[kind] * share)) for kind in kinds}


def main() -> int:
    """Try everything that the arguments ask for, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], choices=list(COUNTS), help="kinds")
    parser.add_argument("--seed", type=int, default=0, help="of all inputs (default: 0)")
    parser.add_argument("--share", type=float, default=1.0, help="of the numbers (default: 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="kinds at a time")
    parser.add_argument("--case", type=int, help="one input again, of the one kind of --only")
    args = parser.parse_args()
    if args.case is not None:
        if len(args.only) != 1:
            parser.error("--case needs the kind: --only KIND")
        command = [sys.executable, str(WORKER), args.only[0], str(args.seed), str(args.case)]
        return subprocess.run([*command, str(args.case + 1), "--raise"], env=ENVIRONMENT).returncode
    start = time.monotonic()
    work = chosen(args.only, args.share)
    faults = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        waiting = [pool.submit(fuzz, kind, args.seed, 0, count) for kind, count in work.items()]
        for one in waiting:
            tally = one.result()
            faults += len(tally.faults)
            print("\n".join(tally.lines()), flush=True)
    print(f"seed {args.seed}, {time.monotonic() - start:.0f} s: {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
