"""Corrections of values at the source, as a dataset's YAML declares them under `processing.corrections`.

Applying them belongs to `processing.corrections`, their statement in a release to `metadata.readme`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, Field

from d4c_pipeline.model.declared import Bilingual, Declared, VintageText
from d4c_pipeline.model.vintage import Vintage


def _text_of_value(value: object) -> object:
    # YAML reads unquoted numbers, dates and booleans as such; text is compared with every type of column.
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float | date) else value


Value = Annotated[str, BeforeValidator(_text_of_value)]


class Correction(Declared):
    """A correction of a value that is wrong at the source.

    `where`: columns of the source with the values that select the rows; `null` selects a missing value. `column`: the
    column of the source to correct. `old`: its value at the source; `new`: the value to publish; `null` is a missing
    value. `rows`: the number of rows that `where` selects. `why`: the reason, published with every release.
    `reported`: the day on which the source was told, `null` if it was not. `vintages`: by default all. Values are those
    before `nulls`, `columns` and SQL. The build stops when the source has changed: when `where` selects another number
    of rows, or one of them has another value than `old`.
    """

    where: dict[str, Value | None] = Field(min_length=1)
    column: str = Field(min_length=1)
    old: Value | None
    new: Value | None
    why: Bilingual
    reported: date | None
    rows: int = Field(default=1, ge=1)
    vintages: tuple[VintageText, ...] = ()

    @property
    def place(self) -> str:
        """The corrected value in words, for messages and documents."""
        selected = ", ".join(f"{name} {shown(value)}" for name, value in self.where.items())
        return f"{self.column} of {selected}"


def shown(value: object) -> str:
    """Return a value in words."""
    return "null" if value is None else f"'{value}'"


def of_vintage(corrections: Iterable[Correction], vintage: Vintage) -> tuple[Correction, ...]:
    """Return the corrections that apply to a vintage, in their order."""
    return tuple(each for each in corrections if not each.vintages or str(vintage) in each.vintages)
