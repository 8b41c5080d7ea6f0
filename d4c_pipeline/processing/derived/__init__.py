"""Files made of finished data where the dataset declares them: tiles, desktop formats, CSV, a thumbnail.

The entry point is `derive`; each format has a module. Nothing here changes the data.
"""
