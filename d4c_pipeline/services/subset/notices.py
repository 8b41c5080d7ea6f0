"""States which values a format can't hold as they are: no format changes a value without a notice.

The conversions themselves belong to `formats` and to `processing.derived.finished`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from d4c_pipeline.processing.derived.finished import for_csv, for_desktop

_DESKTOP = ("gpkg", "flatgeobuf")


def notices(format_name: str, schema: pa.Schema) -> tuple[str, ...]:
    """Return a sentence for each column of `schema` that a format holds in another type."""
    found = [sentence for field in schema if (sentence := _notice(format_name, field)) is not None]
    return tuple(found)


def geometry_notices(format_name: str, name: str, types: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence if a format can't hold the geometry column `name` of `types` (GeoParquet's names) as it is."""
    if format_name == "flatgeobuf" and len(types) > 1 and any(each.endswith(" Z") for each in types):
        return (f"{name}: FlatGeobuf has no third coordinate when geometries are of several types",)
    return ()


def _notice(format_name: str, field: pa.Field) -> str | None:
    kind = field.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns" and kind.tz:
        return f"{field.name}: times are cut to the microsecond"
    if format_name in _DESKTOP:
        stored = for_desktop(kind)[0]
        if pa.types.is_timestamp(kind):
            if kind.tz and kind.tz != "UTC":
                return f"{field.name}: times are in UTC, to the millisecond; the data has them in {kind.tz}"
            return None if kind.unit in ("s", "ms") else f"{field.name}: times are cut to the millisecond"
        if stored != kind and not _is_wider(kind, stored):
            return f"{field.name}: {kind} is stored as {stored}"
        if format_name == "gpkg" and pa.types.is_unsigned_integer(kind) and kind.bit_width == 32:
            return f"{field.name}: {kind} is stored as int64"
        if format_name == "gpkg" and pa.types.is_floating(kind):
            return f"{field.name}: SQLite has no NaN; it is null"
        return None
    if format_name == "geojson":
        if pa.types.is_decimal(kind) or _is_binary(kind) or pa.types.is_map(kind):
            return f"{field.name}: {kind} is stored as text"
        if pa.types.is_integer(kind) and kind.bit_width == 64:
            return f"{field.name}: JavaScript rounds integers above 2^53"
        if pa.types.is_floating(kind):
            return f"{field.name}: JSON has no infinite number and no NaN; they are null"
        return None
    if format_name == "csv":
        stored = for_csv(kind)[0]
        if pa.types.is_nested(kind):
            return f"{field.name}: {kind} is JSON text"
        return f"{field.name}: {kind} is hexadecimal text" if _is_binary(kind) and stored == pa.string() else None
    return None


def _is_wider(kind: pa.DataType, stored: pa.DataType) -> bool:
    text = pa.types.is_string(stored) and (pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
    binary = pa.types.is_binary(stored) and _is_binary(kind)
    date = pa.types.is_date(stored) and pa.types.is_date(kind)
    return text or binary or date or (pa.types.is_float32(stored) and pa.types.is_float16(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
