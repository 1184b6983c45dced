"""Evaluate: python evaluator.py eval_params.json."""

import sys

try:
    from reid_core.cli import run_as
except ModuleNotFoundError as error:
    sys.exit(f"error: {error.name} is not installed; run: pip install -e .")

if __name__ == "__main__":
    sys.exit(run_as("evaluate", "evaluator.py"))
