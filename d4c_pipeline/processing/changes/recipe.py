"""What the later files need besides rows: columns, geometry, order and cut; the names and sha256 of all files.

It lies as JSON in the footer of a file of changes, key `d4c_changes`. Rows belong to `find` and `apply`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline import geoparquet
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.model import release
from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.outputs import Partition
from d4c_pipeline.tables.columns import BBOX, GEOMETRY

METADATA_KEY = b"d4c_changes"
FORMAT = 1


@dataclass(frozen=True)
class DataFile:
    """A data file of one of the two states; `rows` its number of rows."""

    name: str
    sha256: str
    rows: int

    @classmethod
    def read(cls, path: Path, name: str | None = None, sha256: str | None = None) -> DataFile:
        """Return the facts of the file at `path`; `name` and `sha256` if they are known already."""
        return cls(name or path.name, sha256 or sha256_of(path), pq.read_metadata(path).num_rows)


@dataclass(frozen=True)
class ColumnOrigin:
    """Where a column of the later state comes from: `earlier` is its name there, None if its values are not carried."""

    name: str
    earlier: str | None


@dataclass(frozen=True)
class Recipe:
    """How the later files follow from the earlier files and the rows of changes.

    `columns`: all later columns in their order, geometry included, the covering not. `schema`: Arrow's schema of the
    later files as IPC, with their metadata, bounds and geometry types of all rows. `cut`: the declared partition.
    `counts`: rows of changes by kind. `key`: the columns that match rows, empty where rows were compared whole.
    """

    earlier: tuple[DataFile, ...]
    later: tuple[DataFile, ...]
    columns: tuple[ColumnOrigin, ...]
    key: tuple[str, ...]
    counts: Mapping[str, int]
    schema: bytes
    cut: Partition | None = None

    @property
    def layout(self) -> geoparquet.Layout:
        """The layout of the later files, for the writer."""
        described = pa.ipc.read_schema(pa.py_buffer(self.schema))
        metadata = described.metadata or {}
        ours = json.loads(metadata[b"d4c"])
        geo = json.loads(metadata[b"geo"]) if b"geo" in metadata else None
        return geoparquet.Layout(
            columns=tuple(release.Column(**column) for column in ours["columns"]),
            types={field.name: field.type for field in described if geo is None or field.name not in (GEOMETRY, BBOX)},
            geometry=None if geo is None else _geometry(geo),
            rows=sum(file.rows for file in self.later),
            dataset=ours["dataset"],
            vintage=ours["vintage"],
            key=tuple(ours["key"]),
        )

    def to_bytes(self) -> bytes:
        """Return the JSON that lies in the footer."""
        facts = {
            "format": FORMAT,
            "earlier": [vars(file) for file in self.earlier],
            "later": [vars(file) for file in self.later],
            "columns": [vars(column) for column in self.columns],
            "key": list(self.key),
            "counts": dict(self.counts),
            "cut": self.cut.model_dump(mode="json", exclude_none=True) if self.cut is not None else None,
            "schema": base64.b64encode(self.schema).decode(),
        }
        return json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read the recipe in the file of changes at `path`. Raises DataError for another file."""
        try:
            metadata = pq.read_metadata(path).metadata or {}
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            raise DataError(f"{path.name} is not a readable Parquet file: {error}", "Fetch it again") from error
        if METADATA_KEY not in metadata:
            raise DataError(
                f"{path.name} is a Parquet file, but not one of changes",
                "Name the file ..._changes.parquet of a release",
            )
        facts = json.loads(metadata[METADATA_KEY])
        if facts["format"] != FORMAT:
            raise DataError(
                f"{path.name} has format {facts['format']} of changes, this version of d4c reads {FORMAT}",
                "Install the version of d4c that wrote it",
            )
        return cls(
            earlier=tuple(DataFile(**file) for file in facts["earlier"]),
            later=tuple(DataFile(**file) for file in facts["later"]),
            columns=tuple(ColumnOrigin(**column) for column in facts["columns"]),
            key=tuple(facts["key"]),
            counts=facts["counts"],
            schema=base64.b64decode(facts["schema"]),
            cut=Partition(**facts["cut"]) if facts["cut"] is not None else None,
        )


def later_schema(files: Files) -> bytes:
    """Return the Arrow schema of data files as IPC, with the geometry facts of all of them. Raises DataError.

    Parts differ in nothing but bounds and geometry types.
    """
    schemas = [pq.read_schema(path) for path in listed(files)]
    metadata = dict(schemas[0].metadata or {})
    if b"d4c" not in metadata:
        raise DataError(f"{listed(files)[0].name} was not written by d4c", "Name the data files of a release")
    if b"geo" in metadata:
        metadata[b"geo"] = _joined([json.loads(schema.metadata[b"geo"]) for schema in schemas])
    return bytes(schemas[0].with_metadata(metadata).serialize())


def _joined(parts: Sequence[dict[str, Any]]) -> bytes:
    joined = parts[0]
    columns = [part["columns"][GEOMETRY] for part in parts]
    column = joined["columns"][GEOMETRY]
    column["geometry_types"] = sorted({kind for each in columns for kind in each["geometry_types"]})
    boxes = [each["bbox"] for each in columns if "bbox" in each]
    if boxes:
        west, south, east, north = zip(*boxes, strict=True)
        column["bbox"] = [min(west), min(south), max(east), max(north)]
    return json.dumps(joined, ensure_ascii=False, separators=(",", ":")).encode()


def _geometry(geo: Mapping[str, Any]) -> geoparquet.GeometryLayout:
    column = geo["columns"][GEOMETRY]
    return geoparquet.GeometryLayout(
        version=geo["version"],
        crs=column["crs"],
        type_names=tuple(column["geometry_types"]),
        bounds=tuple(column["bbox"]) if "bbox" in column else None,
    )
