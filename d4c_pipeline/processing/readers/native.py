"""What every reader hands on: the attributes under the source's own names, and the geometry beside them as WKB.

No rule about cleaning or naming lives here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyproj
import pyproj.exceptions

from d4c_pipeline.model.errors import DataError


@dataclass(frozen=True)
class Native:
    """A native file that has been read.

    `table`: attributes, names unique (an exact repetition got `_2`, `_3`, ...). `geometry`: ISO WKB in the source's
    coordinates, x first, as long as the table; None for data without. `crs`: of the geometry. `report`: what the reader
    noticed or had to decide (`encoding`, `delimiter`, `layer`, `driver`), for `DataSummary.report`.
    """

    table: pa.Table
    geometry: pa.ChunkedArray | None = None
    crs: pyproj.CRS | None = None
    report: dict[str, Any] = field(default_factory=dict[str, Any])


def parse_crs(text: str, path: Path) -> pyproj.CRS:
    """Return the coordinate reference system that `text` (an EPSG code, WKT, PROJJSON) means for the file at `path`.

    Raises DataError when PROJ does not know it.
    """
    try:
        return pyproj.CRS.from_user_input(text)
    except pyproj.exceptions.CRSError as error:
        raise DataError(
            f"The coordinate reference system of {path.name} is not known: {text[:100]}",
            "Declare processing.crs (with override_crs if the file states a wrong one)",
        ) from error


def exactly_unique(names: Sequence[str], *, fold_case: bool = False, taken: Sequence[str] = ()) -> list[str]:
    """Return `names` with repetitions suffixed `_2`, `_3`, ...: columns are addressed by name from here on.

    A name that occurs as such keeps it; `taken` are names that may not be used. With `fold_case`, names that differ by
    case alone repeat each other too, as they do in SQL.
    """

    def fold(name: str) -> str:
        return name.lower() if fold_case else name

    used = {fold(name) for name in taken}
    first: set[int] = set()
    for position, name in enumerate(names):
        if fold(name) not in used:
            used.add(fold(name))
            first.add(position)
    out: list[str] = []
    for position, name in enumerate(names):
        candidate, count = name, 2
        while position not in first and fold(candidate) in used:
            candidate, count = f"{name}_{count}", count + 1
        used.add(fold(candidate))
        out.append(candidate)
    return out
