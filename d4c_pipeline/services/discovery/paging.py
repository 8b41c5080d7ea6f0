"""Pages by the last row of the page before: tokens that hold its sort values, and the SQL that continues after it.

A token has everything that the next page needs, so it stays valid when the server restarts or the catalogue changes:
rows that come meanwhile appear if they sort after it, and none appears twice. Its values are parameters of SQL, so a
forged one can select nothing that a filter could not.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from d4c_pipeline.services.cql2 import Column, Condition, Kind
from d4c_pipeline.services.discovery.parameters import check_names, refused

_LONGEST = 4_000
_MOST_KEYS = 5


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


def orders(stated: Sequence[str], columns: Mapping[str, Column], last: str = "id") -> tuple[Order, ...]:
    """Return sort keys written as `-published` or `title`, completed by the unique column `last`.

    Raises ProblemError for unknown properties and those without an order.
    """
    sortable = {name: column for name, column in columns.items() if column.kind not in (Kind.GEOMETRY, Kind.TEXTS)}
    if len(stated) > _MOST_KEYS:
        raise refused(f"sortby has {len(stated)} properties, and {_MOST_KEYS} are allowed", "Sort by fewer")
    names = [each.lstrip("+- ") for each in stated]
    check_names(names, sortable.keys(), "property in sortby")
    found = [
        Order(name, sortable[name], each.strip().startswith("-")) for name, each in zip(names, stated, strict=True)
    ]
    return tuple(found) if last in names else (*found, Order(last, columns[last]))


def token(keys: Sequence[Order], values: Sequence[Any]) -> str:
    """Return the token of the page after a row with these sort values."""
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    text = orjson.dumps([[key.stated for key in keys], plain])
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def after(text: str, keys: Sequence[Order]) -> Condition:
    """Return the condition of rows after the one in a token. Raises ProblemError for a token of another request."""
    problem = refused("The token is not one of this request", "Follow the links 'next' from the first page on")
    if len(text) > _LONGEST or not text.isascii():
        raise problem
    try:
        found = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise problem from error
    match found:
        case [list(stated), list(values)] if stated == [key.stated for key in keys] and len(values) == len(keys):
            pass
        case _:
            raise problem
    for key, value in zip(keys, values, strict=True):
        if not _fits(value, key.column.kind):
            raise problem
    return _condition(keys, values)


def _fits(value: Any, kind: Kind) -> bool:
    if value is None:
        return True
    if kind is Kind.TRUTH:
        return isinstance(value, bool)
    if kind.is_number:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str):
        return False
    if kind.is_time:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return False
    return True


def _condition(keys: Sequence[Order], values: Sequence[Any]) -> Condition:
    choices, parameters = [], []
    for last, key in enumerate(keys):
        if values[last] is None:
            continue  # nothing sorts after NULL
        same = [f"{each.column.sql} IS NOT DISTINCT FROM {_typed(each)}" for each in keys[:last]]
        further = f"({key.column.sql} {'<' if key.descending else '>'} {_typed(key)} OR {key.column.sql} IS NULL)"
        choices.append(f"({' AND '.join([*same, further])})")
        parameters += values[: last + 1]
    return Condition(f"({' OR '.join(choices) or 'false'})", tuple(parameters))


def _typed(key: Order) -> str:
    kinds = {
        Kind.TEXT: "VARCHAR",
        Kind.TRUTH: "BOOLEAN",
        Kind.WHOLE: "BIGINT",
        Kind.DATE: "DATE",
        Kind.MOMENT: "TIMESTAMPTZ",
    }
    return f"CAST(? AS {kinds.get(key.column.kind, 'DOUBLE')})"
