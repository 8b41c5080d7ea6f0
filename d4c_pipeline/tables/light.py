"""Imports Arrow and pyogrio without pandas, which both load for data frames that the platform does not use.

Loading pandas and geopandas takes longer than most conversions. Arrow still loads pandas to make a data frame. pyogrio
does not in a process that imported this module first: read data frames with Arrow there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_HEAVY = ("pandas", "geopandas")


class _Missing(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if fullname in _HEAVY:
            raise ModuleNotFoundError(f"{fullname} is not imported here", name=fullname)
        return None


@contextmanager
def without_pandas() -> Iterator[None]:
    """Hide pandas and geopandas from imports in this block, unless they are already loaded."""
    missing = _Missing()
    sys.meta_path.insert(0, missing)
    try:
        yield
    finally:
        sys.meta_path.remove(missing)


with without_pandas():
    import pyarrow

    # Arrow tries to import pandas once, when it makes the first array of Python values.
    pyarrow.array([0])
