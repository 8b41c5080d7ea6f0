"""The differences between a new build and an earlier release: a type for each, with the English sentence as its `str`.

`model.reasons` has their recorded form. `processing.compare` and `chain.derived_changes` find differences;
`model.bumps` decides which version follows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ColumnRemoved:
    """A column of the release is missing."""

    name: str

    def __str__(self) -> str:
        return f"column {self.name} removed"


@dataclass(frozen=True)
class ColumnRenamed:
    """A column has another name, with the same source column and type."""

    before: str
    now: str

    def __str__(self) -> str:
        return f"column {self.before} renamed to {self.now}"


@dataclass(frozen=True)
class ColumnRetyped:
    """A column has another type; `before` and `now` are Arrow's names of types."""

    name: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"type of column {self.name} changed from {self.before} to {self.now}"


@dataclass(frozen=True)
class ColumnAdded:
    """A column is new."""

    name: str

    def __str__(self) -> str:
        return f"column {self.name} added"


@dataclass(frozen=True)
class CrsChanged:
    """The geometry has another CRS; None means no geometry."""

    before: str | None
    now: str | None

    def __str__(self) -> str:
        return f"CRS changed from {self.before or 'none'} to {self.now or 'none'}"


@dataclass(frozen=True)
class GeometryTypesChanged:
    """Other geometry types occur, by GeoParquet's names."""

    before: tuple[str, ...]
    now: tuple[str, ...]

    def __str__(self) -> str:
        return f"geometry type changed from {_names(self.before)} to {_names(self.now)}"


@dataclass(frozen=True)
class KeyChanged:
    """Other columns form the key."""

    before: tuple[str, ...]
    now: tuple[str, ...]

    def __str__(self) -> str:
        return f"key columns changed from {_names(self.before)} to {_names(self.now)}"


@dataclass(frozen=True)
class RowsRemoved:
    """Rows are missing; `example` is the key of one of them, None without a key."""

    count: int
    example: str | None = None

    def __str__(self) -> str:
        return f"{_rows(self.count)} removed{_example(self.example)}"


@dataclass(frozen=True)
class RowsAdded:
    """Rows are new; `earlier_stay`: every row of the release is still present, compared by key if there is one."""

    count: int
    example: str | None = None
    earlier_stay: bool = True

    def __str__(self) -> str:
        return f"{_rows(self.count)} added{_example(self.example)}"


@dataclass(frozen=True)
class RowsReplaced:
    """Without a key that identifies them, rows of the release are missing and others are new."""

    before: int
    now: int

    def __str__(self) -> str:
        return f"{_rows(self.before)} gone or changed, {self.now} new or changed"


@dataclass(frozen=True)
class ValuesChanged:
    """Values of a column changed in rows with the same key; `example` is the key of one of these rows."""

    column: str
    count: int
    example: str | None = None

    def __str__(self) -> str:
        return f"{self.count} value{'s' if self.count > 1 else ''} of {self.column} changed{_example(self.example)}"


@dataclass(frozen=True)
class PartitionChanged:
    """The same rows are divided into files differently; `now` describes the partition, None for one file."""

    now: str | None
    files: int

    def __str__(self) -> str:
        return f"the data is cut {self.now}, {self.files} files" if self.now else "the data is one file again"


@dataclass(frozen=True)
class DerivedFileAdded:
    """A derived file is new; `suffix` is the end of its name."""

    suffix: str

    def __str__(self) -> str:
        return f"derived file {self.suffix} is made as well"


@dataclass(frozen=True)
class DerivedFileRemoved:
    """A derived file of the release is no longer made."""

    suffix: str

    def __str__(self) -> str:
        return f"derived file {self.suffix} is no longer made"


@dataclass(frozen=True)
class DerivedFileOptionsChanged:
    """A derived file has other bytes because the dataset declares other options."""

    suffix: str

    def __str__(self) -> str:
        return f"derived file {self.suffix} is made otherwise"


@dataclass(frozen=True)
class NothingPublished:
    """The vintage has no published release."""

    def __str__(self) -> str:
        return "first release"


@dataclass(frozen=True)
class BumpRaised:
    """An operator raised the bump to `bump`, the name of a `model.version.Bump`. No difference of the data."""

    bump: str

    def __str__(self) -> str:
        return f"raised to {self.bump} by the operator"


@dataclass(frozen=True)
class Adopted:
    """The release was found in an archive, whose item does not state what changed."""

    archive: str

    def __str__(self) -> str:
        return f"adopted from {self.archive}"


@dataclass(frozen=True)
class Stated:
    """A recorded sentence of another form, as it is."""

    text: str

    def __str__(self) -> str:
        return self.text


Difference = (
    ColumnRemoved
    | ColumnRenamed
    | ColumnRetyped
    | ColumnAdded
    | CrsChanged
    | GeometryTypesChanged
    | KeyChanged
    | RowsRemoved
    | RowsAdded
    | RowsReplaced
    | ValuesChanged
    | PartitionChanged
    | DerivedFileAdded
    | DerivedFileRemoved
    | DerivedFileOptionsChanged
    | NothingPublished
)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _rows(count: int) -> str:
    return f"{count} row{'s' if count != 1 else ''}"


def _example(key: str | None) -> str:
    return "" if key is None else f", e.g. key {key}"
