"""From stored pictures to batches: labels, samplers, transforms, loaders, streams."""
