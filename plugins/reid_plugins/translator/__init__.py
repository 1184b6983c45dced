"""Translators: params files of other systems in our vocabulary."""
