"""Built-in plugins of the kind distance."""
