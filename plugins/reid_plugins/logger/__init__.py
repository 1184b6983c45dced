"""Loggers: where the lines of metrics.jsonl also go."""
