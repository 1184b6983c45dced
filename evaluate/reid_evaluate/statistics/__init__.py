"""How sure a score is."""
