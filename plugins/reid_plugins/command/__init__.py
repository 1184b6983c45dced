"""Built-in plugins of the kind command."""
