"""Reader of the columns of Esri JSON whose values do not have the type that the file's list of fields declares.

GDAL silently reads text in a field of integers as 0, and 3.7 as 3. Patterns over the bytes find such values; only then
are the features parsed here. Numbers of more than 32 bits and labels belong to `esri`, incomplete answers to `answers`.
Format: https://developers.arcgis.com/rest/services-reference/enterprise/feature-object/.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import moments
from d4c_pipeline.readers.exact import Exact, in_slices, null_texts
from d4c_pipeline.readers.geojson import features_of, mapped

# The spellings of a type's values that GDAL reads correctly.
_SURE = (
    (pa.types.is_int16, rb"-?[0-9]{1,4}"),
    (pa.types.is_int32, rb"-?[0-9]{1,9}"),
    (pa.types.is_int64, rb"-?[0-9]{1,18}"),
    (pa.types.is_floating, rb"-?[0-9]{1,15}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?"),
    (pa.types.is_timestamp, rb"-?[0-9]{1,14}"),
    (pa.types.is_temporal, rb"(?!)"),
)
_SAFE = 1 << 53  # float64 holds each integer up to here


def examine(path: Path, schema: Sequence[tuple[str, pa.DataType]], processing: Processing) -> Exact:
    """Return the columns with values that are not of their type, as text; declared nulls are ignored.

    `schema`: GDAL's columns. Moments are milliseconds since 1970 or ISO 8601 text. Raises DataError if the file is not
    JSON.
    """
    exact = Exact()
    typed = {name: kind for name, kind in schema if any(matches(kind) for matches, _ in _SURE)}
    if not typed or not _suspicious(path, typed):
        return exact
    values: dict[str, list[Any]] = {name: [] for name in typed}
    for feature in features_of(path):
        attributes: Any = feature.get("attributes")
        for name, column in values.items():
            column.append(attributes.get(name) if isinstance(attributes, dict) else None)
    taken: dict[str, pa.Array] = {}
    reasons: dict[str, str] = {}
    for name, kind in typed.items():
        nulls = null_texts(processing, name)
        known = [None if value in nulls else value for value in values[name]]
        misfit = _misfit([value for value in known if value is not None], kind)
        if misfit is None and known != values[name] and not any(isinstance(value, str) for value in known):
            reasons[name] = "declared nulls"
            taken[name] = (
                pa.array(known, pa.int64()).cast(kind) if pa.types.is_temporal(kind) else pa.array(known, kind)
            )
        if misfit is not None:
            reasons[name] = misfit
            texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values[name]]
            taken[name] = pa.array(texts, pa.string())
    if taken:
        exact.types, exact.take = {name: array.type for name, array in taken.items()}, in_slices(taken)
        exact.rows, exact.counted_by = len(next(iter(taken.values()))), "its own features"
        exact.report["read_from_bytes"] = reasons
    return exact


def _suspicious(path: Path, typed: dict[str, pa.DataType]) -> bool:
    by_spelling: dict[bytes, list[bytes]] = {}
    for name, kind in typed.items():
        spelling = next(spelling for matches, spelling in _SURE if matches(kind))
        by_spelling.setdefault(spelling, []).append(re.escape(json.dumps(name, ensure_ascii=False).encode()))
    with mapped(path) as data:
        for spelling, names in by_spelling.items():
            member = rb"(?:" + rb"|".join(names) + rb")\s*:\s*"
            # The list of fields has these names as values, which no colon follows.
            if re.search(member + rb"(?!(?:" + spelling + rb"|null)\s*[,}])", data) is not None:
                return True
            if any(re.search(name + rb"\s*:", data) is None for name in names):  # the name is written with escapes
                return True
    return False


def _misfit(values: Sequence[Any], kind: pa.DataType) -> str | None:
    if pa.types.is_temporal(kind):
        texts = [value for value in values if not _is_whole(value)]
        if texts and len(texts) < len(values):
            return f"as text: {texts[0]!r} stands among numbers"
        if values and not texts and not pa.types.is_timestamp(kind):
            return f"as text: {values[0]!r} is no {kind}"
        return moments.misfit(texts, zoned=False) if texts else None
    for value in values:
        if pa.types.is_integer(kind):
            bound = 1 << (kind.bit_width - 1)
            fits = _is_whole(value) and -bound <= value < bound
        else:
            fits = isinstance(value, float) or (
                _is_whole(value) and (abs(value) <= _SAFE or (abs(value) < 1 << 1023 and int(float(value)) == value))
            )
        if not fits:
            return f"as text: {value!r} is no {kind}"
    return None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
