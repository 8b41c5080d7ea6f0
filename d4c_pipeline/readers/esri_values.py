"""The values of Esri JSON against the types that the answer's own list of fields gives them.

GDAL makes 0 of text in a field of integers and 3 of 3.7, and says nothing. One pattern over the bytes finds such
values; only then are the features parsed here as well. Numbers of more than 32 bits and labels belong to `esri`,
whether an answer is complete to `answers`. Format: https://developers.arcgis.com/rest/services-reference/enterprise/feature-object/.
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

# What a value of a type looks like when nothing can be wrong with it.
_SURE = (
    (pa.types.is_int16, rb"-?[0-9]{1,4}"),
    (pa.types.is_int32, rb"-?[0-9]{1,9}"),
    (pa.types.is_int64, rb"-?[0-9]{1,18}"),
    (pa.types.is_floating, rb"-?[0-9]{1,15}(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,2})?"),
    (pa.types.is_timestamp, rb"-?[0-9]{1,14}"),
    (pa.types.is_temporal, rb"(?!)"),
)
_SAFE = 1 << 53  # float64 holds each whole number up to here


def examine(path: Path, schema: Sequence[tuple[str, pa.DataType]], processing: Processing) -> Exact:
    """Return the columns with values that are not of their type, as text; declared nulls do not count.

    `schema`: GDAL's columns.
    Moments are milliseconds since 1970 or ISO 8601 text. Raises DataError when the file is no JSON.
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
    by_look: dict[bytes, list[bytes]] = {}
    for name, kind in typed.items():
        look = next(look for matches, look in _SURE if matches(kind))
        by_look.setdefault(look, []).append(re.escape(json.dumps(name, ensure_ascii=False).encode()))
    with mapped(path) as data:
        for look, names in by_look.items():
            one = rb"(?:" + rb"|".join(names) + rb")\s*:\s*"
            # The list of fields has these names as values, so none is followed by a colon there.
            if re.search(one + rb"(?!(?:" + look + rb"|null)\s*[,}])", data) is not None:
                return True
            if any(re.search(name + rb"\s*:", data) is None for name in names):  # written with escapes
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
