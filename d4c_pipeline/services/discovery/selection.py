"""Which releases a request finds: filters, words and newest releases of datasets as one SELECT over `entries`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from d4c_pipeline.services.cql2 import Condition
from d4c_pipeline.services.discovery.entries import ENTRIES
from d4c_pipeline.services.discovery.paging import Order, after, token
from d4c_pipeline.services.discovery.words import Matches


@dataclass(frozen=True)
class Selection:
    """Rows of `entries` that fulfil all `conditions`, in datasets that have the words of `matches`.

    `newest`: of each dataset the newest release that fulfils them; superseded releases are then left out. `years`: a
    release of one of these years is preferred to a newer one.
    """

    conditions: tuple[Condition, ...] = ()
    matches: Matches | None = None
    newest: bool = False
    years: tuple[str, ...] = field(default=())

    def statement(self) -> Condition:
        """Return a SELECT of the columns `position` and `score` (0 without words)."""
        conditions = [*self.conditions, *((Condition("is_latest", ()),) if self.newest else ())]
        where = f"WHERE {' AND '.join(each.sql for each in conditions)}" if conditions else ""
        parameters: list[Any] = []
        source, score = f"{ENTRIES} e", "0.0::DOUBLE"
        if self.matches is not None:
            source, score = f"{ENTRIES} e JOIN {self.matches.sql} m USING (dataset)", "m.score"
            parameters += self.matches.parameters
        position = "e.position"
        if self.newest:
            preferred = "CASE WHEN list_has_any(e.facet_year, CAST(? AS VARCHAR[])) THEN 1 ELSE 0 END"
            ranked = f"(({preferred}), e.position)" if self.years else "e.position"
            position, score = f"max_by(e.position, {ranked})", f"any_value({score})"
            parameters = [*([list(self.years)] if self.years else []), *parameters]
        parameters += [parameter for each in conditions for parameter in each.parameters]
        sql = f"SELECT {position} AS position, {score} AS score FROM {source} {where}"  # noqa: S608
        return Condition(f"{sql} GROUP BY e.dataset" if self.newest else sql, tuple(parameters))


@dataclass(frozen=True)
class Page:
    """Rows of a page with the columns that were asked for, the `total` of rows, and the token of the `next` page."""

    rows: list[dict[str, Any]]
    total: int
    next: str | None


def page(
    cursor: duckdb.DuckDBPyConnection,
    selection: Selection,
    columns: Sequence[str],
    keys: Sequence[Order],
    limit: int,
    resumed: str | None = None,
) -> Page:
    """Return a page of a selection in the order of `keys`, after the row in the token `resumed`.

    `columns`: SQL expressions over `entries`, each with its alias.
    """
    continued = after(resumed, keys) if resumed else None
    chosen = selection.statement()
    (total,) = cursor.execute(f"SELECT count(*) FROM ({chosen.sql})", list(chosen.parameters)).fetchone() or (0,)  # noqa: S608
    sort = ", ".join(f"{key.column.sql} AS sort_{number}" for number, key in enumerate(keys))
    sql = f"""
        SELECT {", ".join(columns)}, {sort} FROM {ENTRIES} JOIN ({chosen.sql}) USING (position)
        {f"WHERE {continued.sql}" if continued else ""}
        ORDER BY {", ".join(key.sql for key in keys)} LIMIT ?"""  # noqa: S608
    parameters = [*chosen.parameters, *(continued.parameters if continued else ()), limit + 1]
    found = cursor.execute(sql, parameters)
    names = [column[0] for column in found.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    more = len(rows) > limit
    rows = rows[:limit]
    values = [rows[-1][f"sort_{number}"] for number in range(len(keys))] if more else []
    return Page(rows, total, token(keys, values) if more else None)
