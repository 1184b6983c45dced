"""Built-in plugins of the kind loss."""
