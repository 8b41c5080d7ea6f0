"""The checks on a dataset's data before publication, as its YAML declares them under `checks`.

Running the checks belongs to `processing.checks`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from d4c_pipeline.model.declared import Declared, VintageText


class RowChecks(Declared):
    """Allowed change in the number of rows since the newest published release, as shares of its rows (0.05 is 5 %).

    A change above a `_warning` threshold warns. A change above a `_failure` threshold fails, and nothing is published.
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
    """Allowed move of a side of the bounds since the newest published release, as a share of the bounds' longer side.

    A move above `move_warning` warns. A move above `move_failure` fails, and nothing is published.
    """

    move_warning: float = Field(default=0.01, ge=0)
    move_failure: float = Field(default=0.10, ge=0)

    @model_validator(mode="after")
    def _failure_is_beyond_warning(self) -> Self:
        if self.move_failure < self.move_warning:
            raise ValueError("move_failure is smaller than move_warning")
        return self


class DguidChecks(Declared):
    """Share of a column's DGUIDs that may be malformed, or missing from its gazetteer, before the check fails.

    A share above zero and up to this limit warns: the publisher's own mistakes are published unchanged.
    """

    malformed_failure: float = Field(default=0.0, ge=0, le=1)
    unknown_failure: float = Field(default=0.05, ge=0, le=1)


class Total(Declared):
    """A figure that the publisher states and the data must match: one of `rows`, `sum`, `count`, `distinct`.

    `column`: the output column of `sum`, `count` (values that are not null) or `distinct`. `tolerance`: the largest
    allowed difference, in the unit of the figure; sums of floating-point numbers may also differ after the ninth digit.
    `vintage`: the vintage that the figure describes, by default every vintage.
    """

    column: str | None = None
    rows: Annotated[int, Field(ge=0)] | None = None
    sum: float | None = None
    count: Annotated[int, Field(ge=0)] | None = None
    distinct: Annotated[int, Field(ge=0)] | None = None
    tolerance: float = Field(default=0.0, ge=0)
    vintage: VintageText | None = None

    @model_validator(mode="after")
    def _single_figure(self) -> Self:
        stated = [name for name in ("rows", "sum", "count", "distinct") if getattr(self, name) is not None]
        if len(stated) != 1:
            raise ValueError("a total is one of rows, sum, count and distinct")
        if (self.column is None) != (stated == ["rows"]):
            raise ValueError("a total of rows has no column, any other has one")
        return self


class Checks(Declared):
    """The checks on the data before publication; a check that fails or can't run stops the publication.

    `rows`, `bounds`: allowed changes since the newest published release of the vintage; a rolling series falls back to
    the vintage before. `totals`: figures that the data must match. `dguids`: limits for the columns under
    `processing.dguids`. `mojibake_allowed`: the number of values known to be garbled at the source; up to it the
    encoding check warns. `invalid_allowed`: the number of geometries that may stay invalid after repair; up to it the
    validity check warns. `skip`: checks that do not apply to this data.
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
            "types_plausible",
            "dguids_well_formed",
        ],
        ...,
    ] = ()
