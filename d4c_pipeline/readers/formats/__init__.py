"""Registered formats: each module declares in `FORMATS` the files that it recognises and the reader that opens them.

`readers.registry` imports every module here, in the order of names. A reader imports its libraries when it is used.
"""
