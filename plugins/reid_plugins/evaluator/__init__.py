"""Evaluators: protocols that turn features into scores."""
