"""The version rule: which bump each difference between a new build and the newest published release requires.

| difference | bump |
| --- | --- |
| none (other compression, row groups, column order or descriptions are no difference) | none: no release, no DOI |
| a column removed, renamed or of another type; CRS, geometry type or key columns changed | MAJOR |
| a column added; rows added while all earlier keys stay | MINOR |
| values changed, or rows removed, under the same schema | PATCH |
| the same rows in one file instead of parts, or cut into parts in another way | PATCH |
| a derived file added, removed, or made with other options | PATCH |

The largest bump wins. docs/versions.md has the same table. Finding differences belongs to `processing.compare` and
`chain.derived_changes`, the arithmetic of versions to `model.version`.
"""

from __future__ import annotations

from collections.abc import Iterable

from d4c_pipeline.model.differences import (
    BumpRaised,
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
from d4c_pipeline.model.release import Change
from d4c_pipeline.model.version import Bump


def bump_of(difference: Difference) -> Bump:
    """Return the bump that one difference requires."""
    match difference:
        case ColumnRemoved() | ColumnRenamed() | ColumnRetyped():
            return Bump.MAJOR
        case CrsChanged() | GeometryTypesChanged() | KeyChanged():
            return Bump.MAJOR
        case ColumnAdded() | RowsAdded(earlier_stay=True) | NothingPublished():
            return Bump.MINOR
        case RowsRemoved() | RowsAdded() | RowsReplaced() | ValuesChanged():
            return Bump.PATCH
        case PartitionChanged() | DerivedFileAdded() | DerivedFileRemoved() | DerivedFileOptionsChanged():
            return Bump.PATCH


def change_of(differences: Iterable[Difference], at_least: Bump = Bump.NONE) -> Change:
    """Return the largest bump of `differences` with the reasons, those of the largest bumps first.

    `at_least` is the smallest bump that an operator accepts. Where it raises the bump of a later release, the reasons
    say so.
    """
    found = sorted(differences, key=bump_of, reverse=True)  # stable: equal bumps keep the order of the differences
    largest = Bump.largest(map(bump_of, found))
    if largest >= at_least:
        return Change(largest, tuple(found))
    if NothingPublished() in found:
        return Change(at_least, tuple(found))
    return Change(at_least, (*found, BumpRaised(at_least.name)))
