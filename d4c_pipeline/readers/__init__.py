"""Readers of native files; every reader returns a `Native`: named columns, batches of rows and a report.

`readers.inputs` chooses the files of a delivery, `readers.formats` opens them. `processing` cleans their rows.
"""
