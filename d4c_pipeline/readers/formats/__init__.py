"""One module per format: the files it recognises and the reader that opens them, as a tuple `FORMATS`.

`readers.registry` finds every module here, in the order of names. Libraries of a reader are imported on use.
"""
