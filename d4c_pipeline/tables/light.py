"""Arrow and GDAL without pandas, which both would load for data frames that nothing here uses.

Loading pandas and geopandas takes longer than most conversions. Arrow still finds pandas when somebody asks it for a
data frame; pyogrio does not, in a process where this module came first: there, read data frames with Arrow.
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
            raise ModuleNotFoundError(f"{fullname} is left out here", name=fullname)
        return None


@contextmanager
def without_pandas() -> Iterator[None]:
    """Have imports in this block find neither pandas nor geopandas, unless they are loaded already."""
    missing = _Missing()
    sys.meta_path.insert(0, missing)
    try:
        yield
    finally:
        sys.meta_path.remove(missing)


with without_pandas():
    import pyarrow

    # Arrow looks for pandas once, at the first array it makes of Python's values.
    pyarrow.array([0])
