"""A training in its run directory: start, resume, record, checkpoint."""
