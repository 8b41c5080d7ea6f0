"""The catalogue as STAC GeoParquet: all versions of all datasets in one file, and each dataset in its own file.

The encoding of row groups and the file's metadata belong here, the columns to `arrow_schema`, the place of cuts to
`row_groups`. `chain` selects the releases.
Source of the format: https://radiantearth.github.io/stac-geoparquet-spec/, https://geoparquet.org
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import mmap
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from d4c_pipeline.catalogue.arrow_schema import CORNERS, SCHEMA, rows_of
from d4c_pipeline.catalogue.row_groups import GROUP_ROWS, cut, runs
from d4c_pipeline.catalogue.stac_item import item_place
from d4c_pipeline.files import magic
from d4c_pipeline.geoparquet import Footer, Stitched
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET
from d4c_pipeline.model.errors import DataError, IntegrityError, StorageError

STAC_GEOPARQUET = "1.1.0"
# Of each row group its geometry types, from which those of the file follow when a row group is replaced, and size and
# sha256 of its bytes as they were encoded, by which a copy is verified.
_GROUPS_KEY = "d4c:row_groups"
# Below this number of rows, ZSTD's start for each of 236 columns takes three times as long as all else.
_SMALL = 500
# Rows that wait together for the end of their row group before they become one table.
_COMBINED = 1_000
_COVERING = tuple(f"bbox.{corner}" for corner in CORNERS)
# Readers prune row groups by these columns; statistics of other columns would only lengthen the footer.
_WITH_STATISTICS = ("dataset", "vintage", "is_latest", "doi", "id", "collection", *_COVERING)
# Neighbours differ in a few characters: less than half of the bytes for a reader who looks for the newest version.
_ENCODINGS = dict.fromkeys(("version", "data_urls.list.element"), "DELTA_BYTE_ARRAY")
_TYPES = {0: "Point", 1: "LineString", 3: "Polygon", 6: "MultiPolygon"}


def write_catalogue(items: Iterable[Mapping[str, Any]], path: Path, base_url: str | None = None) -> None:
    """Write `items` (finalised, in any order) as the STAC GeoParquet of all datasets at `path`, atomically.

    The bytes depend on the arguments alone. Links are absolute with `base_url`, the public address of the store. Rows
    are ordered by dataset, vintage and version; row groups end between datasets. Raises DataError when two items have
    the same id, an item is not from this catalogue, or a field has another type than its column; StorageError when the
    disk is full or refuses access.
    """
    ordered = sorted(items, key=item_place)
    if twice := sorted(name for name, count in Counter(item["id"] for item in ordered).items() if count > 1):
        raise DataError(
            f"The catalogue would list {', '.join(twice)} twice", "Give write_catalogue one item per release"
        )
    with writing(path) as file:
        start = 0
        for group in cut(runs(item["collection"] for item in ordered)):
            end = start + sum(rows for _, rows in group)
            file.add(rows_of(ordered[start:end], CATALOGUE_PARQUET, base_url))
            start = end


@contextmanager
def writing(path: Path, collections: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[CatalogueFile]:
    """Yield a file that accepts row groups; at the end, move it to `path`, flushed to the disk.

    `collections`: documents by id, for the metadata of the file. Raises StorageError when the disk is full or refuses
    access.
    """
    with _replacing(path) as temporary, temporary.open("w+b") as out:
        file = CatalogueFile(out, collections or {})
        yield file
        footer = file.finish()
        out.flush()
        os.fsync(out.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what is read from here on lies on the disk
        out.seek(-len(footer), os.SEEK_END)
        if out.read() != footer:
            raise _damaged(path)


@dataclass(frozen=True)
class RowGroup:
    """A row group of an existing file: its number, its first and last dataset, its box and its geometry types."""

    number: int
    first: str
    last: str
    box: tuple[float, float, float, float]
    facts: GroupFacts


@dataclass(frozen=True)
class GroupFacts:
    """The geometry types of a row group, and size and sha256 of its bytes, which are the same in every file."""

    types: tuple[str, ...]
    size: int
    sha256: str


class ExistingFile:
    """A catalogue on the disk whose row groups are read or copied."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._parquet = pq.ParquetFile(pa.BufferReader(pa.py_buffer(self._mapped)))
        self.footer = Footer(memoryview(self._mapped))
        metadata = self._parquet.metadata
        facts = _group_facts(metadata)
        names = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
        place = [names.index(path) for path in ("dataset", *_COVERING)]
        self.groups = [_group(metadata.row_group(number), number, place, own) for number, own in enumerate(facts)]

    def read(self, number: int) -> pa.Table:
        """Return the rows of a row group, in the columns of `SCHEMA`."""
        return self._parquet.read_row_group(number).cast(SCHEMA)


