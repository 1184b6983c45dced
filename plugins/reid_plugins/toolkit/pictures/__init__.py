"""Pictures of a run: curves and ranked lists; a training and the report draw with it.

Importing this package loads no matplotlib.
"""
