"""Built-in plugins, one file per feature, in a folder per kind."""
