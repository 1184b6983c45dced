"""The front door: what ``import reid_core`` offers beside the plugin API; docs/python.md shows it.

``reid_core`` gives these functions away by name and loads a file of this folder when one of its
functions is asked for, so that plugins and the command line do not wait for torch.
"""
