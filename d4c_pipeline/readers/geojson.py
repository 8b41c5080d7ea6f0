"""Reader of the identifiers, long numbers and dates of GeoJSON that GDAL changes, from the bytes of the file.

GDAL replaces repeated or mixed feature ids, drops an id beside a property `id`, reads integers beyond 64 bits as
9223372036854775807 or not at all, reads 2021-02-31 as March 3, and drops time zones that differ. Patterns over the
bytes find such files; only then are the features parsed here, which takes as long as GDAL's reading. Incomplete answers
belong to `answers`. Format: RFC 7946 and RFC 8142.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.readers import moments
from d4c_pipeline.readers.exact import Exact, declared_text, in_slices, null_texts

_FEATURE = re.compile(rb'"type"\s*:\s*"Feature"')
_SCALAR = rb'("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|null)'
_WITH_ID = re.compile(
    rb'"type"\s*:\s*"Feature"\s*,\s*"id"\s*:\s*'
    + _SCALAR
    + rb'|"id"\s*:\s*'
    + _SCALAR
    + rb'\s*,\s*"type"\s*:\s*"Feature"'
)
_ID = re.compile(rb'"id"\s*:')
_PROPERTY_ID = re.compile(rb'"properties"\s*:\s*\{[^{}]*?"id"\s*:')
_FEATURES = re.compile(r'"features"\s*:\s*\[')
# A text, with the colon that makes it a name; or a long integer outside of texts.
_LONG = re.compile(rb'"(?:[^"\\]|\\.)*"(\s*:)?|(?<![0-9.eE+-])-?[0-9]{16,}(?![0-9.eE])')
_BEFORE_NUMBER = np.frombuffer(b" :,[\t\r\n-", np.uint8)
_TRUTH = re.compile(rb":\s*(?:true|false)\b")
_SAMPLE = 8 << 20  # bytes; parsed in a third of a second
_SAFE, _LARGEST = 1 << 53, 1 << 63
_BLOCK = 1 << 22


def with_long_numbers_quoted(path: Path, work: Callable[[], Path]) -> tuple[Path, dict[str, str]]:
    """Return the file to read in place of `path`, and the names whose long integers became text in it.

    The file is `path` itself unless it has integers that int64 does not hold or, in a column with decimals, float64
    does not hold. A copy is written into the folder that `work` creates.
    """
    with mapped(path) as data:
        if not _has_long_numbers(data):
            return path, {}
        largest: dict[bytes, int] = {}
        name = b""
        for found in _LONG.finditer(data):
            if found[0][:1] != b'"':
                largest[name] = max(largest.get(name, 0), abs(int(found[0])))
            elif found[1] is not None:
                name = _name(found[0], found[1])
        quoted = {
            name
            for name, number in largest.items()
            if number >= _LARGEST or (number > _SAFE and re.search(_decimal_of(name), data) is not None)
        }
        if not quoted:
            return path, {}

        def replaced(found: re.Match[bytes]) -> bytes:
            nonlocal name
            if found[0][:1] == b'"':
                name = _name(found[0], found[1]) if found[1] is not None else name
                return found[0]
            return b'"' + found[0] + b'"' if name in quoted else found[0]

        name = b""
        target = work() / path.name
        target.write_bytes(_LONG.sub(replaced, data))
    words = "as text: whole numbers of more digits than a number holds"
    return target, dict.fromkeys(sorted(json.loads(b'"' + name + b'"') for name in quoted), words)


def examine(path: Path, schema: Sequence[tuple[str, pa.DataType]], processing: Processing) -> Exact:
    """Return the identifiers of features and the dates that GDAL would change. `schema`: GDAL's columns.

    Identifiers become the column `id`: int64 if all are integers, else text. The column is `feature_id` if a property
    `id` has other values. Columns become text if they have dates that do not exist, or moments in different time zones,
    in different forms, or finer than milliseconds, or numbers beside true and false. Raises DataError if the file is
    not GeoJSON, and if a feature has a property twice with different values.
    """
    exact = Exact()
    kinds = dict(schema)
    with mapped(path) as data:
        ids, doubtful = _ids(data, "id" in kinds)
        temporal = [name for name, kind in schema if pa.types.is_temporal(kind)]
        suspects = [name for name in temporal if moments.misfit(texts_of(name, data)) is not None]
        numbers = [name for name, kind in schema if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
        truths = _with_truths(numbers, data)
    _check_repeated(path)
    wanted = declared_text(processing, temporal)
    suspects = [name for name in kinds if name in suspects or name in wanted or name in truths]
    columns: dict[str, list[Any]] = {}
    if doubtful or suspects:
        features = list(_wanted(path, ["id", *suspects]))
        columns = {name: [properties[at] for _, properties in features] for at, name in enumerate(["id", *suspects])}
        ids = [each for each, _ in features] if doubtful else ids
    reasons: dict[str, str] = {}
    taken: dict[str, pa.Array] = {}
    for name in suspects:
        nulls = null_texts(processing, name)
        values = [value for value in columns[name] if value is not None and value not in nulls]
        if name in truths:
            mixed = any(isinstance(value, bool) for value in values)
            reason = "as text: true or false beside numbers" if mixed else None
        else:
            reason = "declared as a string" if name in wanted else moments.misfit(values)
        if reason is not None:
            taken[name] = pa.array([v if v is None or isinstance(v, str) else json.dumps(v) for v in columns[name]])
            reasons[name] = reason
    exact.types = dict.fromkeys(taken, pa.string())
    if reasons:
        exact.report["read_from_bytes"] = reasons
    known = [each for each in ids if each is not None]
    repeated = bool(columns) and columns["id"] == ids
    if known and not repeated:
        array = _identifiers(ids)
        beside_property = any(value is not None for value in columns.get("id", ()))
        if "id" in kinds and not beside_property:
            # GDAL has this column too, as text and without some of the identifiers.
            taken["id"], exact.types = array, {**exact.types, "id": array.type}
        else:
            name = "feature_id" if "id" in kinds else "id"
            taken[name], exact.added = array, {name: array.type}
        if len(set(known)) < len(known):
            exact.report["ids_repeated"] = len(known) - len(set(known))
    if taken:
        exact.take = in_slices(taken)
        exact.rows, exact.counted_by = len(next(iter(taken.values()))), "its own features"
    return exact


def _with_truths(names: Sequence[str], data: mmap.mmap) -> set[str]:
    # GDAL reads true as 1 in a column of numbers. The names are also found deeper in properties, or in texts.
    if not names or _TRUTH.search(data) is None:
        return set()
    every = b"|".join(re.escape(json.dumps(name, ensure_ascii=False).encode()) for name in names)
    return {json.loads(found[1]) for found in re.finditer(rb"(" + every + rb")\s*:\s*(?:true|false)\b", data)}


def _check_repeated(path: Path) -> None:
    """Raise DataError for a property that a feature has twice with different values, of which GDAL reads the last.

    Only the first megabytes are parsed: programs that repeat a name, after a join, do so in every feature.
    """
    with path.open("rb") as handle:
        text = handle.read(_SAMPLE).decode("utf-8-sig", "ignore")
    repeated: list[str] = []

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(members)
        if len(made) < len(members):
            repeated.extend(name for name, value in members if made[name] != value)
        return made

    decoder = json.JSONDecoder(object_pairs_hook=pairs)
    found = _FEATURES.search(text)
    at = found.end() if found is not None else 0
    while not repeated:
        while at < len(text) and text[at] in " \t\r\n,\x1e":
            at += 1
        if at >= len(text) or text[at] != "{":
            return
        try:
            _, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            return  # cut by the size of the sample; GDAL reports a broken file
    raise DataError(
        f"A feature of {path.name} has the member {repeated[0]!r} twice, with different values",
        "Have the publisher give each property a name of its own",
    )


def _ids(data: mmap.mmap, property_or_text: bool) -> tuple[list[Any], bool]:
    # The identifiers of all features in their order, and whether the patterns are inconclusive.
    if _ID.search(data) is None:
        return [], False
    features, every = _count(_FEATURE, data), _count(_ID, data)
    found = [json.loads(match[1] or match[2]) for match in _WITH_ID.finditer(data)]
    if len(found) == features and every == features:
        # GDAL reads textual identifiers correctly if every feature has one and no property is named `id`.
        return ([] if property_or_text and all(isinstance(each, str) for each in found) else found), False
    if _count(_PROPERTY_ID, data) == every:
        return [], False
    return [], True


def _identifiers(ids: Sequence[Any]) -> pa.Array:
    known = [each for each in ids if each is not None]
    if all(isinstance(each, int) and -_LARGEST <= each < _LARGEST for each in known):
        return pa.array(ids, pa.int64())
    return pa.array([each if each is None or isinstance(each, str) else json.dumps(each) for each in ids], pa.string())


def _wanted(path: Path, names: Sequence[str]) -> Iterator[tuple[Any, list[Any]]]:
    for feature in features_of(path):
        properties: Any = feature.get("properties")
        has = isinstance(properties, dict)
        yield feature.get("id"), [properties.get(name) if has else None for name in names]


def features_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the parsed features of a collection (also of Esri JSON), of a sequence, or of a file with one feature.

    Raises DataError if the file is not such JSON.
    """
    text = path.read_text("utf-8-sig")
    decoder = json.JSONDecoder()
    found = _FEATURES.search(text)
    at = found.end() if found is not None else 0
    try:
        while True:
            while at < len(text) and text[at] in " \t\r\n,\x1e":
                at += 1
            if at >= len(text) or text[at] != "{":
                return
            feature, at = decoder.raw_decode(text, at)
            yield feature
            if found is None and feature.get("type") != "Feature":
                return
    except json.JSONDecodeError as error:
        raise DataError(f"{path.name} is not GeoJSON: {error}", "Fetch the vintage again") from error


