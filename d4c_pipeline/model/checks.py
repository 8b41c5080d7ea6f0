"""What is asked of a dataset's data before it is published, as its YAML declares it under `checks`.

How it is found out belongs to `processing.checks`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from d4c_pipeline.model.declared import Declared, VintageText


class RowChecks(Declared):
    """How far the number of rows may move from the newest published release, as shares of its rows (0.05 is 5 %).

    Above a `_warning` the check warns, above a `_failure` it fails and nothing is published.
    """

    shrink_warning: float = Field(default=0.05, ge=0, le=1)
    shrink_failure: float = Field(default=0.20, ge=0, le=1)
    growth_warning: float = Field(default=0.25, ge=0)
    growth_failure: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _failure_is_beyond_warning(self) -> Self:
        if self.shrink_failure < self.shrink_warning or self.growth_failure < self.growth_warning:
            raise ValueError("a failure threshold is smaller than its warning threshold")
        return self


class BoundsChecks(Declared):
    """How far a side of the bounds may move from the newest published release, as a share of their longer side.

    Above `move_warning` the check warns, above `move_failure` it fails and nothing is published.
    """

    move_warning: float = Field(default=0.01, ge=0)
    move_failure: float = Field(default=0.10, ge=0)

    @model_validator(mode="after")
    def _failure_is_beyond_warning(self) -> Self:
        if self.move_failure < self.move_warning:
            raise ValueError("move_failure is smaller than move_warning")
        return self


class DguidChecks(Declared):
    """Which share of the DGUIDs of a column may be malformed, or unknown to its gazetteer, before the check fails.

    Up to the share, but above zero, the check warns: publishers' own mistakes are published as they are.
    """

    malformed_failure: float = Field(default=0.0, ge=0, le=1)
    unknown_failure: float = Field(default=0.05, ge=0, le=1)


class Total(Declared):
    """A figure that the publisher of the data states and the data must give: one of `rows`, `sum`, `count`, `distinct`.

    `column`: the output column of a `sum`, of a `count` (values that are not null) or of `distinct` ones. `tolerance`:
    how far the actual figure may lie from it, in its own unit; sums of floating-point numbers besides to nine digits.
    `vintage`: the only one that the figure is of; left out, it holds for all.
    """

    column: str | None = None
    rows: Annotated[int, Field(ge=0)] | None = None
    sum: float | None = None
    count: Annotated[int, Field(ge=0)] | None = None
    distinct: Annotated[int, Field(ge=0)] | None = None
    tolerance: float = Field(default=0.0, ge=0)
    vintage: VintageText | None = None

    @model_validator(mode="after")
    def _one_figure(self) -> Self:
        stated = [name for name in ("rows", "sum", "count", "distinct") if getattr(self, name) is not None]
        if len(stated) != 1:
            raise ValueError("a total is one of rows, sum, count and distinct")
        if (self.column is None) != (stated == ["rows"]):
            raise ValueError("a total of rows has no column, any other has one")
        return self


class Checks(Declared):
    """What is asked of the data before it is published; a check that fails, or can't run, stops the publication.

    `rows`, `bounds`: against the newest published release (of the vintage; in a rolling series, else of the vintage
    before). `totals`: figures that the data must give. `dguids`: of the columns under `processing.dguids`.
    `mojibake_allowed`: so many values are known to be garbled at the source; up to it the check on encoding warns.
    `invalid_allowed`: so many geometries may be invalid (what the repair could not mend); up to it that check warns.
    `skip`: checks that make no sense for this data.
    """

    rows: RowChecks = RowChecks()
    bounds: BoundsChecks = BoundsChecks()
    totals: tuple[Total, ...] = ()
    dguids: DguidChecks = DguidChecks()
    mojibake_allowed: int = Field(default=0, ge=0)
    invalid_allowed: int = Field(default=0, ge=0)
    skip: tuple[
        Literal[
            "rows_against_previous",
            "bounds_against_previous",
            "geometry_valid",
            "positions_plausible",
            "encoding_sane",
            "dguids_well_formed",
        ],
        ...,
    ] = ()
