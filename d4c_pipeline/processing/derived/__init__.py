"""Derives the files that a dataset declares from finished data: tiles, desktop formats, CSV, a thumbnail.

The entry point is `derive`; each format has its own module. Nothing here changes the data.
"""
