"""Conversion of nested coordinates (GeoArrow, GeoParquet's native encodings) to WKB.

`geoparquet` finds the columns. Format: https://geoarrow.org/format.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from d4c_pipeline.model.errors import DataError

# Encoding -> number of lists around a coordinate.
_DEPTHS = {"point": 0, "linestring": 1, "polygon": 2, "multipoint": 1, "multilinestring": 2, "multipolygon": 3}
_TYPES = {
    "linestring": shapely.GeometryType.LINESTRING,
    "polygon": shapely.GeometryType.POLYGON,
    "multipoint": shapely.GeometryType.MULTIPOINT,
    "multilinestring": shapely.GeometryType.MULTILINESTRING,
    "multipolygon": shapely.GeometryType.MULTIPOLYGON,
}
ENCODINGS = frozenset(_DEPTHS)
"""The encodings that `to_wkb` reads."""


def to_wkb(column: pa.Array, encoding: str, name: str) -> pa.Array:
    """Return the column `name` of `encoding` as WKB with its nulls; M values are dropped.

    Raises DataError if the column's type does not match the encoding.
    """
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    known = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    offsets: list[npt.NDArray[np.int64]] = []
    inner = column
    for _ in range(_DEPTHS[encoding]):
        if not (pa.types.is_list(inner.type) or pa.types.is_large_list(inner.type)):
            raise _foreign(column, encoding, name)
        inner, bounds = _unlisted(inner)
        offsets.insert(0, bounds)
    coordinates = _coordinates(inner)
    if coordinates is None:
        raise _foreign(column, encoding, name)
    if encoding == "point":
        shapes: Any = shapely.points(coordinates)
        shapes[np.isnan(coordinates[:, :2]).all(axis=1)] = shapely.Point()
    else:
        shapes = shapely.from_ragged_array(_TYPES[encoding], coordinates, tuple(offsets))
    shapes[~known] = None
    return pa.array(shapely.to_wkb(shapes, byte_order=1, output_dimension=3, flavor="iso"), pa.binary())


def _unlisted(lists: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    # The items of all lists, and the offset of each list; null lists have no items.
    lengths = np.asarray(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), np.int64)
    return lists.flatten(), np.concatenate([[0], np.cumsum(lengths)])


def _coordinates(array: pa.Array) -> npt.NDArray[np.float64] | None:
    # Either interleaved in one array, or separated with an array for each axis.
    kind = array.type
    if pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type):
        axes = ["x", "y", "z"] if kind.list_size > 2 and kind.value_field.name != "xym" else ["x", "y"]
        values = array.values.slice(array.offset * kind.list_size, len(array) * kind.list_size)
        numbers = values.to_numpy(zero_copy_only=False).reshape(-1, kind.list_size)
        return np.ascontiguousarray(numbers[:, : len(axes)], np.float64)
    if pa.types.is_struct(kind):
        names = {kind.field(at).name for at in range(kind.num_fields)}
        if not {"x", "y"} <= names:
            return None
        axes = [axis for axis in ("x", "y", "z") if axis in names]
        flat = dict(zip((kind.field(at).name for at in range(kind.num_fields)), array.flatten(), strict=True))
        return np.stack([flat[axis].to_numpy(zero_copy_only=False).astype(np.float64) for axis in axes], axis=1)
    return None


def _foreign(column: pa.Array, encoding: str, name: str) -> DataError:
    return DataError(
        f"Column {name} is declared in the file as geometry in {encoding} encoding, but its type is {column.type}",
        "Have the publisher correct the file, or declare another geometry_column",
    )