def texts_of(name: str, data: mmap.mmap) -> list[Any]:
    """Return the distinct texts of members `name`, in properties or deeper; `[None]` if no such member has text."""
    pattern = re.compile(re.escape(json.dumps(name, ensure_ascii=False).encode()) + rb'\s*:\s*"([^"]*)"')
    return [text.decode("utf-8", "replace") for text in sorted({match[1] for match in pattern.finditer(data)})] or [
        None
    ]


def _has_long_numbers(data: mmap.mmap) -> bool:
    # Sixteen successive digits without a point before them, found with a few operations on all bytes of a block.
    values = np.frombuffer(data, np.uint8)
    found = False
    for first in range(0, len(values), _BLOCK):
        block = values[max(0, first - 32) : first + _BLOCK + 32]
        runs = (block - np.uint8(0x30)) < 10
        for step in (1, 2, 4, 8):
            runs = runs[:-step] & runs[step:]
        starts = np.flatnonzero(runs[1:] & ~runs[:-1]) + 1
        found = found or bool(np.isin(block[starts - 1], _BEFORE_NUMBER).any())
    del values
    return found


def _name(text: bytes, colon: bytes) -> bytes:
    return text[1 : len(text) - len(colon) - 1]


def _decimal_of(name: bytes) -> bytes:
    return b'"' + re.escape(name) + rb'"\s*:\s*-?[0-9]+(?:\.|[eE])'


def _count(pattern: re.Pattern[bytes], data: mmap.mmap) -> int:
    return sum(1 for _ in pattern.finditer(data))


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Yield the bytes of a file, mapped into memory."""
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data
