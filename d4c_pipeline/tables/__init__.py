"""Tables in memory: column names and types, and the engines (Arrow, DuckDB, GDAL) that hold them.

Reading formats belongs to `readers`, writing Parquet to `geoparquet`.
"""

from d4c_pipeline.tables import light

__all__ = ["light"]
