"""What is made of a finished data artifact where the dataset asks for it: tiles, desktop formats, CSV, a thumbnail.

`derive` is the front door; each format has a module. The data itself is never changed here.
"""
