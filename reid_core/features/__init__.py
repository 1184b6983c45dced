"""From a model or a file to features, one vector per image."""
