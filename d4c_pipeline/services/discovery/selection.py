"""Which releases a request finds: filters, words and newest releases of datasets as one SELECT over `entries`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from d4c_pipeline.services.cql2 import Condition
from d4c_pipeline.services.discovery.entries import ENTRIES
from d4c_pipeline.services.discovery.paging import Order, Pages
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
class Search:
    """A search: what it selects, the order, the size of a page, the token of the page."""

    selection: Selection
    keys: tuple[Order, ...]
    limit: int
    token: str | None


@dataclass(frozen=True)
class Page:
    """The `positions` of a page's rows in order, the `total` of rows, and the token of the `next` page."""

    positions: list[int]
    total: int
    next: str | None


def page(
    cursor: duckdb.DuckDBPyConnection,
    selection: Selection,
    keys: Sequence[Order],
    limit: int,
    pages: Pages,
    resumed: str | None = None,
) -> Page:
    """Return a page of a selection in the order of `keys`, after the row of the token `resumed`.

    Raises ProblemError for a token that `pages` did not write for this order.
    """
    later = pages.after(resumed, keys) if resumed else None
    chosen = selection.statement()
    (total,) = cursor.execute(f"SELECT count(*) FROM ({chosen.sql})", list(chosen.parameters)).fetchall()[0]  # noqa: S608
    rows = cursor.execute(
        f"""SELECT position, {", ".join(key.column.sql for key in keys)}
            FROM {ENTRIES} JOIN (SELECT position FROM ({chosen.sql})) USING (position)
            {f"WHERE {later.sql}" if later else ""}
            ORDER BY {", ".join(key.sql for key in keys)} LIMIT ?""",  # noqa: S608 - SQL of ours
        [*chosen.parameters, *(later.parameters if later else ()), limit + 1],
    ).fetchall()
    token = pages.token(keys, rows[limit - 1][1:]) if len(rows) > limit else None
    return Page([position for position, *_ in rows[:limit]], total, token)
