"""The facts of columns as pages show them, from a release's profile; a profile of before distributions lacks them.

A release never changes, so what its profile lacks is computed once, of the published Parquet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from d4c_pipeline.model.release import Column
from d4c_pipeline.portal.facts import ColumnFacts
from d4c_pipeline.processing.distributions import MOST_COLUMNS, MOST_TOP, distribution
from d4c_pipeline.tables import duckdb_engine
from d4c_pipeline.tables.parallel import memory_bytes


def column_facts(
    columns: Sequence[Column],
    profile: Mapping[str, Any],
    data: Sequence[Path],
    *,
    memory_limit: str | None = None,
    temp: Path | None = None,
) -> dict[str, ColumnFacts]:
    """Return the facts of the profiled columns; `profile` is a release's `profile.json`, `data` its files.

    `memory_limit`: as a build's, past which values spill to a folder in `temp`. Raises DataError when the data can't be
    read.
    """
    profiled: Mapping[str, dict[str, Any]] = profile["columns"]
    own = {column.name: dict(profiled[column.name]) for column in columns if column.name in profiled}
    lacking = [] if any(_distributed(values) for values in own.values()) else list(own)[:MOST_COLUMNS]
    if lacking:
        with TemporaryDirectory(prefix="d4c-values-", dir=temp) as spill:
            connection = duckdb_engine.connect(memory_limit=f"{memory_bytes(memory_limit)}B", spill=Path(spill))
            try:
                source = duckdb_engine.parquet(tuple(data))
                for name in lacking:
                    own[name] |= distribution(connection, source, name, own[name], int(profile["rows"]))
            except duckdb.ParserException:  # of our own SQL: a bug, not a fault of the data
                raise
            except duckdb.Error as error:
                raise duckdb_engine.explained(error, f"Reading the values of {data[0].name}") from error
            finally:
                connection.close()
    return {name: _facts(values) for name, values in own.items()}


def _distributed(values: Mapping[str, Any]) -> bool:
    return "histogram" in values or "top" in values


def _facts(values: Mapping[str, Any]) -> ColumnFacts:
    top: Sequence[Mapping[str, Any]] = values.get("top", ())
    return ColumnFacts(
        nulls=int(values["nulls"]),
        distinct=values.get("distinct"),
        least=values.get("min"),
        greatest=values.get("max"),
        histogram=tuple(values["histogram"]["counts"]) if "histogram" in values else (),
        top=tuple((each["value"], int(each["count"])) for each in top[:MOST_TOP]),
    )
