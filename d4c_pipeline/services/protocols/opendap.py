"""OPeNDAP (DAP2) at `/dap/DATASET[/VINTAGE[/VERSION]].dds` (`.das`, `.dods`), and a THREDDS catalogue of all of it.

What is served belongs to `services.dap`; gridded releases plug in beside tables in `_served`.
https://www.opendap.org/pdf/ESE-RFC-004v1.2.pdf, https://docs.unidata.ucar.edu/tds/current/userguide/client_catalog_specification.html
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.service_settings import JobSettings
from d4c_pipeline.services.access import Visitor
from d4c_pipeline.services.dap import Served, Table
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.services.streaming import Streamed
from d4c_pipeline.services.subset import read_request
from d4c_pipeline.services.subset.plan import plan
from d4c_pipeline.services.subset.releases import Chosen
from d4c_pipeline.services.subset.service import SubsetService
from d4c_pipeline.services.subsetting import subset_lane, subset_service

_REMEMBERED = 100  # structures of releases
_SERVER = {"XDODS-Server": "dods/2.0", "Cache-Control": "no-cache"}
_THREDDS = "http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0"
_XLINK = "http://www.w3.org/1999/xlink"


def _routes(services: Services) -> Sequence[BaseRoute]:
    server = _Opendap(services, subset_service(services))
    places = ("{dataset}", "{dataset}/{vintage}", "{dataset}/{vintage}/{version}")
    return [
        *(Route(f"/dap/{place}.{kind}", server.answer(kind), methods=["GET"])
          for place in reversed(places) for kind in ("dds", "das", "dods")),
        Route("/thredds/catalog.xml", server.catalogue, methods=["GET"]),
        Route("/thredds/{dataset}/catalog.xml", server.releases, methods=["GET"]),
    ]  # fmt: skip


PROTOCOL = Protocol(
    name="opendap",
    title="OPeNDAP (DAP2) and THREDDS catalogue",
    path="thredds/catalog.xml",
    others=("dap",),
    routes=_routes,
    needs=("cql2",),
)


class _Opendap:
    def __init__(self, services: Services, subsets: SubsetService) -> None:
        self._services, self._subsets = services, subsets
        self._lane = subset_lane(services)
        self._most = JobSettings.from_environment().sync_cells
        self._table = lru_cache(maxsize=_REMEMBERED)(self._table_of)

    def answer(self, kind: str) -> Callable[[Request], Awaitable[Response]]:
        """Return the endpoint of one kind of answer."""

        async def endpoint(request: Request) -> Response:
            try:
                return await self._lane.run(self._answered, request, kind)
            except D4CError as error:
                return _error(ProblemError.of(error))
            except ProblemError as problem:
                return _error(problem)

        return endpoint

    def _answered(self, request: Request, kind: str) -> Response:
        served, query = self._served(request), request.url.query
        headers = {**_SERVER, "Content-Description": f"dods_{'data' if kind == 'dods' else kind}"}
        if kind != "dods":
            text = served.dds(query) + "\n" if kind == "dds" else served.das()
            return Response(text, headers=headers, media_type="text/plain; charset=utf-8")
        made = served.dods(query, self._subsets.engine)
        whole, stream = self._subsets.sent(made, Visitor.of(request).address)
        kinds = "application/octet-stream"
        if stream is None:
            return Response(whole, headers=headers, media_type=kinds)
        return Streamed(stream, headers, kinds)

    def _served(self, request: Request) -> Served:
        named = request.path_params
        release = self._subsets.release(named["dataset"], named.get("vintage"), named.get("version", "latest"))
        return self._table(release)

    def _table_of(self, release: Chosen) -> Served:
        source = self._subsets.source(release)
        everything = plan(read_request({"dataset": release.dataset}), release, source, most_cells=sys.maxsize)
        return Table(everything, self._subsets.statistics(release), most_cells=self._most)

    def catalogue(self, _request: Request) -> Response:
        with self._services.index.reading() as cursor:
            names = cursor.execute(
                "SELECT DISTINCT dataset FROM releases WHERE withdrawn_reason IS NULL ORDER BY dataset"
            ).fetchall()
        root = _catalogue("Published data")
        for (dataset,) in names:
            reference = etree.SubElement(root, f"{{{_THREDDS}}}catalogRef", name=dataset)
            reference.set(f"{{{_XLINK}}}href", f"{dataset}/catalog.xml")
            reference.set(f"{{{_XLINK}}}title", dataset)
        return _xml(root)

    def releases(self, request: Request) -> Response:
        dataset = request.path_params["dataset"]
        self._subsets.named(dataset)  # 404 for an unknown name
        with self._services.index.reading() as cursor:
            rows = cursor.execute(
                'SELECT vintage, version, title, CASE WHEN "d4c:test_doi" THEN NULL ELSE doi END FROM releases '
                "WHERE dataset = ? AND withdrawn_reason IS NULL "
                "ORDER BY position DESC",
                [dataset],
            ).fetchall()
        root = _catalogue(dataset)
        etree.SubElement(root, f"{{{_THREDDS}}}service", name="dap", serviceType="OPENDAP", base="/dap/")
        parent = etree.SubElement(root, f"{{{_THREDDS}}}dataset", name=dataset, ID=dataset)
        inherited = etree.SubElement(parent, f"{{{_THREDDS}}}metadata", inherited="true")
        etree.SubElement(inherited, f"{{{_THREDDS}}}serviceName").text = "dap"
        for vintage, version, title, doi in rows:
            path = f"{dataset}/{vintage}/{version}"
            each = etree.SubElement(
                parent, f"{{{_THREDDS}}}dataset", name=_printable(title or path), ID=path, urlPath=path
            )
            if doi:
                etree.SubElement(each, f"{{{_THREDDS}}}documentation", type="doi").text = f"https://doi.org/{doi}"
        return _xml(root)


def _catalogue(name: str) -> Any:
    names: dict[str | None, str] = {None: _THREDDS, "xlink": _XLINK}
    return etree.Element(f"{{{_THREDDS}}}catalog", nsmap=names, name=name, version="1.2")


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def _xml(root: Any) -> Response:
    body = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    return Response(body, headers={"Cache-Control": "no-cache"}, media_type="application/xml")


def _error(problem: ProblemError) -> Response:
    """Return DAP2's document of an error, with the status of HTTP."""
    text = f"{problem.detail}. {problem.remedy}".strip().replace("\\", "\\\\").replace('"', '\\"')
    body = f'Error {{\n    code = {problem.status.value};\n    message = "{text}";\n}};\n'
    headers = {**_SERVER, "Content-Description": "dods_error", **problem.headers}
    return Response(body, problem.status.value, headers, "text/plain; charset=utf-8")
