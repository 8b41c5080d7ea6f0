"""A layer of an ArcGIS FeatureServer or MapServer, fetched page by page by object id into one Esri JSON file.

Reference: https://developers.arcgis.com/rest/services-reference/enterprise/query-feature-service-layer/ ; the pages and
their file are `arcgis_pages.py`, reading the file belongs to `processing`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlencode

from d4c_pipeline.model.described import Described
from d4c_pipeline.model.errors import NeedsPersonError, SourceError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import ArcGisSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources import files
from d4c_pipeline.sources.arcgis_pages import Document, Layer, Pages
from d4c_pipeline.sources.port import Fetched, FileMark, Fingerprint, Progress
from d4c_pipeline.sources.web import Web, web_of
from d4c_pipeline.transport.patience import FAILURES, HttpStatusError, Patience, persist

_FORM = "application/x-www-form-urlencoded"
_TOKEN_WANTED = frozenset({401, 403, 498, 499})
_WAIT = frozenset({408, 425, 429})
_WELL = 8  # pages in a row after which larger ones are tried again


class ArcGisLayer:
    """One layer or table (a `Source`, see `port.py`), of which the source only ever serves the current state."""

    def __init__(
        self,
        declared: ArcGisSource,
        *,
        origins: Mapping[str, str],
        vintages: Sequence[Vintage] | None = None,
        patience: Patience | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._declared = declared
        self._origins = origins
        self._vintages = None if vintages is None else tuple(vintages)
        self._patience = patience
        self._pause = pause
        self._url = declared.layer.rstrip("/")

    def discover(self) -> tuple[Vintage, ...]:
        """Return the declared vintages, or the day of the last edit. See `Source.discover`."""
        return self._vintages if self._vintages is not None else (self._served(self._layer()),)

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return time of the last edit, fields and number of rows, in two requests. See `Source.observe`."""
        layer = self._layer()
        fields = hashlib.sha256(json.dumps(layer.fields, sort_keys=True).encode()).hexdigest()[:16]
        moment = None if layer.edited is None else layer.edited.isoformat()
        return Fingerprint((FileMark(self._url, f"{self._count()} rows, fields {fields}", moment, None),))

    def content(self, vintage: Vintage) -> str | None:
        """Return None: a layer's rows can't be hashed without fetching them."""
        return None

    def describe(self, vintage: Vintage) -> Described | None:
        """Return the layer's name and description, which a server has in one language."""
        layer = self._layer()
        return Described((layer.name, ""), (layer.description, ""), ((), ()))

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch all rows into one file. See `Source.fetch`; a page that is here is not asked for again.

        Raises TransientError when the layer was edited meanwhile or rows are missing in the end.
        """
        with files.writing(into):
            into.mkdir(parents=True, exist_ok=True)
        layer = self._layer()
        if self._vintages is None and (served := self._served(layer)) != vintage:
            raise SourceError(
                f"{self._url} serves vintage {served} now, not {vintage}",
                f"Publish vintage {served}; an earlier one is only left where its native files were retained",
            )
        ids = self._object_ids()
        name = f"{files.file_names([quote(layer.name, safe='')])[0]}.json"
        pages = Pages(into / f".{name}.pages", layer, ids)
        self._fetch_pages(
            pages, min(self._declared.page_size, layer.most_rows), partial(_tell, progress, name, len(ids))
        )
        count = self._count()
        after = self._layer()
        if after.edited != layer.edited or count != len(ids):
            pages.forget()
            raise TransientError(
                f"{self._url} was edited while it was fetched ({len(ids)} rows before, {count} after)", "Try again"
            )
        arrived = pages.assemble(into / name, self._url)
        pages.forget()
        alike = [one for one in known if (one.url, one.size) == (arrived.url, arrived.size)]
        sha256 = files.sha256_of(arrived.path) if alike else None
        return (next((one for one in alike if one.sha256 == sha256), arrived),)

    def _fetch_pages(self, pages: Pages, most: int, tell: Callable[[int], None]) -> None:
        """Fetch what is missing; a page that the server can't manage in halves, down to a single row."""
        patience = self._web.patience
        deadline = time.monotonic() + patience.whole_timeout
        size, well = most, 0
        while ids := pages.missing(size):
            try:
                pages.keep(ids, self._rows(ids))
                well += 1
            except (*FAILURES, TransientError) as error:
                if isinstance(error, HttpStatusError) and error.status in _WAIT:
                    persist(partial(self._keep, pages, ids), self._url, patience, self._pause)
                elif len(ids) > 1:
                    size, well = len(ids) // 2, 0
                else:
                    persist(partial(self._keep, pages, ids), self._url, patience, self._pause)
            if well >= _WELL:  # one row that is hard to draw must not slow down all after it
                size, well = min(most, size * 2), 0
            tell(pages.rows_here)
            if time.monotonic() > deadline:
                raise TransientError(
                    f"{self._url} was not here after {patience.whole_timeout:,.0f} s",
                    "Try again, it goes on with the next page; or raise timeouts.whole",
                )

    def _keep(self, pages: Pages, ids: Sequence[int]) -> None:
        pages.keep(ids, self._rows(ids))

    def _rows(self, ids: Sequence[int]) -> Document:
        """One page, in one attempt. By POST: a thousand ids are more than an address may hold."""
        return self._ask(
            "/query",
            objectIds=",".join(map(str, ids)),
            outFields=",".join(self._declared.fields) or "*",
            returnGeometry="true",
        )

    def _object_ids(self) -> tuple[int, ...]:
        answer = self._patiently("/query", where=self._declared.where, returnIdsOnly="true")
        found = cast("list[int] | None", answer.get("objectIds"))
        if not found:
            raise SourceError(
                f"{self._url} has no rows where {self._declared.where}, or can't list their ids",
                "Correct layer or where",
            )
        return tuple(sorted(set(found)))

    def _count(self) -> int:
        answer = self._patiently("/query", where=self._declared.where, returnCountOnly="true")
        return int(answer.get("count") or 0)

    def _layer(self) -> Layer:
        return Layer.read(self._patiently(""), self._url)

    def _served(self, layer: Layer) -> Vintage:
        if layer.edited is None:
            raise SourceError(
                f"{self._url} does not say when it was last edited, so its vintage can't be discovered",
                "List the vintage in the dataset's definition",
            )
        return Vintage.of_day(layer.edited)

    def _patiently(self, path: str, **parameters: str) -> Document:
        asked = partial(self._ask, path, **parameters)
        return persist(asked, self._url, self._web.patience, self._pause)

    def _ask(self, path: str, **parameters: str) -> Document:
        """Ask once. Raises HttpStatusError for the errors that the service puts into an answer with status 200."""
        body = urlencode({**parameters, "f": "json"}).encode()
        answer = self._web.json_once(f"{self._url}{path}", body=body, media_type=_FORM)
        document = cast("Document", answer) if isinstance(answer, dict) else {}
        error = cast("Document | None", document.get("error"))
        if error is not None:
            code = int(error.get("code") or 500)
            if code in _TOKEN_WANTED:
                raise NeedsPersonError(
                    f"{self._url} wants a token ({error.get('message')})",
                    "Name the variable that holds it as authorization",
                )
            # 400 is also how a page that is too much for the server fails.
            raise HttpStatusError(code if code != 400 or "objectIds" not in parameters else 500, {})
        return document

    @cached_property
    def _web(self) -> Web:
        declared = self._declared
        return web_of(
            (declared.layer,),
            origins=self._origins,
            patience=self._patience,
            per_host=declared.per_host,
            timeouts=declared.timeouts,
            authorization=declared.authorization,
        )


def _tell(progress: Progress | None, name: str, total: int, done: int) -> None:
    if progress is not None:
        progress(name, done, total)  # rows: nobody knows how many bytes there will be
