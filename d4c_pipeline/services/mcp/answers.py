"""The answer of each tool as a JSON object, made from the same index, releases and files as the other protocols.

Every answer with data names its release, DOI, licence and citation, so that whoever passes it on can cite it.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from starlette.datastructures import QueryParams

from d4c_pipeline.metadata.published import PublishedMetadata, Tongue
from d4c_pipeline.services import record_port
from d4c_pipeline.services.mcp.arguments import Describe, Query, Sample, Schema, Search
from d4c_pipeline.services.mcp.checked_sql import VIEW
from d4c_pipeline.services.mcp.confined import Rows, queried
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Services
from d4c_pipeline.services.protocols.search import document
from d4c_pipeline.services.subset.releases import Chosen, Named
from d4c_pipeline.services.subset.service import SubsetService
from d4c_pipeline.tables.sql_names import identifier

_MOST_VERSIONS, _MOST_FILES = 100, 50
_TITLES = ("id", "dataset", "vintage", "version", "title", "description", "doi", "published", "start", "end", "rows",
           "bytes", "bbox", "provider", "licence", "format")  # fmt: skip
_DESCRIBED = 400  # characters of a description in a list


class Answers:
    """The tools of one server. `base` of each is the public address of the services for its request."""

    def __init__(self, services: Services, subsets: SubsetService) -> None:
        self._services, self._subsets = services, subsets

    def search(self, base: str, given: Search) -> dict[str, Any]:
        """Return a page of results. Raises ProblemError (400)."""
        box = None if given.bbox is None else ",".join(map(str, given.bbox))
        asked = {
            "q": given.query,
            "lang": given.language,
            "bbox": box,
            "datetime": given.datetime,
            "provider": given.provider,
            "facet": "all" if given.facets else None,
            "limit": str(given.limit),
            "offset": str(given.offset),
        }
        query = QueryParams([(name, value) for name, value in asked.items() if value])
        found = document(self._services, base, query)
        results = [{name: each.get(name) for name in _TITLES} for each in found["results"]]
        for each in results:
            text = each["description"] or ""
            each["description"] = text if len(text) <= _DESCRIBED else f"{text[:_DESCRIBED]}…"
        answer = {name: found[name] for name in ("matched", "numberMatched", "numberReturned", "suggestions")}
        more = given.offset + given.limit < found["numberMatched"]
        return _stated(
            {
                **answer,
                "results": [_stated(each) for each in results],
                "facets": found["facets"] or None,
                "nextOffset": given.offset + given.limit if more else None,
            }
        )

    def describe(self, base: str, given: Describe) -> dict[str, Any]:
        """Return the facts of a release, which needs none of its files. Raises ProblemError as `named_release`."""
        release = self._subsets.named(given.dataset, given.vintage, given.version)
        facts, tongue = self._facts(release), given.language
        place = f"{quote(release.dataset)}/{quote(release.vintage)}/{quote(release.version)}"
        subset = {"dataset": release.dataset, "vintage": release.vintage, "version": release.version}
        boxes = facts.place.boxes if facts.place is not None else ()
        return _stated(
            {
                **self._cited(release, facts, tongue),
                "description": getattr(facts.description, tongue),
                "keywords": list(getattr(facts.keywords, tongue)),
                "creators": [each.name for each in facts.creators],
                "providers": [each.name for each in facts.providers],
                "attribution": getattr(facts.attribution, tongue) if facts.attribution else None,
                "published": facts.published_at.isoformat(),
                "is_latest": facts.latest,
                "rows": facts.rows,
                "bytes": facts.bytes,
                "extent": [list(box) for box in boxes],
                "crs": facts.crs,
                "key": list(facts.key),
                "sources": list(facts.sources),
                "homepage": facts.homepage,
                "versions": self._versions(release.dataset),
                "files": [
                    {"name": each.name, "role": each.role.value, "url": facts.url(each), "size": each.size,
                     "sha256": each.sha256, "media_type": each.media_type}
                    for each in facts.files[:_MOST_FILES]
                ],
                "number_of_files": len(facts.files),
                "addresses": {
                    "page": f"{base}/{tongue}/datasets/{place}/",
                    "records": f"{base}/datasets/{place}",
                    "subset": f"{base}/processes/subset/execution?{urlencode(subset)}",
                    "download_script": f"{base}/downloads?{urlencode({'tool': 'curl', **subset})}",
                },
            }
        )  # fmt: skip

    def schema(self, _base: str, given: Schema) -> dict[str, Any]:
        """Return the columns of a release. Raises ProblemError as `chosen_release`."""
        release = self._subsets.release(given.dataset, given.vintage, given.version)
        facts, source = self._facts(release), self._subsets.source(release)
        described = {each.name: each for each in facts.columns}
        columns = []
        for name, kind in source.sql_types.items():
            column = described.get(name)
            text = getattr(column, f"description_{given.language}", None) if column is not None else None
            is_geometry = name == source.geometry
            columns.append(_stated({"name": name, "type": "GEOMETRY" if is_geometry else kind, "description": text}))
        crs = source.crs
        return _stated(
            {
                **self._cited(release, facts, given.language),
                "table": VIEW,
                "rows": source.rows,
                "key": list(facts.key),
                "columns": columns,
                "geometry": source.geometry,
                "geometry_types": list(source.types),
                "crs": crs.to_string() if crs is not None and crs.to_authority() else (crs.name if crs else None),
                "bounds": list(source.bounds) if source.bounds else None,
            }
        )

    def sample(self, _base: str, given: Sample) -> dict[str, Any]:
        """Return the first rows of a release. Raises ProblemError (400) for unknown columns."""
        release = self._subsets.release(given.dataset, given.vintage, given.version)
        source = self._subsets.source(release)
        names = given.columns or list(source.sql_types)
        if unknown := [name for name in names if name not in source.sql_types]:
            raise ProblemError(
                HTTPStatus.BAD_REQUEST,
                f"{release.dataset} has no column {', '.join(unknown)[:200]}",
                f"Its columns are {', '.join(source.sql_types)[:2_000]}",
            )
        sql = f"SELECT {', '.join(map(identifier, names))} FROM {VIEW} LIMIT {given.rows}"  # noqa: S608 - quoted
        return self._with_rows(release, queried(sql, source, given.rows), given.language)

    def query(self, _base: str, given: Query) -> dict[str, Any]:
        """Return the rows of a SELECT. Raises ProblemError as `confined.queried`."""
        release = self._subsets.release(given.dataset, given.vintage, given.version)
        source = self._subsets.source(release)
        return self._with_rows(release, queried(given.sql, source, given.limit), given.language)

    def _with_rows(self, release: Chosen, found: Rows, tongue: Tongue) -> dict[str, Any]:
        notice = None
        if found.truncated is not None:
            limit = "the limit of rows" if found.truncated == "rows" else "the limit of bytes"
            notice = f"There are more rows: the answer ends at {limit}. Aggregate, or ask for less."
        cited = self._cited(release, self._facts(release), tongue)
        return _stated({"columns": found.columns, "rows": found.rows, "notice": notice, "release": cited})

    def _facts(self, release: Named) -> PublishedMetadata:
        with self._services.index.reading() as cursor:
            row = record_port.of_release(cursor, release.dataset, release.vintage, release.version)
            if row is None:
                raise ProblemError(HTTPStatus.NOT_FOUND, "The release left the catalogue", "Ask again")
            return record_port.published(cursor, [row])[row.position]

    def _cited(self, release: Named, facts: PublishedMetadata, tongue: Tongue) -> dict[str, Any]:
        return {
            "id": release.name,
            "dataset": release.dataset,
            "vintage": release.vintage,
            "version": release.version,
            "title": getattr(facts.title, tongue),
            "doi": facts.doi_url,
            "licence": {"name": facts.licence.titled(tongue), "url": facts.licence.url},
            "citation": getattr(facts.citation, tongue),
        }

    def _versions(self, dataset: str) -> list[dict[str, Any]]:
        with self._services.index.reading() as cursor:
            rows = cursor.execute(
                "SELECT vintage, version, is_latest, published, withdrawn_reason FROM releases WHERE dataset = ? "
                "ORDER BY position DESC LIMIT ?",
                [dataset, _MOST_VERSIONS],
            ).fetchall()
        return [
            _stated(
                {"vintage": vintage, "version": version, "is_latest": latest,
                 "published": published.isoformat() if published else None, "withdrawn": why}
            )
            for vintage, version, latest, published, why in rows
        ]  # fmt: skip


def _stated(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None and value != []}
