"""The network of a params file, and the weights file that keeps it."""
