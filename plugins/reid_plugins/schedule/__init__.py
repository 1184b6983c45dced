"""Built-in plugins of the kind schedule."""
