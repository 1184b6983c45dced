"""Built-in plugins of the kind postprocess."""
