"""The reasons for a version as ledger, items and catalogue record them: a code with arguments, and back.

`model.differences` has the types and their English sentences; `portal.words` has the wording for readers. A release
that was published before codes existed has sentences only: `of_sentence` recognizes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from d4c_pipeline.model.differences import (
    Adopted,
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
    Stated,
    ValuesChanged,
)

Reason = Difference | BumpRaised | Adopted | Stated

CODES: Mapping[str, type[Any]] = {
    "first_release": NothingPublished,
    "column_removed": ColumnRemoved,
    "column_renamed": ColumnRenamed,
    "column_retyped": ColumnRetyped,
    "column_added": ColumnAdded,
    "crs_changed": CrsChanged,
    "geometry_types_changed": GeometryTypesChanged,
    "key_changed": KeyChanged,
    "rows_removed": RowsRemoved,
    "rows_added": RowsAdded,
    "rows_replaced": RowsReplaced,
    "values_changed": ValuesChanged,
    "partition_changed": PartitionChanged,
    "derived_file_added": DerivedFileAdded,
    "derived_file_removed": DerivedFileRemoved,
    "derived_file_changed": DerivedFileOptionsChanged,
    "bump_raised": BumpRaised,
    "adopted": Adopted,
    "stated": Stated,
}
"""Code -> type; the fields of the type are the arguments. A published code never changes."""
_NAMES = {kind: code for code, kind in CODES.items()}


def code_of(reason: Reason) -> str:
    """Return the code of a reason."""
    return _NAMES[type(reason)]


def to_json(reasons: Sequence[Reason]) -> list[dict[str, Any]]:
    """Return reasons ready for JSON: `{"code": ..., "arguments": {...}}` each."""
    return [{"code": code_of(reason), "arguments": asdict(reason)} for reason in reasons]


def to_item(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    """Return reasons for a STAC item and its row in Parquet: the arguments as JSON, because they differ by code."""
    return [{**each, "arguments": json.dumps(each["arguments"], ensure_ascii=False)} for each in to_json(reasons)]


def from_json(recorded: Sequence[Any]) -> tuple[Reason, ...]:
    """Read what `to_json` or `to_item` returned, or the sentences of an earlier form.

    Raises ValueError for a code or arguments that this version does not have.
    """
    return tuple(of_sentence(each) if isinstance(each, str) else _read(each) for each in recorded)


def stated_in(properties: Mapping[str, Any]) -> tuple[Reason, ...]:
    """Return the reasons in the properties of an item, also of an item of an earlier or later form."""
    sentences: Sequence[str] = properties.get("d4c:change_reasons") or ()
    try:
        return from_json(properties.get("d4c:changes") or sentences)
    except ValueError:  # written by a later version: its sentences are still right
        return tuple(map(of_sentence, sentences))


def of_sentence(text: str) -> Reason:
    """Return the reason that an English sentence states, `Stated` if it has none of the known forms."""
    for kind, pattern, read in _SENTENCES:
        if (found := re.fullmatch(pattern, text, re.DOTALL)) is not None:
            given = {name: value for name, value in found.groupdict().items() if value is not None}
            values = {name: read[name](value) if name in read else value for name, value in given.items()}
            return kind(**values)
    return Stated(text)


def _read(recorded: Mapping[str, Any]) -> Reason:
    kind = CODES.get(recorded["code"])
    if kind is None:
        raise ValueError(f"unknown reason code {recorded['code']!r}")
    written = recorded["arguments"]
    arguments: dict[str, Any] = json.loads(written) if isinstance(written, str) else written
    try:
        return kind(**{name: _value(value) for name, value in arguments.items()})
    except TypeError as error:
        raise ValueError(f"reason {recorded['code']} has other arguments: {error}") from error


def _value(recorded: str | float | list[str] | None) -> str | float | tuple[str, ...] | None:
    return tuple(recorded) if isinstance(recorded, list) else recorded


def _none(text: str) -> str | None:
    return None if text == "none" else text


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(text.split(", "))


def _number(text: str) -> int:
    return int(text.replace(",", ""))


_NAME, _COUNT = "(?P<name>.+)", r"(?P<count>[\d,]+)"
_EXAMPLE = r"(?:, e\.g\. key (?P<example>.+))?"
_BEFORE_NOW = "from (?P<before>.+) to (?P<now>.+)"
_SUFFIX = r"(?:derived file )?(?P<suffix>\S+)"
_NUMBERS = {"count": _number, "files": _number}
_SENTENCES: Sequence[tuple[type[Any], str, Mapping[str, Callable[[str], Any]]]] = (
    (NothingPublished, "first release", {}),
    (ColumnRemoved, f"column {_NAME} removed", {}),
    (ColumnRenamed, "column (?P<before>.+) renamed to (?P<now>.+)", {}),
    (ColumnRetyped, f"type of column {_NAME} changed {_BEFORE_NOW}", {}),
    (ColumnAdded, f"column {_NAME} added", {}),
    (CrsChanged, f"CRS changed {_BEFORE_NOW}", {"before": _none, "now": _none}),
    (GeometryTypesChanged, f"geometry type changed {_BEFORE_NOW}", {"before": _names, "now": _names}),
    (KeyChanged, f"key columns changed {_BEFORE_NOW}", {"before": _names, "now": _names}),
    (RowsRemoved, f"{_COUNT} rows? removed{_EXAMPLE}", _NUMBERS),
    (RowsAdded, f"{_COUNT} rows? added{_EXAMPLE}", _NUMBERS),
    (
        RowsReplaced,
        r"(?P<before>[\d,]+) rows? gone or changed, (?P<now>[\d,]+) new or changed",
        {"before": _number, "now": _number},
    ),
    (ValuesChanged, f"{_COUNT} values? of (?P<column>.+?) changed{_EXAMPLE}", _NUMBERS),
    (PartitionChanged, r"the data is cut (?P<now>.+), (?P<files>\d+) files", _NUMBERS),
    (PartitionChanged, "the data is one file(?P<now>)(?P<files>) again", {"now": lambda _: None, "files": lambda _: 1}),
    (DerivedFileAdded, f"{_SUFFIX} is made as well", {}),
    (DerivedFileRemoved, f"{_SUFFIX} is no longer made", {}),
    (DerivedFileOptionsChanged, f"{_SUFFIX} is made otherwise", {}),
    (BumpRaised, r"raised to (?P<bump>\w+) by the operator", {}),
    (Adopted, "adopted from (?P<archive>.+)", {}),
)
"""Type, form of its sentence with the arguments as named groups, and how an argument is read that is no text."""
