"""Built-in plugins of the kind backbone."""
