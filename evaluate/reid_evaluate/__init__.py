"""Metrics as pure functions of arrays, and the evaluator plugins that use them."""
