"""GDAL, by way of pyogrio and its Arrow streams, imported without the data frames that it offers beside them (`light`).

Who reads or writes vector files imports `pyogrio` from here.
"""

from __future__ import annotations

from d4c_pipeline.processing.light import without_pandas

with without_pandas():
    import pyogrio
    import pyogrio.errors

__all__ = ["pyogrio"]
