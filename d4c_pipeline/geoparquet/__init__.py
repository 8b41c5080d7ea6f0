"""The GeoParquet and Parquet writer. Other rooms import this package, never its modules.

`write` sorts batches in any order, cuts them into row groups, encodes those and writes one file or several parts.
`packed` makes the batches that `write` takes; a `Shelf` holds them until their `Layout` is known. A `Stitched` file
grows by row groups of other files, which are copied as bytes. `covering` and `geo_metadata` are for files that others
write row group by row group. Cleaning the rows belongs to `processing`.
"""

from d4c_pipeline.geoparquet.engine import Result, packed, write
from d4c_pipeline.geoparquet.layout import GeometryLayout, Layout, geo_metadata
from d4c_pipeline.geoparquet.partition import Written
from d4c_pipeline.geoparquet.single_file import covering, parameters
from d4c_pipeline.geoparquet.spill import Shelf
from d4c_pipeline.geoparquet.stitch import Footer, Stitched

__all__ = [
    "Footer",
    "GeometryLayout",
    "Layout",
    "Result",
    "Shelf",
    "Stitched",
    "Written",
    "covering",
    "geo_metadata",
    "packed",
    "parameters",
    "write",
]
