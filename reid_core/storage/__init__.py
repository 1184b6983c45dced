"""From the files of a dataset to a packed store, and back to pictures."""
