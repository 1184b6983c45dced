"""Built-in plugins of the kind head."""
