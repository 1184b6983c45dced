"""Callbacks: what happens between the epochs of a training."""
