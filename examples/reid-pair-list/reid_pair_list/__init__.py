"""Verification of a list of image pairs for reid-core."""
