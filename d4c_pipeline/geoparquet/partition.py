"""Writes one file of all rows, or several parts if the dataset declares a partition and the file exceeds its limit.

The single file is always written first, because its size decides. Parts by location copy its row groups, with
neighbours on the Hilbert curve together. For parts by a column, rows are stored by value meanwhile, and each part is
written as a file. Writing a file belongs to `single_file`, the names of parts to `model.parts`.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from d4c_pipeline.geoparquet import single_file, staged
from d4c_pipeline.geoparquet.layout import GeometryLayout, Layout
from d4c_pipeline.geoparquet.merge import Sorted
from d4c_pipeline.geoparquet.rows import Coded, Rows, as_array, gather
from d4c_pipeline.geoparquet.spill import Spill
from d4c_pipeline.geoparquet.stitch import excerpt
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.outputs import Partition
from d4c_pipeline.model.parts import MOST_PARTS, named_by_value, numbered
from d4c_pipeline.tables.columns import GEOMETRY
from d4c_pipeline.tables.parallel import in_order

_MEGABYTE = 10**6
# Rows that are stored by value at a time.
_ROWS = 65_536

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Written:
    """A written data file: the name of its part, and `bounds` of its geometry in its CRS."""

    path: Path
    part: str
    rows: int
    bounds: Box | None


def write_parts(
    path: Path, rows: Iterable[Sorted], layout: Layout, cut: Partition | None, *, threads: int | None = None
) -> tuple[Written, ...]:
    """Write `rows` to `path`, or to several files beside it if `cut` requires; return the files, sorted by part.

    Temporary files are in the folder of `path`. Raises DataError for a missing column or a column without plain values,
    and for more parts than a record holds with their torrents; OSError when a write fails.
    """
    column = _column(cut, layout)
    with Spill(path.with_name("values")) as spill:
        values = _Values(spill, column) if column is not None else None
        single_file.write(path, rows if values is None else values.noticed(rows, layout), layout, threads=threads)
        if cut is None or path.stat().st_size <= cut.over * _MEGABYTE:
            written = None
        elif cut.spatial:
            written = _by_location(path, layout, cut.part_megabytes * _MEGABYTE, threads)
        else:
            written = values.write(path, layout, threads) if values is not None else None
    if written is None:
        return (Written(path, "", layout.rows, layout.geometry.bounds if layout.geometry else None),)
    path.unlink()
    return written


def _column(cut: Partition | None, layout: Layout) -> str | None:
    """Return the column to cut by; None without such a column, or for a column without values."""
    if cut is None or cut.spatial:
        return None
    name, kind = cut.by, layout.types.get(cut.by)
    remedy = "Correct outputs.partition.by, an output column of the dataset"
    if kind is None:
        names = ", ".join([column.name for column in layout.columns if column.name != GEOMETRY][:40])
        raise DataError(f"The data can't be partitioned by {name}, which is not a column: {names}", remedy)
    types = pa.types
    if types.is_null(kind):
        return None
    if not (types.is_string(kind) or types.is_integer(kind) or types.is_boolean(kind) or types.is_date(kind)):
        raise DataError(f"The data is to be cut by {name}, a column of type {kind}, which has no few values", remedy)
    return name


def _beside(path: Path, part: str) -> Path:
    return path.with_name(f"{path.stem}_{part}{path.suffix}")


@dataclass
class _Value:
    # The stored rows of one value, and their facts.
    batches: list[int] = field(default_factory=list[int])
    rows: int = 0
    bounds: Box | None = None
    types: set[int] = field(default_factory=set[int])


class _Values:
    """The rows of each value of a column, stored in their order."""

    def __init__(self, spill: Spill, column: str) -> None:
        self._spill = spill
        self._column = column
        self._known: dict[str | None, _Value] | None = {}

    def noticed(self, parts: Iterable[Sorted], layout: Layout) -> Iterator[Sorted]:
        """Store the rows of `parts` and yield `parts`; with more values than the limit of parts, only yield."""
        for part in parts:
            if self._known is not None:
                self._put_aside(part, self._known, layout)
                if len(self._known) > MOST_PARTS:
                    self._known = None
            yield part

    def write(self, path: Path, layout: Layout, threads: int | None) -> tuple[Written, ...] | None:
        """Write a file for each value beside `path`; None for a single value."""
        if self._known is None:
            raise DataError(
                f"The column {self._column}, by which the data is to be cut, has more than {MOST_PARTS} values;"
                " a record at the archive holds no more parts with their torrents",
                "Cut by a column of fewer values, or write 'by: spatial'",
            )
        if len(self._known) < 2:
            return None
        names = named_by_value(self._column, list(self._known))
        written: list[Written] = []
        for value, name in sorted(names.items(), key=lambda named: named[1]):
            held = self._known[value]
            geometry = layout.geometry
            if geometry is not None:
                geometry = replace(geometry, bounds=held.bounds, type_names=_type_names(held.types, geometry))
            target = _beside(path, name)
            rows = (self._fetched(number) for number in held.batches)
            single_file.write(target, rows, replace(layout, rows=held.rows, geometry=geometry), threads=threads)
            written.append(Written(target, name, held.rows, held.bounds))
        return tuple(written)

    def _put_aside(self, part: Sorted, known: dict[str | None, _Value], layout: Layout) -> None:
        for start in range(0, len(part.positions), _ROWS):
            positions = part.positions[start : start + _ROWS]
            column = part.rows.take(self._column, positions)
            encoded = column.as_array() if isinstance(column, Coded) else as_array(column).dictionary_encode()
            texts = _texts(encoded.dictionary)
            codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
            for code in np.unique(codes).tolist():
                if len(known) > MOST_PARTS:
                    return
                value = known.setdefault(texts[code] if code >= 0 else None, _Value())
                self._add(value, part.rows, positions[codes == code], layout)

    def _add(self, value: _Value, rows: Rows, positions: np.ndarray, layout: Layout) -> None:
        taken = {name: rows.take(name, positions) for name in rows.columns}
        if layout.geometry is not None:
            value.bounds = _union([value.bounds, _box(staged.bounds(taken, len(positions)))])
            types = taken[staged.TYPE]
            assert not isinstance(types, Coded)  # noqa: S101 - never packed
            value.types |= set(types.to_numpy(zero_copy_only=False).tolist()) - {-1}
        arrays = [as_array(column) for column in taken.values()]
        value.batches.append(self._spill.add(pa.RecordBatch.from_arrays(arrays, names=list(taken))))
        value.rows += len(positions)

    def _fetched(self, number: int) -> Sorted:
        batch = self._spill.fetch(number)
        return Sorted(gather([batch]), np.arange(batch.num_rows, dtype=np.int64))


def _texts(values: pa.Array) -> list[str]:
    # Arrow's text of a value: 24, true, 2021-05-11.
    return values.cast(pa.string()).to_pylist()


def _by_location(path: Path, layout: Layout, size: float, threads: int | None) -> tuple[Written, ...] | None:
    if layout.geometry is None:
        raise DataError("A table cannot be cut by location", "Write a column under outputs.partition.by")
    runs = _runs(path, size)
    if len(runs) > MOST_PARTS:
        raise DataError(
            f"Cut into parts of about {size / _MEGABYTE:g} MB the data would lie in {len(runs)} files; a record at the"
            f" archive holds {MOST_PARTS} with their torrents",
            "Raise outputs.partition.part",
        )
    if len(runs) < 2:
        return None
    found = list(in_order(_geometry, _geometries(path), threads))
    written: list[Written] = []
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for name, run in zip(numbered(len(runs)), runs, strict=True):
            bounds = _union([found[group].bounds for group in run])
            types = tuple(sorted({kind for group in run for kind in found[group].types}))
            geometry = replace(layout.geometry, bounds=bounds, type_names=types)
            target = _beside(path, name)
            with target.open("wb") as out, memoryview(content) as view:
                rows = excerpt(out, single_file.template(replace(layout, geometry=geometry)), view, run)
            written.append(Written(target, name, rows, bounds))
    return tuple(written)


def _runs(path: Path, size: float) -> list[range]:
    """Return runs of row groups of about equal bytes, as many as the file has parts of `size` bytes."""
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    sizes = [sum(group.column(n).total_compressed_size for n in range(group.num_columns)) for group in groups]
    ends = np.cumsum(sizes)
    count = max(1, -(-int(ends[-1]) // int(max(1.0, size))))
    # Each cut is at the border of row groups nearest to its ideal place.
    wanted = ends[-1] * np.arange(1, count) / count
    cuts = sorted({int(np.abs(ends - place).argmin()) + 1 for place in wanted} - {len(groups)})
    borders = [0, *cuts, len(groups)]
    return [range(start, stop) for start, stop in itertools.pairwise(borders)]


@dataclass(frozen=True)
class _Geometry:
    bounds: Box | None
    types: frozenset[str]


def _geometries(path: Path) -> Iterator[pa.Array]:
    with pq.ParquetFile(path, memory_map=True) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=[GEOMETRY], use_threads=False)
            yield table.column(GEOMETRY).combine_chunks()


def _geometry(column: pa.Array) -> _Geometry:
    import shapely  # noqa: PLC0415 - tables do not need GEOS

    from d4c_pipeline.geometry.shapes import WITH_Z, type_name  # noqa: PLC0415

    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    shapes = shapely.from_wkb(column.to_numpy(zero_copy_only=False))
    shapes = shapes[~shapely.is_missing(shapes)]
    ids = np.unique(shapely.get_type_id(shapes) + WITH_Z * shapely.has_z(shapes))
    return _Geometry(_box(shapely.bounds(shapes)), frozenset(type_name(int(number)) for number in ids))


def _type_names(types: set[int], geometry: GeometryLayout) -> tuple[str, ...]:
    from d4c_pipeline.geometry.shapes import promoted_type, type_name  # noqa: PLC0415 - tables do not need GEOS

    kept = {promoted_type(kind) if kind in geometry.promoted else kind for kind in types}
    return tuple(sorted(map(type_name, kept)))


def _box(bounds: np.ndarray) -> Box | None:
    known = bounds[~np.isnan(bounds).any(axis=1)]
    if not len(known):
        return None
    low, high = known[:, :2].min(axis=0), known[:, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _union(boxes: Iterable[Box | None]) -> Box | None:
    known = [box for box in boxes if box is not None]
    if not known:
        return None
    west, south, east, north = zip(*known, strict=True)
    return min(west), min(south), max(east), max(north)
