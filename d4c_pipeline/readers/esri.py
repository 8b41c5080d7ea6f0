"""Parts of Esri JSON that GDAL ignores: labels of coded values and subtypes, UTC moments, numbers of more than 32 bits.

GDAL reads the rows (`vector`), this module the head of the file before them. Format:
https://developers.arcgis.com/rest/services-reference/enterprise/feature-set.
"""

# pyarrow.compute creates its functions at import, where type checkers do not see them.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import json
import mmap
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.readers import bounded
from d4c_pipeline.tables.native import Native, exactly_unique

Document = dict[str, Any]
_HEAD = 8 << 20  # bytes; servers and `sources.arcgis_pages` write the fields, with large domains, before the rows
_BEGINS = re.compile(rb'"features"\s*:\s*(?=\[)')
_SIGNS = (b'"esriGeometry', b'"esriFieldType', b'"objectIdFieldName"')
_WHOLE = frozenset({"esriFieldTypeOID", "esriFieldTypeInteger", "esriFieldTypeSmallInteger"})
_MOST = 1 << 31


def is_esri(path: Path) -> bool:
    """Return whether a JSON file is an Esri feature set."""
    with path.open("rb") as handle:
        start = handle.read(1 << 16)
    return b'"features"' in start and any(sign in start for sign in _SIGNS)


@dataclass(frozen=True)
class _Head:
    """The document before the rows, which begin at `offset`."""

    document: Document
    offset: int

    @property
    def fields(self) -> list[Document]:
        return cast("list[Document]", self.document.get("fields") or [])


def _head(path: Path) -> _Head | None:
    """Return the head; None if no rows begin within `_HEAD` bytes, or the text before them is not an object."""
    with path.open("rb") as handle:
        start = handle.read(_HEAD)
    found = _BEGINS.search(start)
    if found is None:
        return None
    try:
        document = json.loads(start[: found.end()].decode("utf-8-sig", errors="replace") + "[]}")
    except ValueError:
        return None
    return _Head(document, found.end()) if isinstance(document, dict) else None


def with_wide_numbers(path: Path, folder: Callable[[], Path]) -> tuple[Path, list[str]]:
    """Return `path`, or a copy in `folder()` whose head declares 64 bits for fields that need them, and these fields.

    GDAL silently truncates integers and object ids to 32 bits. Raises DataError for numbers of more than 64 bits.
    """
    head = _head(path)
    names = [] if head is None else [str(each["name"]) for each in head.fields if each.get("type") in _WHOLE]
    if head is None or not names:
        return path, []
    bounded.check_columns(path.name, len(head.fields), Limits.from_environment())
    quoted = {_quoted(name) for name in names}
    # The pattern matches any name: an expression of thousands of names would try each name at every quote.
    long = re.compile(rb'"((?:[^"\\]|\\.)*+)"\s*:\s*(-?[0-9]{10,})\b')
    wide: dict[str, int] = {}
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for found in long.finditer(data, head.offset):
            if found[1] not in quoted:
                continue
            name, number = json.loads(b'"' + found[1] + b'"'), abs(int(found[2]))
            if number >= _MOST:
                wide[name] = max(number, wide.get(name, 0))
    if not wide:
        return path, []
    if over := [name for name, number in wide.items() if number >= 1 << 63]:
        raise DataError(
            f"Column {over[0]} of {path.name} has a number of more than 64 bits ({wide[over[0]]})",
            f"Declare processing.drop: [{over[0]}], or have the publisher deliver it as text",
        )
    # GDAL truncates the field that is declared as the object id, whatever its type.
    document = {key: value for key, value in head.document.items() if key not in ("features", "objectIdFieldName")}
    document["fields"] = [
        {**each, "type": "esriFieldTypeBigInteger"}
        if each.get("name") in wide or each.get("type") == "esriFieldTypeOID"
        else each
        for each in head.fields
    ]
    copy = folder() / path.name
    with path.open("rb") as source, copy.open("wb") as sink:
        source.seek(head.offset)
        sink.write(json.dumps(document, ensure_ascii=False).encode()[:-1] + b', "features": ')
        shutil.copyfileobj(source, sink, 1 << 20)
    return copy, sorted(wide)


