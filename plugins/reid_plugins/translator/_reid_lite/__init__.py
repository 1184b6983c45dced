"""Translate pytorch-reid-lite's params.json and eval_params.json into ours.

A translated run does what the predecessor did with the same file. Where it did something
else than the file says, or had a choice in its source, a note says so. A feature that we
do not have is an error, unless the file switches it off.

``keys`` holds the tables of its vocabulary, ``reading`` reads a file against them; the other
modules turn the values into ours.
"""
