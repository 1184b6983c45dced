"""Pictures of a run: curves and ranked lists; commands draw with it.

Importing this package loads no matplotlib.
"""
