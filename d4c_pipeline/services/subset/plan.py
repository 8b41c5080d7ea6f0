"""Joins a request with a release: everything that can be wrong is found here, before the first byte of an answer.

A plan states what the result will hold, what it costs at most, and its provenance. Reading rows belongs to `rows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any

import pyarrow as pa
import pyproj

from d4c_pipeline.geometry import projection
from d4c_pipeline.services import cql2
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset import area
from d4c_pipeline.services.subset.area import Region
from d4c_pipeline.services.subset.notices import geometry_notices, notices
from d4c_pipeline.services.subset.releases import Chosen
from d4c_pipeline.services.subset.request import SubsetRequest
from d4c_pipeline.services.subset.source import Source, column_sql
from d4c_pipeline.tables.sql_names import identifier

MOST_CELLS = 2_000_000_000
"""Values that a subset may read: rows of the row groups that it touches times columns."""
_WGS84 = "EPSG:4326"


@dataclass(frozen=True)
class Plan:
    """A subset that can be made. `attributes`: columns of the result in order, without geometry.

    `geometry`: the name of the geometry column if the result has it. `crs`: of the result's geometry; `moves`: whether
    it differs from that of the data. `rows` and `bytes`: what is read at most.
    """

    request: SubsetRequest
    release: Chosen
    source: Source
    attributes: tuple[str, ...]
    geometry: str | None
    crs: pyproj.CRS | None
    moves: bool
    region: Region | None
    condition: cql2.Condition | None
    rows: int
    bytes: int
    notices: tuple[str, ...]

    @property
    def cells(self) -> int:
        """The values that are read at most."""
        return self.rows * (len(self.attributes) + (self.geometry is not None))

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the attributes of the result."""
        return pa.schema([self.source.schema.field(name) for name in self.attributes])

    @cached_property
    def identity(self) -> str:
        """The name of the result: equal for equal requests of the same release."""
        return self.request.identity(self.release.name, self.release.sha256)

    @property
    def file_name(self) -> str:
        """The name of a file of the result, with letters, digits, `_`, `.` and `-` only."""
        return f"{self.release.dataset}_{self.release.vintage}_v{self.release.version}_{self.identity[:8]}{self.suffix}"

    @property
    def suffix(self) -> str:
        """The suffix of a file of the result."""
        return self.request.format.suffix

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Where the result comes from: it goes into the result, or beside it."""
        release = self.release
        stated = {
            "release": release.name,
            "dataset": release.dataset,
            "vintage": release.vintage,
            "version": release.version,
            "title": release.title,
            "doi": release.doi,
            "test_doi": release.test_doi or None,
            "licence": release.licence,
            "citation": release.citation,
            "sha256": release.sha256,
            "files": list(release.urls),
            "request": self.request.canonical() | {"vintage": release.vintage, "version": release.version},
            "notices": list(self.notices),
        }
        return {name: value for name, value in stated.items() if value not in (None, [])}


def plan(
    request: SubsetRequest,
    release: Chosen,
    source: Source,
    *,
    most_cells: int = MOST_CELLS,
) -> Plan:
    """Return the plan of `request` over the files of `release`.

    Raises ProblemError: 400 for unknown columns, a filter or a CRS that can't be applied, 413 beyond `most_cells`.
    """
    attributes, geometry = _columns(request, source)
    region = None
    if request.area is not None and request.area_crs is not None:
        region = area.region(request.area, request.area_crs, source, is_box=request.is_box)
    condition = cql2.condition(request.filter, filterable(source)) if request.filter is not None else None
    crs = _crs(request, source, geometry)
    moves = crs is not None and source.crs is not None and not projection.same_crs(source.crs, crs)
    rows, size = source.within(None if region is None else region.boxes)
    made = Plan(
        request=request,
        release=release,
        source=source,
        attributes=attributes,
        geometry=geometry,
        crs=crs if geometry is not None else None,
        moves=moves and geometry is not None,
        region=region,
        condition=condition,
        rows=rows,
        bytes=size,
        notices=(
            *notices(request.format.name, pa.schema([source.schema.field(name) for name in attributes])),
            *(geometry_notices(request.format.name, geometry, source.types) if geometry is not None else ()),
        ),
    )
    if made.cells > most_cells:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The subset would read {made.cells:,} values; at most {most_cells:,} are allowed",
            f"Name fewer columns or a smaller area, or download the files: {', '.join(release.urls[:3])}",
        )
    return made


def _columns(request: SubsetRequest, source: Source) -> tuple[tuple[str, ...], str | None]:
    names = [name for name in source.schema.names if name != source.geometry]
    if request.columns is None:
        return tuple(names), _geometry(request, source, wanted=source.geometry is not None)
    if unknown := [name for name in request.columns if name not in source.schema.names]:
        listed = ", ".join(source.schema.names[:60])
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"{request.dataset} has no column {', '.join(name[:60] for name in unknown[:5])}",
            f"Its columns are {listed}{' and more' if len(source.schema.names) > 60 else ''}",
        )
    chosen = tuple(name for name in request.columns if name != source.geometry)
    return chosen, _geometry(request, source, wanted=source.geometry in request.columns)


def _geometry(request: SubsetRequest, source: Source, *, wanted: bool) -> str | None:
    if request.format.features and source.geometry is None:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"{request.dataset} is a table without geometry, which {request.format.title} can't hold",
            "Use parquet, csv, arrow or gpkg",
        )
    return source.geometry if wanted or request.format.features else None


def filterable(source: Source) -> dict[str, cql2.Column]:
    """Return the columns that a filter may name.

    The geometry is one of them only in longitude and latitude, since a filter states its coordinates in these; for
    other data there is `geometry`, which is transformed.
    """
    found = {name: cql2.column_of(name, kind) for name, kind in source.sql_types.items() if name != source.geometry}
    columns = {name: column for name, column in found.items() if column is not None}
    wgs84 = pyproj.CRS.from_authority("EPSG", "4326")
    if source.geometry is not None and source.crs is not None and projection.same_crs(source.crs, wgs84):
        box = None
        if source.covering is not None:
            covering = identifier(source.covering)
            box = (f"{covering}.xmin", f"{covering}.ymin", f"{covering}.xmax", f"{covering}.ymax")
        columns[source.geometry] = cql2.Column(column_sql(source, source.geometry), cql2.Kind.GEOMETRY, box)
    return columns


def _crs(request: SubsetRequest, source: Source, geometry: str | None) -> pyproj.CRS | None:
    if request.crs is not None and geometry is None:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "crs is given, but the result has no geometry", "Remove crs")
    if request.format.name == "geojson":
        wgs84 = pyproj.CRS.from_authority("EPSG", "4326")
        if request.crs is not None and not projection.same_crs(request.crs.known, wgs84):
            raise ProblemError(
                HTTPStatus.BAD_REQUEST,
                "GeoJSON is always in longitude and latitude (RFC 7946)",
                "Remove crs, or use another format",
            )
        return wgs84
    return source.crs if request.crs is None else request.crs.known
