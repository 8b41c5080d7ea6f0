"""A layer of an ArcGIS FeatureServer or MapServer, fetched page by page by object id into one Esri JSON file.

Reference: https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/ ; how it
is asked is `arcgis_service.py`, the pages and their file are `arcgis_pages.py`, reading it belongs to `readers`.
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
    """One layer or table (a `Source`, see `port.py`), of which the source only ever serves the current state."""

    def _addresses(self) -> tuple[str, ...]:
        return (self._declared.layer,)

    @property
    def _url(self) -> str:
        return self._declared.layer.rstrip("/")

    def _discovered(self) -> tuple[Vintage, ...]:
        return (self._served(self._layer()),)

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return time of the last edit, fields and number of rows, in two requests. See `Source.observe`.

        Of a layer that does not say when it was edited (`Layer.edited` is None) an edit that leaves the number of rows
        as it was is not seen.
        """
        layer = self._layer()
        fields = hashlib.sha256(json.dumps(layer.fields, sort_keys=True).encode()).hexdigest()[:16]
        moment = None if layer.edited is None else layer.edited.isoformat()
        shape = f"{self._rows_there()} rows, fields {fields}"
        return Fingerprint((FileMark(self._url, shape, moment, None, shows_edits=moment is not None),))

    def describe(self, vintage: Vintage) -> Described | None:
        """Return the layer's name and description, which a server has in one language."""
        layer = self._layer()
        return Described((layer.name, ""), (layer.description, ""), ((), ()))

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch all rows into one file. See `Source.fetch`; a page that is here is not asked for again.

        Raises TransientError when the layer was edited meanwhile, and SourceError when the numbers of rows that it
        counts, lists and sends don't agree.
        """
        with storage_errors(f"write in {into}"):
            into.mkdir(parents=True, exist_ok=True)
        layer = self._layer()
        self._require_served(vintage, lambda: self._served(layer), self._url)
        count = self._count()
        ids = self._object_ids(layer, count)
        name = f"{files.file_names([quote(layer.name, safe='')])[0]}.json"
        pages = Pages(into / f".{name}.pages", layer, ids)
        tell = partial(_tell, progress, name, len(ids))
        if layer.id_field is None:
            self._fetch_by_offset(pages, layer, count or 0, tell)
        else:
            self._fetch_pages(pages, layer, min(self._declared.page_size, layer.most_rows), tell)
        self._require_all(pages, layer, ids, count)
        arrived = pages.assemble(into / name, self._url)
        pages.forget()
        alike = [one for one in known if (one.url, one.size) == (arrived.url, arrived.size)]
        sha256 = sha256_of(arrived.path) if alike else None
        return (next((one for one in alike if one.sha256 == sha256), arrived),)

    def _require_all(self, pages: Pages, layer: Layer, ids: Sequence[int], count: int | None) -> None:
        """Compare what came with what the server counts and lists, before and after."""
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

    def _fetch_by_offset(self, pages: Pages, layer: Layer, count: int, tell: Callable[[int], None]) -> None:
        """Fetch the rows of a layer without object ids: in one answer, or in pages of an order over all fields."""
        size = min(self._declared.page_size, layer.most_rows)
        if count > size and not layer.order:
            raise SourceError(
                f"{self._url} has no object ids, {count:,} rows, and sends {layer.most_rows:,} at once",
                "Narrow where until they are few enough, or ask the publisher for object ids",
            )
        while pages.rows < count:
            span = {"resultOffset": str(pages.rows), "resultRecordCount": str(size), "orderByFields": layer.order}
            answer = self._service.patiently(
                "/query", where=self._declared.where, **self._wanted(layer), **(span if count > size else {})
            )
            if not pages.keep_unnumbered(answer):
                break  # the numbers are compared in the end
            tell(pages.rows)

    def _fetch_pages(self, pages: Pages, layer: Layer, most: int, tell: Callable[[int], None]) -> None:
        """Fetch what is missing; a page that the server can't manage in halves, down to a single row."""
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
            if well >= _WELL:  # one row that is hard to draw must not slow down all after it
                size, well = min(most, size * 2), 0
            tell(pages.rows_here)
            if time.monotonic() > deadline:
                raise TransientError(
                    f"{self._url} was not here after {patience.whole_timeout:,.0f} s",
                    "Try again, it goes on with the next page; or raise timeouts.whole",
                )

    def _keep(self, pages: Pages, ids: Sequence[int], layer: Layer) -> None:
        pages.keep(ids, self._rows(ids, layer))

    def _rows(self, ids: Sequence[int], layer: Layer) -> Document:
        """One page, in one attempt. By POST: a thousand ids are more than an address may hold."""
        return self._service.ask("/query", objectIds=",".join(map(str, ids)), **self._wanted(layer))

    def _wanted(self, layer: Layer) -> dict[str, str]:
        # Curves would come instead of rings and paths, which no reader of Esri JSON knows.
        wanted = {"outFields": ",".join(self._declared.fields) or "*", "returnGeometry": "true"}
        wanted |= {"returnTrueCurves": "false"} if layer.geometry_type else {}
        # Measures are left out: GDAL reads those of a line without heights as heights (3.11).
        return wanted | ({"returnZ": "true"} if layer.has_z else {})

    def _object_ids(self, layer: Layer, count: int | None) -> tuple[int, ...]:
        """The ids of all rows, each once. Servers that cap the list are asked for what follows its end."""
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
        """The number of rows; None of a server that can't count."""
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
                f"{self._url} does not say when it was last edited, so its vintage can't be discovered",
                "List the vintage in the dataset's definition",
            )
        return day_of(layer.edited, self._url)

    @cached_property
    def _service(self) -> Service:
        return Service(self._web, self._url, self._pause)


def _tell(progress: Progress | None, name: str, total: int, done: int) -> None:
    if progress is not None:
        progress(name, done, total)  # rows: nobody knows how many bytes there will be
