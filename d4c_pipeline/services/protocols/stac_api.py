"""STAC API 1.0: `/stac` with collections, items and item search by GET and POST, over the index of the catalogue.

Requests and documents belong to `services.stac`; what is found, and its order, to `services.discovery`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.model.addresses import CATALOGUE_ROOT
from d4c_pipeline.services.bodies import json_object, read_body
from d4c_pipeline.services.cql2 import queryables
from d4c_pipeline.services.discovery import documents as found
from d4c_pipeline.services.discovery import openapi
from d4c_pipeline.services.discovery.answers import GEOJSON, JSON, SCHEMA, json_answer, link
from d4c_pipeline.services.discovery.entries import COLUMNS, prepare
from d4c_pipeline.services.discovery.paging import Pages, sortables
from d4c_pipeline.services.discovery.parameters import unknown, with_token
from d4c_pipeline.services.discovery.selection import Page, page
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.services.stac import documents
from d4c_pipeline.services.stac.requests import ItemSearch, of_body, of_collections, of_query

PATH = "stac"
_AT_ONCE = 2


def _routes(services: Services) -> Sequence[BaseRoute]:
    api = _Api(services)
    lane = services.lane("searches", _AT_ONCE)

    async def search_by_body(request: Request) -> Response:
        body = await read_body(request, JSON)
        # A search that is wrong is refused at once.
        stated = await run_in_threadpool(json_object, body)
        search = await run_in_threadpool(of_body, stated)
        return await lane.run(api.search_of_body, request, stated, search)

    dataset = f"/{PATH}/collections/{{dataset}}"
    return [
        Route(f"/{PATH}", api.landing, methods=["GET"]),
        Route(f"/{PATH}/", api.landing, methods=["GET"]),
        Route(f"/{PATH}/conformance", api.conformance, methods=["GET"]),
        Route(f"/{PATH}/api", api.description, methods=["GET"]),
        Route(f"/{PATH}/queryables", api.queryables, methods=["GET"]),
        Route(f"/{PATH}/sortables", api.sortables, methods=["GET"]),
        Route(f"/{PATH}/search", lane.endpoint(api.search), methods=["GET"]),
        Route(f"/{PATH}/search", search_by_body, methods=["POST"]),
        Route(f"/{PATH}/collections", lane.endpoint(api.collections), methods=["GET"]),
        Route(dataset, api.collection, methods=["GET"]),
        Route(f"{dataset}/queryables", api.queryables_of_dataset, methods=["GET"]),
        Route(f"{dataset}/items", lane.endpoint(api.search), methods=["GET"]),
        Route(f"{dataset}/items/{{release}}", api.item, methods=["GET"]),
    ]


class _Api:
    def __init__(self, services: Services) -> None:
        self._services, self._index, self._store = services, services.index, services.index.store
        self._pages = Pages(services.key)
        self._title = services.settings.publisher

    def landing(self, request: Request) -> Response:
        static = self._store.url(CATALOGUE_ROOT)
        return json_answer(request, documents.landing(self._root(request), self._title, static))

    def conformance(self, request: Request) -> Response:
        return json_answer(request, {"conformsTo": list(documents.CONFORMANCE)})

    def description(self, request: Request) -> Response:
        return json_answer(request, documents.api(self._root(request), self._title), openapi.MEDIA_TYPE)

    def queryables(self, request: Request) -> Response:
        own = f"{self._root(request)}/queryables"
        return json_answer(request, queryables(COLUMNS, own, "Properties of filters"), SCHEMA)

    def sortables(self, request: Request) -> Response:
        own = f"{self._root(request)}/sortables"
        return json_answer(request, queryables(sortables(COLUMNS), own, "Properties of orders"), SCHEMA)

    def queryables_of_dataset(self, request: Request) -> Response:
        self._check_dataset(request)
        own = f"{self._root(request)}/collections/{request.path_params['dataset']}/queryables"
        return json_answer(request, queryables(COLUMNS, own, "Properties of filters"), SCHEMA)

    def collections(self, request: Request) -> Response:
        search = of_collections(request.query_params)
        root, identity = self._root(request), self._index.snapshot.identity
        with self._index.reading() as cursor:
            names, total, last = found.datasets(cursor, search.selection, search.limit, search.after)
            shown = found.collections(cursor, names, self._store)
        own = f"{root}/collections"
        following = None if last is None else f"{own}?{with_token(request.query_params, last)}"
        document = documents.collections(root, shown, total, _address(own, request), following)
        return json_answer(request, document, identity=identity)

    def collection(self, request: Request) -> Response:
        identity = self._index.snapshot.identity
        self._check_dataset(request)
        with self._index.reading() as cursor:
            (document,) = found.collections(cursor, [request.path_params["dataset"]], self._store)
        return json_answer(request, documents.collection(self._root(request), document), identity=identity)

    def item(self, request: Request) -> Response:
        identity, root = self._index.snapshot.identity, self._root(request)
        dataset, release = request.path_params["dataset"], request.path_params["release"]
        with self._index.reading() as cursor:
            position = found.position_of(cursor, release, dataset)
            if position is None:
                raise unknown("release", release, f"See {root}/collections/{dataset}/items")
            (document,) = found.items(cursor, [position], self._store)
        return json_answer(request, documents.item(root, document), GEOJSON, identity=identity)

    def search(self, request: Request) -> Response:
        """Answer a search by GET, in one dataset where the address names one."""
        identity, root = self._index.snapshot.identity, self._root(request)
        dataset = request.path_params.get("dataset")
        search = of_query(request.query_params, dataset)
        if dataset is not None:
            self._check_dataset(request)
        own = f"{root}/search" if dataset is None else f"{root}/collections/{dataset}/items"
        features, chosen = self._found(root, search)
        links = [link("self", _address(own, request), GEOJSON)]
        if dataset is not None:
            links.append(link("collection", own.removesuffix("/items"), JSON))
        if chosen.next is not None:
            links.append(link("next", f"{own}?{with_token(request.query_params, chosen.next)}", GEOJSON, method="GET"))
        document = documents.item_page(root, features, chosen.total, links)
        return json_answer(request, document, GEOJSON, identity=identity)

    def search_of_body(self, request: Request, stated: dict[str, Any], search: ItemSearch) -> Response:
        root = self._root(request)
        features, chosen = self._found(root, search)
        own = f"{root}/search"
        links = [link("self", own, GEOJSON)]
        if chosen.next is not None:
            links.append(link("next", own, GEOJSON, method="POST", body={**stated, "token": chosen.next}))
        return json_answer(request, documents.item_page(root, features, chosen.total, links), GEOJSON)

    def _found(self, root: str, search: ItemSearch) -> tuple[list[dict[str, Any]], Page]:
        with self._index.reading() as cursor:
            chosen = page(cursor, search.selection, search.keys, search.limit, self._pages, search.token)
            shown = found.items(cursor, chosen.positions, self._store)
        return [search.fields.of(documents.item(root, each)) for each in shown], chosen

    def _check_dataset(self, request: Request) -> None:
        dataset = request.path_params["dataset"]
        with self._index.reading() as cursor:
            known = found.has_dataset(cursor, dataset)
        if not known:
            raise unknown("dataset", dataset, f"See {self._root(request)}/collections")

    def _root(self, request: Request) -> str:
        return f"{self._services.base_url(request)}/{PATH}"


def _address(path: str, request: Request) -> str:
    return f"{path}?{request.url.query}" if request.url.query else path


PROTOCOL = Protocol(
    name="stac-api",
    title="STAC API 1.0: collections, items, item search",
    path=PATH,
    routes=_routes,
    prepare=prepare,
    needs=("cql2",),
)
