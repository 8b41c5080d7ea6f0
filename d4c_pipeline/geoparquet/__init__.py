"""The GeoParquet writer: external sort, row groups, encoding, partitions.

Cleaning the rows belongs to `processing`.
"""
