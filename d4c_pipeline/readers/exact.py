"""Columns that are read from a file's bytes, because GDAL would change their values on the way.

The modules of the formats find such columns (`dbf_values`, `geopackage`, `geojson`); `vector` puts them in place of
GDAL's. No rule about a format lives here.
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
    """What a format's module found in a file, beside what GDAL makes of it.

    `types`: GDAL's column -> the type that it gets instead. `added`: columns that GDAL does not have, which come first.
    `take(count)`: both of the next `count` rows, in GDAL's order of rows. `rows`: how many rows there are by the word
    of `counted_by`, None where the file says nothing. `left_out`: columns of GDAL's that the file does not have.
    `unset`: a column -> the value that GDAL gives it where the file says nothing.
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
    """Return which of the source's columns `names` are declared as strings: their text is wanted as it stands."""
    wanted = {name for name, column in processing.columns.items() if column.type == "string"}
    wanted |= {c.source for c in processing.columns.values() if c.type == "string" and c.source is not None}
    return frozenset(name for name in names if name in wanted or snake_case(name) in wanted)


def null_texts(processing: Processing, name: str) -> tuple[str, ...]:
    """Return the texts that mean "no value" in the source's column `name`."""
    own = [
        text
        for output, column in processing.columns.items()
        if name in (output, column.source) or snake_case(name) == output
        for text in column.nulls
    ]
    return (*processing.nulls, *own)


def in_slices(columns: Mapping[str, pa.Array]) -> Callable[[int], Mapping[str, pa.Array]]:
    """Return a `take` for columns that are in memory."""
    done = 0

    def take(count: int) -> Mapping[str, pa.Array]:
        nonlocal done
        done += count
        return {name: column.slice(done - count, count) for name, column in columns.items()}

    return take
