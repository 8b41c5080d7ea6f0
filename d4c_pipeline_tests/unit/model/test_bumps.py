"""Which bump a difference requires, and the reasons in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.model import bumps
from d4c_pipeline.model.bumps import bump_of, change_of
from d4c_pipeline.model.differences import (
    ColumnAdded,
    ColumnRemoved,
    ColumnRenamed,
    ColumnRetyped,
    CrsChanged,
    DerivedFileAdded,
    DerivedFileOptionsChanged,
    DerivedFileRemoved,
    Difference,
    GeometryTypesChanged,
    KeyChanged,
    NothingPublished,
    PartitionChanged,
    RowsAdded,
    RowsRemoved,
    RowsReplaced,
    ValuesChanged,
)
from d4c_pipeline.model.version import Bump

RULES: list[tuple[Difference, Bump, str]] = [
    (ColumnRemoved("a"), Bump.MAJOR, "column a removed"),
    (ColumnRenamed("a", "b"), Bump.MAJOR, "column a renamed to b"),
    (ColumnRetyped("a", "int32", "string"), Bump.MAJOR, "type of column a changed from int32 to string"),
    (CrsChanged("EPSG:3347", None), Bump.MAJOR, "CRS changed from EPSG:3347 to none"),
    (GeometryTypesChanged(("Point",), ()), Bump.MAJOR, "geometry type changed from Point to none"),
    (KeyChanged((), ("a", "b")), Bump.MAJOR, "key columns changed from none to a, b"),
    (ColumnAdded("a"), Bump.MINOR, "column a added"),
    (RowsAdded(2, "7"), Bump.MINOR, "2 rows added, e.g. key 7"),
    (RowsAdded(1), Bump.MINOR, "1 row added"),
    (RowsAdded(1, "7", earlier_stay=False), Bump.PATCH, "1 row added, e.g. key 7"),
    (RowsRemoved(1, "7"), Bump.PATCH, "1 row removed, e.g. key 7"),
    (RowsReplaced(2, 1), Bump.PATCH, "2 rows gone or changed, 1 new or changed"),
    (ValuesChanged("v", 2, "7"), Bump.PATCH, "2 values of v changed, e.g. key 7"),
    (PartitionChanged("by pruid", 13), Bump.PATCH, "the data is cut by pruid, 13 files"),
    (PartitionChanged(None, 1), Bump.PATCH, "the data is one file again"),
    (DerivedFileAdded(".fgb"), Bump.PATCH, "derived file .fgb is made as well"),
    (DerivedFileRemoved(".fgb"), Bump.PATCH, "derived file .fgb is no longer made"),
    (DerivedFileOptionsChanged(".fgb"), Bump.PATCH, "derived file .fgb is made otherwise"),
    (NothingPublished(), Bump.MINOR, "first release"),
]


@pytest.mark.parametrize(("difference", "bump", "reason"), RULES)
def test_the_bump_and_the_words_of_a_difference(difference: Difference, bump: Bump, reason: str) -> None:
    assert (bump_of(difference), str(difference)) == (bump, reason)


def test_the_largest_bump_wins_and_its_reasons_come_first() -> None:
    change = change_of([ValuesChanged("v", 1, "7"), ColumnAdded("b"), ColumnRemoved("a"), ColumnAdded("a2")])

    assert change.bump is Bump.MAJOR
    assert change.reasons == (
        "column a removed",
        "column b added",
        "column a2 added",
        "1 value of v changed, e.g. key 7",
    )


def test_without_differences_there_is_no_bump() -> None:
    assert (change_of([]).bump, change_of([]).reasons) == (Bump.NONE, ())


def test_an_operator_raises_a_bump_and_never_lowers_it() -> None:
    raised = change_of([ColumnAdded("a")], Bump.MAJOR)
    assert (raised.bump, raised.reasons) == (Bump.MAJOR, ("column a added", "raised to MAJOR by the operator"))
    kept = change_of([ColumnAdded("a")], Bump.PATCH)
    assert (kept.bump, kept.reasons) == (Bump.MINOR, ("column a added",))
    assert change_of([], Bump.PATCH).reasons == ("raised to PATCH by the operator",)
    assert change_of([NothingPublished()], Bump.MAJOR).reasons == ("first release",)


def test_the_documentation_has_the_table_of_the_rule() -> None:
    documented = Path(__file__).parents[3].joinpath("docs", "versions.md").read_text("utf-8")
    rows = [line for line in (bumps.__doc__ or "").splitlines() if line.startswith("|")]
    assert len(rows) == 8
    assert "\n".join(rows) in documented
