"""A layer of an ArcGIS FeatureServer or MapServer, fetched page by page by object id into one Esri JSON file.

Reference: https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/ . Requests
belong to `arcgis_service.py`, pages and their file to `arcgis_pages.py`, reading the file to `readers`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import cast
from urllib.parse import quote

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.model.described import Described
from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import ArcGisSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources import files
from d4c_pipeline.sources.arcgis_pages import Layer, Pages
from d4c_pipeline.sources.arcgis_service import LONGEST_QUERY, Document, Service
from d4c_pipeline.sources.dating import day_of
from d4c_pipeline.sources.declared import WebSource
from d4c_pipeline.sources.port import Fetched, FileMark, Fingerprint, Progress
from d4c_pipeline.transport.patience import FAILURES, HttpStatusError, persist

_LOG = logging.getLogger("d4c_pipeline.sources")
_WAIT = frozenset({408, 425, 429})
_WELL = 8  # pages in a row after which larger ones are tried again


class ArcGisLayer(WebSource[ArcGisSource]):
    """A layer or table (a `Source`, see `port.py`). The server serves only its current state."""

    def _addresses(self) -> tuple[str, ...]:
        return (self._declared.layer,)

    @property
    def _url(self) -> str:
        return self._declared.layer.rstrip("/")

    def _discovered(self) -> tuple[Vintage, ...]:
        return (self._served(self._layer()),)

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return the time of the last edit, the fields and the row count, in two requests. See `Source.observe`.

        If the layer states no time of edit (`Layer.edited` is None), an edit that keeps the row count goes unnoticed.
        """
        layer = self._layer()
        fields = hashlib.sha256(json.dumps(layer.fields, sort_keys=True).encode()).hexdigest()[:16]
        moment = None if layer.edited is None else layer.edited.isoformat()
        shape = f"{self._rows_there()} rows, fields {fields}"
        return Fingerprint((FileMark(self._url, shape, moment, None, shows_edits=moment is not None),))

    def describe(self, vintage: Vintage) -> Described | None:
        """Return the layer's name and description. A server has them in one language."""
        layer = self._layer()
        return Described((layer.name, ""), (layer.description, ""), ((), ()))

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch all rows into one file. See `Source.fetch`. Pages on the disk are not requested again.

        Raises TransientError when the layer was edited meanwhile, and SourceError when the server counts, lists and
        sends different numbers of rows.
        """
        with storage_errors(f"write in {into}"):
            into.mkdir(parents=True, exist_ok=True)
        layer = self._layer()
        self._require_served(vintage, lambda: self._served(layer), self._url)
        count = self._count()
        ids = self._object_ids(layer, count)
        name = f"{files.file_names([quote(layer.name, safe='')])[0]}.json"
        pages = Pages(into / f".{name}.pages", layer, ids)
        report = partial(_report_rows, progress, name, len(ids))
        if layer.id_field is None:
            self._fetch_by_offset(pages, layer, count or 0, report)
        else:
            self._fetch_pages(pages, layer, min(self._declared.page_size, layer.most_rows), report)
        self._require_all(pages, layer, ids, count)
        arrived = pages.assemble(into / name, self._url)
        pages.forget()
        alike = [retained for retained in known if (retained.url, retained.size) == (arrived.url, arrived.size)]
        sha256 = sha256_of(arrived.path) if alike else None
        return (next((retained for retained in alike if retained.sha256 == sha256), arrived),)

    def _require_all(self, pages: Pages, layer: Layer, ids: Sequence[int], count: int | None) -> None:
        """Compare the rows received with the count and the object ids of the server, before and after the fetch."""
        after, again = self._layer(), self._count()
        listed_again = ids if again is not None or layer.id_field is None else self._object_ids(layer, None)
        if after.edited != layer.edited or again != count or listed_again != ids:
            before, now = (len(ids), len(listed_again)) if again is None else (count, again)
            pages.forget()
            raise TransientError(
                f"{self._url} was edited while it was fetched ({before} rows before, {now} after)", "Try again"
            )
        came = pages.rows
        if came != count and count not in (None, len(ids)):
            pages.forget()
            raise SourceError(
                f"{self._url} counts {count:,} rows, lists {len(ids):,} object ids and sends {came:,} rows",
                "Narrow where until the numbers agree, or ask the publisher",
            )
        if layer.id_field is not None and came != len(ids):
            _LOG.warning("%s sends %s rows for %s object ids: they are not unique", self._url, came, len(ids))

    def _fetch_by_offset(self, pages: Pages, layer: Layer, count: int, report: Callable[[int], None]) -> None:
        """Fetch the rows of a layer without object ids: in one response, or in pages ordered by all fields."""
        size = min(self._declared.page_size, layer.most_rows)
        if count > size and not layer.order:
            raise SourceError(
                f"{self._url} has no object ids and {count:,} rows, and sends at most {layer.most_rows:,} per request",
                "Narrow where until one request suffices, or ask the publisher for object ids",
            )
        while pages.rows < count:
            span = {"resultOffset": str(pages.rows), "resultRecordCount": str(size), "orderByFields": layer.order}
            answer = self._service.patiently(
                "/query", where=self._declared.where, **self._wanted(layer), **(span if count > size else {})
            )
            if not pages.keep_unnumbered(answer):
                break  # `_require_all` compares the numbers
            report(pages.rows)

    def _fetch_pages(self, pages: Pages, layer: Layer, most: int, report: Callable[[int], None]) -> None:
        """Fetch the missing pages. A page that the server fails on is halved, down to a single row."""
        patience = self._service.web.patience
        if self._service.by_get:
            most = min(most, LONGEST_QUERY // (len(str(pages.last_id)) + 3))
        deadline = time.monotonic() + patience.whole_timeout
        size, well = most, 0
        while ids := pages.missing(size):
            try:
                pages.keep(ids, self._rows(ids, layer))
                well += 1
            except (*FAILURES, TransientError) as error:
                if isinstance(error, HttpStatusError) and error.status in _WAIT:
                    persist(partial(self._keep, pages, ids, layer), self._url, patience, self._pause)
                elif len(ids) > 1:
                    size, well = len(ids) // 2, 0
                else:
                    persist(partial(self._keep, pages, ids, layer), self._url, patience, self._pause)
            if well >= _WELL:  # one difficult row must not slow down the rows after it
                size, well = min(most, size * 2), 0
            report(pages.rows_here)
            if time.monotonic() > deadline:
                raise TransientError(
                    f"{self._url} was not complete after {patience.whole_timeout:,.0f} s",
                    "Try again: the fetch resumes at the next page; or raise timeouts.whole",
                )

    def _keep(self, pages: Pages, ids: Sequence[int], layer: Layer) -> None:
        pages.keep(ids, self._rows(ids, layer))

    def _rows(self, ids: Sequence[int], layer: Layer) -> Document:
        """Request one page once. By POST: a thousand ids exceed the length of an address."""
        return self._service.ask("/query", objectIds=",".join(map(str, ids)), **self._wanted(layer))

    def _wanted(self, layer: Layer) -> dict[str, str]:
        # True curves would replace rings and paths, and no reader of Esri JSON supports them.
        wanted = {"outFields": ",".join(self._declared.fields) or "*", "returnGeometry": "true"}
        wanted |= {"returnTrueCurves": "false"} if layer.geometry_type else {}
        # Without measures: GDAL 3.11 reads the measures of a line without heights as heights.
        return wanted | ({"returnZ": "true"} if layer.has_z else {})

    def _object_ids(self, layer: Layer, count: int | None) -> tuple[int, ...]:
        """Return the ids of all rows, each once. If the server caps the list, request the ids after its last."""
        if layer.id_field is None:
            if not count:
                raise SourceError(
                    f"{self._url} has no object ids and {'no rows' if count == 0 else 'does not count its rows'}",
                    "Correct layer or where, or ask the publisher for object ids",
                )
            return ()
        where = self._declared.where
        found, ids, capped = 0, set[int](), False
        while True:
            more = where if not ids else f"({where}) AND {layer.id_field} > {max(ids)}"
            answer = self._service.patiently("/query", where=more, returnIdsOnly="true")
            new = cast("list[int] | None", answer.get("objectIds")) or []
            before = len(ids)
            ids.update(new)
            found += len(new)
            capped = bool(answer.get("exceededTransferLimit"))
            short = capped or (found < count if count is not None else len(new) >= layer.most_rows)
            if not short or len(ids) == before:
                break
        if not ids:
            raise SourceError(
                f"{self._url} has no rows where {where}, or can't list their ids", "Correct layer or where"
            )
        return tuple(sorted(ids))

    def _count(self) -> int | None:
        """Return the row count, None if the server can't count."""
        answer = self._service.if_supported("/query", where=self._declared.where, returnCountOnly="true") or {}
        count = answer.get("count")
        return count if isinstance(count, int) else None

    def _rows_there(self) -> int:
        count = self._count()
        return len(self._object_ids(self._layer(), None)) if count is None else count

    def _layer(self) -> Layer:
        return Layer.read(self._service.patiently(""), self._url)

    def _served(self, layer: Layer) -> Vintage:
        if layer.edited is None:
            raise SourceError(
                f"{self._url} states no time of its last edit, so its vintage can't be discovered",
                "List the vintage in the dataset's definition",
            )
        return day_of(layer.edited, self._url)

    @cached_property
    def _service(self) -> Service:
        return Service(self._web, self._url, self._pause)


def _report_rows(progress: Progress | None, name: str, total: int, done: int) -> None:
    if progress is not None:
        progress(name, done, total)  # rows: the number of bytes is unknown
