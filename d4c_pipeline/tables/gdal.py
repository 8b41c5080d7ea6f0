"""GDAL, by way of pyogrio and its Arrow streams, imported without the data frames that it offers beside them (`light`).

Who reads or writes vector files imports `pyogrio` from here. Of GDAL's own C API there is what pyogrio does not offer:
the error handler and settings of one thread (https://gdal.org/en/stable/api/cpl.html).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from d4c_pipeline.tables.light import without_pandas

with without_pandas():
    import pyogrio
    import pyogrio.errors

__all__ = ["ErrorHandler", "library", "pyogrio", "thread_config"]

# The library that pyogrio is linked with, found through its extension module, wherever it lies.
library = ctypes.CDLL(pyogrio._err.__file__)  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]
# Gets the class of an error (CPLErr), its number and its text.
ErrorHandler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int, ctypes.c_char_p)
library.CPLDefaultErrorHandler.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p]
library.CPLPushErrorHandler.argtypes = [ErrorHandler]
library.CPLSetErrorHandler.argtypes = [ErrorHandler]
library.CPLSetThreadLocalConfigOption.argtypes = [ctypes.c_char_p, ctypes.c_char_p]


@contextmanager
def thread_config(name: str, value: str) -> Iterator[None]:
    """Set one of GDAL's configuration options in this block, for this thread only."""
    library.CPLSetThreadLocalConfigOption(name.encode(), value.encode())
    try:
        yield
    finally:
        library.CPLSetThreadLocalConfigOption(name.encode(), None)
