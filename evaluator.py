"""Evaluate: python evaluator.py eval_params.json."""

import sys

from reid_core.program import run_as

if __name__ == "__main__":
    sys.exit(run_as("evaluate", "evaluator.py"))
