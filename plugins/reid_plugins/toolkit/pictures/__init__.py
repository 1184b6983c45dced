"""Pictures of a run: curves and ranked lists. Importing this package loads no matplotlib."""
