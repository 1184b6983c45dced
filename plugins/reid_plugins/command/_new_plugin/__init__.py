"""The packages that ``reid new-plugin`` writes: templates, and what fills them in."""
