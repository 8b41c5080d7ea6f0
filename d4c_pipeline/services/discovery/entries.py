"""The table `entries` of the index: a row per release with the facts that requests select, sort and count by.

It is made of `releases` when the index is built. The naming parts, subjects and years of a release are derived here;
the words of datasets belong to `words`.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from d4c_pipeline.catalogue.item_assets import KINDS
from d4c_pipeline.metadata.records.topics import topics_of
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.naming import ReleaseName
from d4c_pipeline.services.catalogue_index import RELEASES
from d4c_pipeline.services.cql2 import Column, Kind
from d4c_pipeline.services.discovery import words
from d4c_pipeline.tables.sql_names import identifier

ENTRIES = "entries"
FACETS = ("provider", "package", "region", "subject", "licence", "format", "year", "resolution")
"""The facets by name; each is a column with a list of texts."""
_FORMATS = ("data", "geopackage", "flatgeobuf", "csv", "tiles")
_FORMAT_NAMES = {"data": "parquet", "tiles": "pmtiles"}
_MOST_YEARS = 200
_BOX = ("west", "south", "east", "north")
_FACTS = pa.schema(
    [
        ("fact_dataset", pa.string()),
        ("region", pa.list_(pa.string())),
        ("package", pa.list_(pa.string())),
        ("resolution", pa.list_(pa.string())),
        ("subject", pa.list_(pa.string())),
    ]
)

_KINDS: dict[str, Kind] = {
    "id": Kind.TEXT,
    "collection": Kind.TEXT,
    "dataset": Kind.TEXT,
    "title": Kind.TEXT,
    "title_fr": Kind.TEXT,
    "description": Kind.TEXT,
    "keywords": Kind.TEXTS,
    "datetime": Kind.MOMENT,
    "start_datetime": Kind.MOMENT,
    "end_datetime": Kind.MOMENT,
    "created": Kind.MOMENT,
    "published": Kind.MOMENT,
    "withdrawn_at": Kind.MOMENT,
    "license": Kind.TEXT,
    "licence": Kind.TEXT,
    "version": Kind.TEXT,
    "deprecated": Kind.TRUTH,
    "experimental": Kind.TRUTH,
    "doi": Kind.TEXT,
    "concept_doi": Kind.TEXT,
    "rows": Kind.WHOLE,
    "bytes": Kind.WHOLE,
    "is_latest": Kind.TRUTH,
    "sci:doi": Kind.TEXT,
    "proj:code": Kind.TEXT,
    "table:row_count": Kind.WHOLE,
    "d4c:dataset": Kind.TEXT,
    "d4c:vintage": Kind.TEXT,
    "d4c:series": Kind.TEXT,
    "d4c:latest": Kind.TRUTH,
    "d4c:title_fr": Kind.TEXT,
    "d4c:description_fr": Kind.TEXT,
    "d4c:keywords_fr": Kind.TEXTS,
    "d4c:languages": Kind.TEXTS,
    "d4c:change": Kind.TEXT,
    "d4c:place": Kind.TEXT,
    "d4c:geometry_types": Kind.TEXTS,
}
COLUMNS: dict[str, Column] = {
    **{name: Column(identifier(name), kind) for name, kind in _KINDS.items()},
    "geometry": Column("geometry", Kind.GEOMETRY, ("west", "south", "east", "north")),
    **{name: Column(f"facet_{name}", Kind.TEXTS) for name in FACETS},
}
"""Every property of filters by its name in items; facets have their own names."""


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of this package in an index in the making; several protocols may ask for them."""
    existing = "SELECT count(*) FROM duckdb_tables() WHERE table_name = ?"
    if connection.execute(existing, [ENTRIES]).fetchone() != (0,):
        return
    connection.register("d4c_facts", _derived(connection))
    try:
        connection.execute(_statement())
    finally:
        connection.unregister("d4c_facts")
    words.prepare(connection)


def _statement() -> str:
    own = {"datetime", "withdrawn_at", "keywords", "d4c:keywords_fr"}
    plain = ", ".join(f"r.{identifier(name)}" for name in _KINDS if name not in own)
    formats = ", ".join(
        f"CASE WHEN r.assets.{identifier(key)} IS NOT NULL THEN '{_FORMAT_NAMES.get(key, key)}' END"
        for key in _FORMATS
        if key in KINDS
    )
    years = (
        "list_transform(range(year(r.start_datetime), "
        f"least(year(r.end_datetime), year(r.start_datetime) + {_MOST_YEARS - 1}) + 1), lambda y: CAST(y AS VARCHAR))"
    )
    sides = ", ".join(
        f"{function}(ST_GeomFromWKB(r.geometry)) AS {side}"
        for side, function in zip(_BOX, ("ST_XMin", "ST_YMin", "ST_XMax", "ST_YMax"), strict=True)
    )
    return f"""
        CREATE TABLE {ENTRIES} AS
        SELECT r.position, r.vintage, {plain},
            coalesce(r.datetime, r.start_datetime) AS datetime, r.withdrawn_at,
            coalesce(r.keywords, []) AS keywords, coalesce(r."d4c:keywords_fr", []) AS "d4c:keywords_fr",
            r.withdrawn_at IS NOT NULL AS is_withdrawn,
            r.geometry, {sides}, r.bbox AS box,
            list_distinct(list_transform(r.providers, lambda p: p.name)) AS facet_provider,
            f.package AS facet_package, f.region AS facet_region, f.subject AS facet_subject,
            list_value(coalesce(r.licence, r.license, 'other')) AS facet_licence,
            list_distinct(list_filter(list_concat([CASE WHEN r."d4c:parts" IS NOT NULL THEN 'parquet' END],
                [{formats}]), lambda x: x IS NOT NULL)) AS facet_format,
            coalesce({years}, []) AS facet_year,
            f.resolution AS facet_resolution
        FROM {RELEASES} r JOIN d4c_facts f ON r.dataset = f.fact_dataset
        ORDER BY r.position
    """  # noqa: S608 - names of this module


def _derived(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Return what follows from the name and the words of each dataset's newest release."""
    rows = connection.execute(
        f"""SELECT dataset, max_by(id, position), max_by(title, position), max_by(keywords, position),
            bool_or("d4c:geometry_types" IS NOT NULL) FROM {RELEASES} GROUP BY dataset"""  # noqa: S608
    ).fetchall()
    return pa.Table.from_pylist([_facts(*row) for row in rows], schema=_FACTS)


def _facts(dataset: str, name: str, title: str, keywords: list[str] | None, spatial: bool) -> dict[str, Any]:
    found = {"fact_dataset": dataset, "region": [], "package": [], "resolution": []}
    try:
        parts = ReleaseName.parse(name).dataset
    except PermanentError:  # a foreign name has no parts, so the facets do not list it
        parts = None
    if parts is not None:
        found["region"] = [parts.region]
        found["package"] = [parts.package] if parts.package else []
        found["resolution"] = [parts.variant] if parts.variant else []
    found["subject"] = [topic.code for topic in topics_of((*(keywords or ()), title), spatial=spatial)]
    return found
