"""Measures, distances, ranking and re-ranking as pure functions of arrays."""
