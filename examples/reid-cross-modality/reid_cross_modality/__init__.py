"""Visible-infrared re-identification for reid-core: an evaluator and a distance."""