def _group(group: pq.RowGroupMetaData, number: int, place: Sequence[int], facts: GroupFacts) -> RowGroup:
    dataset, west, south, east, north = (group.column(index).statistics for index in place)
    return RowGroup(number, dataset.min, dataset.max, (west.min, south.min, east.max, north.max), facts)


def _group_facts(metadata: pq.FileMetaData) -> list[GroupFacts]:
    stated: list[dict[str, Any]] = json.loads(metadata.metadata[_GROUPS_KEY.encode()])
    return [GroupFacts(tuple(each["geometry_types"]), each["size"], each["sha256"]) for each in stated]


class GroupVerifier:
    """Takes part in a read of the catalogue at `path` and compares each row group with its digest in the footer.

    A digest is made once, when the rows are encoded, and then copied with the row group from file to file. So neither a
    wrong write nor a bit that rotted in the earlier file gets into the catalogue unseen.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting = _group_facts(pq.read_metadata(path))[::-1]
        self._skipped, self._left = len(magic.PARQUET), 0
        self._digest = hashlib.sha256()
        self._damaged = False
        self._next()

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes of the file."""
        skipped = min(self._skipped, len(data))
        self._skipped -= skipped
        data = data[skipped:]
        while self._left and data:
            some = data[: self._left]
            self._digest.update(some)
            self._left -= len(some)
            data = data[len(some) :]
            if not self._left:
                self._damaged |= self._digest.hexdigest() != self._waiting.pop().sha256
                self._next()

    def require_intact(self) -> None:
        """Raise IntegrityError unless all row groups were read and have the bytes that were encoded."""
        if self._damaged or self._waiting:
            raise _damaged(self._path)

    def _next(self) -> None:
        self._digest = hashlib.sha256()
        self._left = self._waiting[-1].size if self._waiting else 0


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(
        f"The catalogue {path.name} on this machine has other bytes than were written",
        "Check the disk, then run again: the catalogue is then built from the ledger",
    )


class CatalogueFile:
    """A STAC GeoParquet file in progress, written row group by row group."""

    def __init__(self, out: BinaryIO, collections: Mapping[str, Mapping[str, Any]]) -> None:
        self._stitched = Stitched(out, lean=True)
        self._collections = collections
        self._boxes: list[Sequence[float]] = []
        self._facts: list[GroupFacts] = []

    def copy(self, source: ExistingFile, group: RowGroup) -> None:
        """Append a row group of another file unchanged."""
        self._boxes.append(group.box)
        self._facts.append(group.facts)
        self._stitched.add_groups(source.footer, range(group.number, group.number + 1))

    def add(self, rows: pa.Table) -> None:
        """Append `rows`, in the columns of `SCHEMA`, as one row group."""
        if not rows.num_rows:
            return
        box, types = _places(rows)
        group = Footer(memoryview(encoded(rows)).cast("B"))
        content = group.whole[group.starts[0] : group.starts[1]]
        self._boxes.append(box)
        self._facts.append(GroupFacts(tuple(types), len(content), hashlib.sha256(content).hexdigest()))
        self._stitched.add_groups(group)

    def finish(self) -> bytes:
        """Write and return all that follows the row groups."""
        stated = [{"geometry_types": each.types, "size": each.size, "sha256": each.sha256} for each in self._facts]
        metadata = _metadata(self._boxes, [each.types for each in self._facts], self._collections)
        self._stitched.finish(_template(metadata | {_GROUPS_KEY: json.dumps(stated)}))
        return self._stitched.tail


