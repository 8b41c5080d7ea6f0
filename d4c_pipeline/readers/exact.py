"""The type of columns that are read from a file's bytes because GDAL would change their values, and its helpers.

The modules of the formats find such columns (`dbf_values`, `geopackage`, `geojson`); `vector` replaces GDAL's columns
with them. No rule of a format belongs here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from d4c_pipeline.model.processing import Processing
from d4c_pipeline.tables.names import snake_case


@dataclass
class Exact:
    """Columns that a format's module reads in place of GDAL.

    `types`: GDAL's column -> its type here. `added`: columns that GDAL does not have, which come first. `take(count)`:
    both for the next `count` rows, in GDAL's order. `rows`: the number of rows according to `counted_by`, None if the
    file does not state it. `left_out`: GDAL's columns that the file does not have. `unset`: column -> the value that
    GDAL gives a missing value.
    """

    types: Mapping[str, pa.DataType] = field(default_factory=dict[str, pa.DataType])
    added: Mapping[str, pa.DataType] = field(default_factory=dict[str, pa.DataType])
    take: Callable[[int], Mapping[str, pa.Array]] | None = None
    rows: int | None = None
    counted_by: str = ""
    left_out: Collection[str] = ()
    unset: Mapping[str, Any] = field(default_factory=dict[str, Any])
    report: dict[str, Any] = field(default_factory=dict[str, Any])


def declared_text(processing: Processing, names: Sequence[str]) -> frozenset[str]:
    """Return the source's columns among `names` that are declared as strings: their text is read unchanged."""
    wanted = {name for name, column in processing.columns.items() if column.type == "string"}
    wanted |= {c.source for c in processing.columns.values() if c.type == "string" and c.source is not None}
    return frozenset(name for name in names if name in wanted or snake_case(name) in wanted)


def null_texts(processing: Processing, name: str) -> tuple[str, ...]:
    """Return the declared null texts of the source's column `name`."""
    own = [
        text
        for output, column in processing.columns.items()
        if name in (output, column.source) or snake_case(name) == output
        for text in column.nulls
    ]
    return (*processing.nulls, *own)


def in_slices(columns: Mapping[str, pa.Array]) -> Callable[[int], Mapping[str, pa.Array]]:
    """Return a `take` function for columns in memory."""
    done = 0

    def take(count: int) -> Mapping[str, pa.Array]:
        nonlocal done
        done += count
        return {name: column.slice(done - count, count) for name, column in columns.items()}

    return take
