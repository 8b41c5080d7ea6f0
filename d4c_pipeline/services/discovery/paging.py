"""Pages by the last row of the page before: signed tokens with its sort values, and the SQL that continues after it.

A token has everything that the next page needs, so it stays valid when the server restarts or the catalogue changes:
rows that come meanwhile appear if they sort after it, and none appears twice. Servers behind one address share the key
of the services (`services.signing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from d4c_pipeline.services.cql2 import Column, Condition, Kind
from d4c_pipeline.services.discovery.parameters import check_names, refused

_LONGEST = 4_000
_MOST_KEYS = 5
_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.TRUTH: "BOOLEAN",
    Kind.WHOLE: "BIGINT",
    Kind.DATE: "DATE",
    Kind.MOMENT: "TIMESTAMPTZ",
}


@dataclass(frozen=True)
class Order:
    """One sort key: a property with its column. NULL sorts last in both directions."""

    name: str
    column: Column
    descending: bool = False

    @property
    def sql(self) -> str:
        """The part of ORDER BY."""
        return f"{self.column.sql} {'DESC' if self.descending else 'ASC'} NULLS LAST"

    @property
    def stated(self) -> str:
        """The key as requests write it."""
        return f"{'-' if self.descending else '+'}{self.name}"

    @property
    def parameter(self) -> str:
        """A parameter of SQL with the type of the column."""
        return f"CAST(? AS {_TYPES.get(self.column.kind, 'DOUBLE')})"


def sortables(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Return the columns that have an order."""
    return {name: each for name, each in columns.items() if each.kind not in (Kind.GEOMETRY, Kind.TEXTS)}


def orders(stated: Sequence[str], columns: Mapping[str, Column], last: str = "id") -> tuple[Order, ...]:
    """Return sort keys written as `-published` or `title`, completed by the unique column `last`.

    Raises ProblemError for unknown properties and those without an order.
    """
    known = sortables(columns)
    if len(stated) > _MOST_KEYS:
        raise refused(f"sortby has {len(stated)} properties, and {_MOST_KEYS} are allowed", "Sort by fewer")
    # A plus sign in a query stands for a space.
    names = [each.strip().lstrip("+-").removeprefix("properties.") for each in stated]
    check_names(names, known.keys(), "property in sortby")
    found = [Order(name, known[name], each.strip().startswith("-")) for name, each in zip(names, stated, strict=True)]
    return tuple(found) if last in names else (*found, Order(last, columns[last]))


class Pages:
    """Writes and reads the tokens of pages that `key` signs."""

    def __init__(self, key: str) -> None:
        self._signed = URLSafeSerializer(key, salt="d4c-page")

    def token(self, keys: Sequence[Order], values: Sequence[Any]) -> str:
        """Return the token of the page after a row with these sort values."""
        plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
        return str(self._signed.dumps([[key.stated for key in keys], plain]))

    def after(self, token: str, keys: Sequence[Order]) -> Condition:
        """Return the condition of rows after the row of a token.

        Raises ProblemError for a token of another server, or of a request with another order.
        """
        problem = refused("The token is not one of this request", "Follow the links 'next' from the first page on")
        if len(token) > _LONGEST:
            raise problem
        try:
            stated, values = self._signed.loads(token)
        except BadData as error:
            raise problem from error
        if stated != [key.stated for key in keys]:
            raise problem
        return _later(keys, values)


def _later(keys: Sequence[Order], values: Sequence[Any]) -> Condition:
    choices: list[str] = []
    parameters: list[Any] = []
    for last, key in enumerate(keys):
        if values[last] is None:
            continue  # nothing sorts after NULL
        same = [f"{each.column.sql} IS NOT DISTINCT FROM {each.parameter}" for each in keys[:last]]
        further = f"({key.column.sql} {'<' if key.descending else '>'} {key.parameter} OR {key.column.sql} IS NULL)"
        choices.append(f"({' AND '.join([*same, further])})")
        parameters += values[: last + 1]
    return Condition(f"({' OR '.join(choices) or 'false'})", tuple(parameters))