class PendingRows:
    """The rows of a row group that is not complete yet.

    Every table costs some 100 kB besides its values (236 columns with buffers of their own), five times the values of a
    dataset of 20 releases. So small tables are combined, and the complete group column by column.
    """

    def __init__(self) -> None:
        self._large: list[pa.Table] = []
        self._small: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        """Append `rows`, in the columns of `SCHEMA`."""
        self._small.append(rows)
        if sum(table.num_rows for table in self._small) >= _COMBINED or len(self._small) >= _COMBINED // 10:
            self._large.append(pa.concat_tables(self._small).combine_chunks())
            self._small = []

    def take(self) -> pa.Table:
        """Return all rows as one table with one chunk, and forget them."""
        tables = [*self._large, *self._small]
        self._large, self._small = [], []
        waiting = [[table.column(name) for table in tables] for name in SCHEMA.names]
        tables.clear()  # so that a column is freed once it is combined
        columns: list[pa.Array] = []
        for field, parts in zip(SCHEMA, waiting, strict=True):
            chunks = [chunk for part in parts for chunk in part.chunks]
            parts.clear()
            columns.append(pa.concat_arrays(chunks) if chunks else pa.array([], field.type))
        return pa.Table.from_arrays(columns, schema=SCHEMA)


def dataset_file(rows: pa.Table, collection: Mapping[str, Any]) -> bytes:
    """Return the rows of a dataset, in the columns of `SCHEMA`, as a file of its own."""
    box, types = _places(rows)
    sink = pa.BufferOutputStream()
    with _writer(sink, small=rows.num_rows < _SMALL) as writer:
        writer.write_table(rows, row_group_size=GROUP_ROWS)
        writer.add_key_value_metadata(_metadata([box], [types], {collection["id"]: collection}))
    return sink.getvalue().to_pybytes()


def encoded(rows: pa.Table) -> pa.Buffer:
    """Return rows in the columns of `SCHEMA` as a Parquet file with one row group."""
    sink = pa.BufferOutputStream()
    with _writer(sink) as writer:
        writer.write_table(rows, row_group_size=max(1, rows.num_rows))
    return sink.getvalue()


def _places(rows: pa.Table) -> tuple[list[float], list[str]]:
    """Return the box of the geometries of `rows` and their types, sorted."""
    places = shapely.from_wkb(rows.column("geometry").to_numpy())
    types = {_TYPES[int(kind)] for kind in set(shapely.get_type_id(places).tolist())}
    return shapely.total_bounds(places).tolist(), sorted(types)


def _writer(sink: pa.NativeFile | io.BytesIO, *, small: bool = False) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink,
        SCHEMA,
        compression=_small_compression() if small else "zstd",  # pyright: ignore[reportArgumentType]
        use_dictionary=False,
        column_encoding=_ENCODINGS,
        write_statistics=list(_WITH_STATISTICS),  # pyright: ignore[reportArgumentType]
        store_schema=False,
    )


@cache
def _small_compression() -> dict[str, str]:
    """Return the compression of each column of a small file. Readers expect ZSTD for the geometry."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, SCHEMA):
        pass
    schema = pq.ParquetFile(sink).schema
    paths = [schema.column(number).path for number in range(len(schema))]
    return dict.fromkeys(paths, "snappy") | {"geometry": "zstd"}


def _template(metadata: Mapping[str, str]) -> bytes:
    sink = io.BytesIO()
    with _writer(sink) as writer:
        writer.add_key_value_metadata(metadata)
    return sink.getvalue()


def _metadata(
    boxes: Sequence[Sequence[float]], types: Sequence[Sequence[str]], collections: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Return the metadata of a file: GeoParquet 1.1 with covering, and STAC GeoParquet."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "crs": _crs(),
        "geometry_types": sorted({kind for group in types for kind in group}),
        "orientation": "counterclockwise",
        "covering": {"bbox": {corner: ["bbox", corner] for corner in CORNERS}},
    }
    if boxes:
        west, south, east, north = zip(*boxes, strict=True)
        column["bbox"] = [min(west), min(south), max(east), max(north)]
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    stac: dict[str, Any] = {"version": STAC_GEOPARQUET}
    if collections:
        stac["collections"] = dict(collections)
    return {
        "geo": json.dumps(geo, sort_keys=True),
        "stac-geoparquet": json.dumps(stac, sort_keys=True),
    }


@cache
def _crs() -> dict[str, Any]:
    # EPSG:4326 has an EPSG code, unlike the default OGC:CRS84; GeoParquet fixes the order to longitude, latitude.
    return CRS.from_epsg(4326).to_json_dict()


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; at the end, move its file to `path`, flushed to the disk."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        # Arrow raises OSError without a number for failures in its own code.
        reason = os.strerror(error.errno) if error.errno else str(error)
        remedy = (
            "Free space on the disk"
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            else "Make the folder writable"
        )
        raise StorageError(f"The catalogue {path.name} can't be written: {reason}", remedy) from error