def labelled(native: Native, path: Path) -> Native:
    """Return `native`, read from `path`, with a column of labels after each column of coded values; moments are UTC.

    A column of labels is named `<column>_label`. `report["labels"]` maps the column of codes to the column of labels.
    `report["codes_without_label"]` counts rows whose code is not in the domain.
    """
    head = _head(path)
    if head is None:
        return native
    names = native.attributes.names
    labels = {name: each for name, each in _labels(head).items() if name in names}
    local = head.document.get("datesInUnknownTimezone") is True
    dates = (
        {str(each["name"]) for each in head.fields if each.get("type") == "esriFieldTypeDate"} if not local else set()
    )
    fields: list[pa.Field] = []
    for field in native.attributes:
        moment = field.name in dates and pa.types.is_timestamp(field.type) and field.type.tz is None
        fields.append(field.with_type(pa.timestamp(field.type.unit, "UTC")) if moment else field)
        if field.name in labels:
            fields.append(pa.field(f"{field.name}_label", pa.string()))
    if fields == list(native.attributes):
        return native
    unique = exactly_unique([field.name for field in fields])
    attributes = pa.schema([field.with_name(name) for field, name in zip(fields, unique, strict=True)])
    label_columns = {
        field.name: unique[at + 1] for at, field in enumerate(fields) if field.name in labels and at + 1 < len(unique)
    }
    if label_columns:
        native.report["labels"] = label_columns
    made = replace(native, attributes=attributes)

    def batches() -> Iterator[pa.RecordBatch]:
        missing: dict[str, int] = {}
        for batch in native.batches:
            columns: list[pa.Array] = []
            for name in names:
                column = batch.column(names.index(name))
                kind = attributes.field(len(columns)).type
                columns.append(column if column.type == kind else column.cast(kind))
                if name in labels:
                    found = labels[name].of(column, batch, names)
                    missing[name] = missing.get(name, 0) + found.null_count - column.null_count
                    columns.append(found)
            columns += batch.columns[len(names) :]
            yield pa.record_batch(columns, schema=made.schema)
        if short := {name: count for name, count in missing.items() if count}:
            native.report["codes_without_label"] = short

    return replace(made, batches=batches())


@dataclass(frozen=True)
class _Labels:
    """Code -> label, and the labels of each subtype: value of `type_field` -> code -> label."""

    own: Mapping[Any, str]
    by_type: Mapping[Any, Mapping[Any, str]]
    type_field: str

    def of(self, codes: pa.Array, batch: pa.RecordBatch, names: list[str]) -> pa.Array:
        found = _mapped(codes, self.own)
        for value, labels in self.by_type.items() if self.type_field in names else ():
            kind = batch.column(names.index(self.type_field))
            has_subtype = pc.fill_null(pc.equal(kind.cast(pa.string()), pa.scalar(str(value))), False)
            found = pc.if_else(has_subtype, _mapped(codes, labels), found)
        return found


def _mapped(codes: pa.Array, labels: Mapping[Any, str]) -> pa.Array:
    # Codes are compared as text: servers write the codes of a domain as numbers or as text, for any type of field.
    at = pc.index_in(_texts(codes), value_set=pa.array([_text(code) for code in labels], pa.string()))
    return pa.array(list(labels.values()), pa.string()).take(at)


def _texts(codes: pa.Array) -> pa.Array:
    if pa.types.is_floating(codes.type):
        return pa.array([None if value is None else _text(value) for value in codes.to_pylist()], pa.string())
    return codes.cast(pa.string())


def _text(code: object) -> str:
    return str(int(code)) if isinstance(code, float) and code.is_integer() else str(code)


def _labels(head: _Head) -> dict[str, _Labels]:
    """Return the labels of each field that has a label which differs from its code."""
    type_field = str(head.document.get("typeIdField") or "")
    types = cast("list[Document]", head.document.get("types") or [])
    there = {str(each.get("name")) for each in head.fields}
    out: dict[str, _Labels] = {}
    for field in head.fields:
        name = str(field.get("name"))
        own = _coded(field.get("domain"))
        if not own and name == type_field:
            own = {each["id"]: str(each["name"]) for each in types if each.get("id") is not None and each.get("name")}
        by_type: dict[Any, Mapping[Any, str]] = {}
        for each in types if type_field in there else []:
            domains = cast("Document", each.get("domains") or {})
            if coded := _coded(domains.get(name)):
                by_type[each.get("id")] = coded
        every = [*own.items(), *(pair for each in by_type.values() for pair in each.items())]
        if any(_text(code) != label for code, label in every):
            out[name] = _Labels(own, by_type, type_field)
    return out


def _coded(domain: object) -> dict[Any, str]:
    """Return code -> label of a domain of coded values; empty for a range, an inherited domain, or no domain."""
    if not isinstance(domain, dict) or cast("Document", domain).get("type") != "codedValue":
        return {}
    values = cast("list[Document]", cast("Document", domain).get("codedValues") or [])
    return {each["code"]: str(each["name"]) for each in values if each.get("code") is not None and each.get("name")}


def _quoted(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False)[1:-1].encode()
