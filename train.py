"""Train: python train.py --operation start_train --config_path params/quickstart.json."""

import sys

from reid_core.program import run_as

if __name__ == "__main__":
    sys.exit(run_as("train", "train.py"))
