"""The properties that filters, sorting and GetDomain name, and the table of the index that has them.

A name counts without its prefix and path: `dc:title`, `apiso:Title` and `/csw:Record/dc:title` are one property. A
property with several values fulfils a comparison when one of them does. Withdrawn releases are not in the table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb

from d4c_pipeline.services.catalogue_index import RECORDS, RELEASES
from d4c_pipeline.services.cql2 import Column, Kind
from d4c_pipeline.services.csw.errors import invalid

TABLE = "csw_records"
_NAME = re.compile(r"[A-Za-z0-9_:./@*-]{1,200}", re.ASCII)
"""Names with prefix and path: answers repeat them, as URIs."""
ANY_TEXT = "anytext"
GEOMETRY = "geometry"


@dataclass(frozen=True)
class Queryable:
    """A property. `name`: as capabilities list it; `also`: further names, in lower case."""

    name: str
    column: Column
    also: tuple[str, ...] = ()

    @property
    def is_list(self) -> bool:
        """Whether a record has several values of it."""
        return self.column.kind is Kind.TEXTS

    @property
    def single(self) -> str:
        """SQL of the value that records are sorted by."""
        if self.is_list:
            return f"lower(strip_accents({self.column.sql}[1]))"
        return "west" if self.column.kind is Kind.GEOMETRY else self.column.sql


def _texts(name: str, sql: str, *also: str) -> Queryable:
    return Queryable(name, Column(sql, Kind.TEXTS), also)


ALL = (
    _texts("dc:title", "title", "alternatetitle"),
    _texts("dct:abstract", "abstract", "description"),
    _texts("dc:subject", "subject", "keyword", "keywords"),
    _texts("dc:creator", "creator"),
    _texts("dc:contributor", "contributor", "organisationname", "responsibleparty"),
    Queryable("dc:publisher", Column("publisher", Kind.TEXT)),
    Queryable("dc:date", Column("published", Kind.MOMENT), ("publicationdate", "issued")),
    Queryable("dct:modified", Column("modified", Kind.MOMENT), ("revisiondate",)),
    Queryable("dc:type", Column("kind", Kind.TEXT), ("resourcetype",)),
    _texts("dc:format", "format"),
    _texts("dc:identifier", "identifiers", "resourceidentifier", "fileidentifier"),
    _texts("dc:source", "source"),
    _texts("dc:language", "language", "resourcelanguage"),
    _texts("dc:rights", "rights", "license"),
    Queryable("csw:AnyText", Column(ANY_TEXT, Kind.TEXT)),
    Queryable(
        "ows:BoundingBox",
        Column(GEOMETRY, Kind.GEOMETRY, ("west", "south", "east", "north")),
        ("envelope", "spatial", "geometry", "boundingbox"),
    ),
    Queryable("TempExtent_begin", Column("starts", Kind.MOMENT)),
    Queryable("TempExtent_end", Column("ends", Kind.MOMENT)),
)


def _local(name: str) -> str:
    return name.rpartition("/")[2].rpartition(":")[2].lower()


BY_NAME: Mapping[str, Queryable] = {name: each for each in ALL for name in (_local(each.name), *each.also)}


def queryable(name: str, locator: str = "constraint") -> Queryable:
    """Return a property by any of its names. Raises CswError that lists the properties."""
    found = BY_NAME.get(_local(name.strip())) if _NAME.fullmatch(name.strip()) else None
    if found is None:
        listed = ", ".join(each.name for each in ALL)
        raise invalid(locator, f"'{name[:80]}' is not a property. Use one of {listed}")
    return found


_PATHS = (
    *("$.record.title.en", "$.record.title.fr", "$.description.en", "$.description.fr", "$.keywords.en"),
    *("$.keywords.fr", "$.creators", "$.providers", "$.contributors", "$.site.publisher", "$.published_at"),
    *("$.record.formats", "$.sources", "$.languages", "$.licence.title", "$.licence.title_fr", "$.licence.url"),
    *("$.doi", "$.test_doi"),
)


def _fact(path: str) -> str:
    return f"f[{_PATHS.index(path) + 1}]"


def _text(path: str) -> str:
    return f"json_extract_string({_fact(path)}, '$')"


def _list(path: str, inner: str = "$[*]") -> str:
    return f"coalesce(json_extract_string({_fact(path)}, '{inner}'), [])"


def _known(*texts: str) -> str:
    return f"list_filter([{', '.join(texts)}], lambda t: t IS NOT NULL)"


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table in an index in the making: a row per release that is not withdrawn."""
    doi = f"CASE WHEN NOT coalesce(CAST({_fact('$.test_doi')} AS BOOLEAN), false) THEN 'https://doi.org/' || {{}} END"
    licence = (_text("$.licence.title"), _text("$.licence.title_fr"), _text("$.licence.url"))
    facts = {
        "title": _known(_text("$.record.title.en"), _text("$.record.title.fr")),
        "abstract": _known(_text("$.description.en"), _text("$.description.fr")),
        "subject": f"list_concat({_list('$.keywords.en')}, {_list('$.keywords.fr')})",
        "creator": _list("$.creators", "$[*].name"),
        "contributor": f"list_concat({_list('$.providers', '$[*].name')}, {_list('$.contributors', '$[*].name')})",
        "publisher": _text("$.site.publisher"),
        "published": f"CAST({_text('$.published_at')} AS TIMESTAMPTZ)",
        "format": _list("$.record.formats"),
        "identifiers": _known("identifier", doi.format(_text("$.doi"))),
        "source": _list("$.sources"),
        "language": _list("$.languages"),
        "rights": _known(*licence),
    }
    listed = ", ".join(f"{sql} AS {name}" for name, sql in facts.items())
    words = ("title", "abstract", "subject", "creator", "contributor", "rights", "identifiers")
    joined = ", ".join(f"array_to_string(f.{name}, ' ')" for name in words)
    connection.execute(
        f"""CREATE TABLE {TABLE} AS
            WITH parts AS (
                SELECT position, id, identifier, modified, has_place,
                    json_extract(facts, [{", ".join(f"'{path}'" for path in _PATHS)}]) AS f
                FROM {RECORDS} WHERE NOT withdrawn),
            facts AS (
                SELECT position, id, identifier, to_timestamp(modified) AS modified, has_place, 'dataset' AS kind,
                    {listed}
                FROM parts)
            SELECT f.*, lower(strip_accents(concat_ws(' ', {joined}, f.publisher, f.id))) AS {ANY_TEXT},
                r.geometry, ST_XMin(ST_GeomFromWKB(r.geometry)) AS west, ST_YMin(ST_GeomFromWKB(r.geometry)) AS south,
                ST_XMax(ST_GeomFromWKB(r.geometry)) AS east, ST_YMax(ST_GeomFromWKB(r.geometry)) AS north,
                coalesce(r.start_datetime, r.datetime) AS starts, coalesce(r.end_datetime, r.datetime) AS ends
            FROM facts f LEFT JOIN {RELEASES} r USING (id)
            ORDER BY f.published DESC, f.id"""  # noqa: S608 - names of this module
    )
