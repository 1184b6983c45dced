"""Rules of published protocols: which images count, and how galleries are drawn."""
