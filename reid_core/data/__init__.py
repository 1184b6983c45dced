"""From a dataset to batches: stores, decoding, transforms, loaders."""
