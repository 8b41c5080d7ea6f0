"""Imports GDAL through pyogrio without pandas (`light`), and the parts of GDAL's C API that pyogrio lacks.

Modules that read or write vector files import `pyogrio` from here. The parts of the C API are the error handler and the
configuration of one thread (https://gdal.org/en/stable/api/cpl.html).
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

# The library that pyogrio is linked with, found through its extension module.
library = ctypes.CDLL(pyogrio._err.__file__)  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]
# Its arguments are the class of an error (CPLErr), its number and its text.
ErrorHandler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int, ctypes.c_char_p)
library.CPLDefaultErrorHandler.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p]
library.CPLPushErrorHandler.argtypes = [ErrorHandler]
library.CPLSetErrorHandler.argtypes = [ErrorHandler]
library.CPLSetThreadLocalConfigOption.argtypes = [ctypes.c_char_p, ctypes.c_char_p]


@contextmanager
def thread_config(name: str, value: str) -> Iterator[None]:
    """Set a configuration option of GDAL in this block, for this thread only."""
    library.CPLSetThreadLocalConfigOption(name.encode(), value.encode())
    try:
        yield
    finally:
        library.CPLSetThreadLocalConfigOption(name.encode(), None)
