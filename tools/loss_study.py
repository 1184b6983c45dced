"""Train the quick start with one set of losses after another and compare mAP over seeds.

    python tools/loss_study.py --out runs/loss_study                 # all, seeds 0 1 2
    python tools/loss_study.py --out runs/loss_study --only softmax arcface --epochs 10

Everything else is equal: the drawn people of ``params/quickstart.json`` with 64 x 32 images, the
network, the batches, the optimizer, the number of epochs. Runs that are there already are read and
not made again, so a study can be continued. The table ends with the mean over the seeds and the
spread, the largest mAP minus the smallest.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
Json = dict[str, Any]

SOFTMAX: Json = {"name": "softmax", "params": {"label_smoothing": 0.1}}
TRIPLET: Json = {"name": "triplet", "params": {"margin": 0.3}}
PEOPLE = {"alpha": 2.0, "margin": 1.3, "temperature": 1.0}
NORMS = {"lower_norm": 5.0, "upper_norm": 40.0}
"""Of the features of a small network on small images, which are shorter than the paper's."""

STUDIES: dict[str, Json] = {
    "softmax": {"loss": [SOFTMAX]},
    "softmax + triplet": {"loss": [SOFTMAX, TRIPLET]},
    "softmax + circle": {"loss": [SOFTMAX, {"name": "circle", "weight": 0.1}]},
    "softmax + triplet + center": {
        "loss": [SOFTMAX, TRIPLET, {"name": "center", "weight": 0.0005}]
    },
    "softmax + ranked_list": {"loss": [SOFTMAX, {"name": "ranked_list", "params": PEOPLE}]},
    "ranked_list": {"loss": [{"name": "ranked_list", "params": PEOPLE}]},
    "arcface": {"loss": [{"name": "arcface", "params": {"scale": 30.0, "margin": 0.3}}]},
    "arcface, margin rising": {
        "loss": [
            {
                "name": "arcface",
                "params": {"scale": 30.0, "margin": {"start": 0.0, "end": 0.3, "epochs": 3}},
            }
        ]
    },
    "softmax + uncertain_pair (NAMA)": {
        "head": [{"name": "uncertain", "params": {"pooling": "avg"}}],
        "loss": [
            SOFTMAX,
            {"name": "uncertain_pair"},
            {"name": "norm_regularizer", "params": NORMS},
        ],
    },
}


def run(name: str, seed: int, options: argparse.Namespace) -> tuple[float, float]:
    """Train one set of losses with one seed; return mAP and seconds of the training."""
    folder = options.out / f"{''.join(c if c.isalnum() else '_' for c in name)}-{seed}"
    if not (folder / "seconds").exists():
        shutil.rmtree(folder, ignore_errors=True)  # a run that was broken off
        params = json.loads((ROOT / "params" / "quickstart.json").read_text())
        params |= STUDIES[name] | {"working_dir": str(options.out)}
        params["train"] |= {
            "epochs": options.epochs,
            "seed": seed,
            "evaluate_every": options.epochs,
            "baselines": False,
        }
        config = options.out / f"{folder.name}.json"
        config.write_text(json.dumps(params, indent=2))
        command = [sys.executable, str(ROOT / "train.py"), "--operation", "start_train"]
        command += ["--config_path", str(config), "--sub_working_dir", folder.name]
        start = time.monotonic()
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        (folder / "seconds").write_text(f"{time.monotonic() - start:.1f}")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    scores = [line for line in lines if line.get("kind") == "evaluation"]
    return scores[-1]["metrics"]["mAP"], float((folder / "seconds").read_text())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--only", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{options.epochs} epochs, seeds {options.seeds}\n")
    print("| losses | mAP of each seed | mean | spread | seconds a run |")
    print("|---|---|---|---|---|")
    for name in options.only:
        found = [run(name, seed, options) for seed in options.seeds]
        scores = [score for score, _ in found]
        print(
            f"| {name} | {', '.join(f'{score:.3f}' for score in scores)} | {mean(scores):.3f} | "
            f"{max(scores) - min(scores):.3f} | {max(seconds for _, seconds in found):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
