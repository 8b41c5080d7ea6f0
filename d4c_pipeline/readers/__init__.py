"""One module per way of reading native files, each ending in the same `Native`: text, and what GDAL reads.

Which file of a delivery is read is decided in `readers.inputs`; cleaning what was read is not done here.
"""
