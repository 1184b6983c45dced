"""Steps that mend a ranking by the neighbours of its images."""
