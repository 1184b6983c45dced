"""Built-in plugins of the kind augmentation."""
