"""Native files in, analysis-ready (Geo)Parquet out: read, clean, transform, order, write, profile, compare, preview.

Here belongs everything that looks inside the data. Fetching and unpacking belongs to `sources`, hashing, naming and
publishing the result to the rooms after this one. The entry point is `build.build`; `compare.compare` returns the
differences between two results.
"""
