"""Built-in plugins of the kind sampler."""
