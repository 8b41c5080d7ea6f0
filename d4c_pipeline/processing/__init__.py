"""Native files in, analysis-ready (Geo)Parquet out: read, clean, transform, order, write, profile, compare, preview.

Here belongs all code that reads the content of the data. Fetching and unpacking belong to `sources`; hashing, naming
and publishing belong to `chain`. The entry point is `build.build`; `compare.compare` returns the differences between
two results.
"""
