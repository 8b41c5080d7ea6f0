"""OGC API Records: `/records` with the catalogue as a searchable collection of records in GeoJSON, in two languages.

Requests and documents belong to `services.records`; what is found, and its order, to `services.discovery`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.metadata.published import PublishedMetadata, Tongue
from d4c_pipeline.services import record_port
from d4c_pipeline.services.cql2 import queryables
from d4c_pipeline.services.discovery import documents as found
from d4c_pipeline.services.discovery import openapi
from d4c_pipeline.services.discovery.answers import GEOJSON, JSON, SCHEMA, json_answer
from d4c_pipeline.services.discovery.entries import prepare
from d4c_pipeline.services.discovery.paging import Pages, sortables
from d4c_pipeline.services.discovery.parameters import unknown, with_token
from d4c_pipeline.services.discovery.selection import page
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.services.records import documents
from d4c_pipeline.services.records.requests import QUERYABLES, SORTABLES, language_of, of_query

PATH = "records"
_AT_ONCE = 2


def _routes(services: Services) -> Sequence[BaseRoute]:
    api = _Api(services)
    lane = services.lane("searches", _AT_ONCE)

    collection = f"/{PATH}/collections/{{collection}}"
    return [
        Route(f"/{PATH}", api.landing, methods=["GET"]),
        Route(f"/{PATH}/", api.landing, methods=["GET"]),
        Route(f"/{PATH}/conformance", api.conformance, methods=["GET"]),
        Route(f"/{PATH}/api", api.description, methods=["GET"]),
        Route(f"/{PATH}/collections", lane.endpoint(api.collections), methods=["GET"]),
        Route(collection, lane.endpoint(api.collection), methods=["GET"]),
        Route(f"{collection}/queryables", api.queryables, methods=["GET"]),
        Route(f"{collection}/sortables", api.sortables, methods=["GET"]),
        Route(f"{collection}/items", lane.endpoint(api.items), methods=["GET"]),
        Route(f"{collection}/items/{{record}}", api.item, methods=["GET"]),
    ]


class _Api:
    def __init__(self, services: Services) -> None:
        self._services, self._index, self._store = services, services.index, services.index.store
        self._pages = Pages(services.key)
        self._publisher, self._contact = services.settings.publisher, services.settings.contact

    def landing(self, request: Request) -> Response:
        language = _language(request)
        document = documents.landing(self._root(request), self._publisher, language)
        return _answer(request, document, JSON, language)

    def conformance(self, request: Request) -> Response:
        return json_answer(request, {"conformsTo": list(documents.CONFORMANCE)})

    def description(self, request: Request) -> Response:
        return json_answer(request, documents.api(self._root(request), self._publisher), openapi.MEDIA_TYPE)

    def queryables(self, request: Request) -> Response:
        own = f"{self._collection_address(request)}/queryables"
        return json_answer(request, queryables(QUERYABLES, own, "Properties of filters"), SCHEMA)

    def sortables(self, request: Request) -> Response:
        own = f"{self._collection_address(request)}/sortables"
        return json_answer(request, queryables(sortables(SORTABLES), own, "Properties of orders"), SCHEMA)

    def collections(self, request: Request) -> Response:
        language, identity = _language(request), self._index.snapshot.identity
        document = documents.collections(self._root(request), self._catalogue(request, language))
        return _answer(request, document, JSON, language, identity)

    def collection(self, request: Request) -> Response:
        self._collection_address(request)
        language, identity = _language(request), self._index.snapshot.identity
        return _answer(request, self._catalogue(request, language), JSON, language, identity)

    def items(self, request: Request) -> Response:
        """Answer a search."""
        own, identity = f"{self._collection_address(request)}/items", self._index.snapshot.identity
        language, search = _language(request), of_query(request.query_params)
        with self._index.reading() as cursor:
            chosen = page(cursor, search.selection, search.keys, search.limit, self._pages, search.token)
            shown = found.published(cursor, chosen.positions)
        features = [self._record(request, each, language) for each in shown]
        query = request.url.query
        document = documents.page(
            self._root(request),
            features,
            chosen.total,
            f"{own}?{query}" if query else own,
            None if chosen.next is None else f"{own}?{with_token(request.query_params, chosen.next)}",
        )
        return _answer(request, document, GEOJSON, language, identity)

    def item(self, request: Request) -> Response:
        """Answer with a record, that of a withdrawn release too."""
        own, name = self._collection_address(request), request.path_params["record"]
        language, identity = _language(request), self._index.snapshot.identity
        with self._index.reading() as cursor:
            published = record_port.named(cursor, [name]).get(name)
        if published is None:
            raise unknown("record", name, f"See {own}/items")
        return _answer(request, self._record(request, published, language), GEOJSON, language, identity)

    def _catalogue(self, request: Request, language: Tongue) -> dict[str, Any]:
        with self._index.reading() as cursor:
            return documents.collection(self._root(request), self._publisher, self._contact, language, cursor)

    def _record(self, request: Request, published: PublishedMetadata, language: Tongue) -> dict[str, Any]:
        address = self._store.url(published.record_address("record"))
        return documents.record(self._root(request), published, language, address)

    def _collection_address(self, request: Request) -> str:
        root, name = self._root(request), request.path_params["collection"]
        if name != documents.COLLECTION:
            raise unknown("collection", name, f"See {root}/collections")
        return f"{root}/collections/{documents.COLLECTION}"

    def _root(self, request: Request) -> str:
        return f"{self._services.base_url(request)}/{PATH}"


def _language(request: Request) -> Tongue:
    return language_of(request.query_params, request.headers.get("accept-language", ""))


def _answer(
    request: Request, document: Mapping[str, Any], media_type: str, language: Tongue, identity: str | None = None
) -> Response:
    """Return a document in a language, which is part of its ETag."""
    answer = json_answer(request, document, media_type, identity=identity and f"{identity} {language}")
    answer.headers["Content-Language"] = language
    answer.headers["Vary"] = "Accept-Language"
    return answer


PROTOCOL = Protocol(
    name="records",
    title="OGC API Records: the catalogue in GeoJSON",
    path=PATH,
    routes=_routes,
    prepare=prepare,
    needs=("cql2",),
)
