"""CSW 2.0.2 and 3.0 at `/csw`, with OpenSearch at `/csw/opensearch`. The protocol itself is `services.csw`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.services.bodies import read_body
from d4c_pipeline.services.csw import documents, queryables, reading
from d4c_pipeline.services.csw.capabilities import Publisher
from d4c_pipeline.services.csw.catalogue import XML, Answer, Catalogue
from d4c_pipeline.services.csw.dialects import CSW_2, CSW_3, Dialect
from d4c_pipeline.services.csw.errors import CswError
from d4c_pipeline.services.csw.opensearch import DESCRIPTION_FORMAT
from d4c_pipeline.services.csw.reading import Asked
from d4c_pipeline.services.protocol import Protocol, Services

PATH = "csw"
_AT_ONCE = 2
_FORM = "application/x-www-form-urlencoded"
_MAIL = re.compile(r"(?:mailto:)?(\S+@(?:\S+\.)+\S+)")


def _routes(services: Services) -> Sequence[BaseRoute]:
    settings = services.settings

    def catalogue_for(request: Request) -> Catalogue:
        mail = _MAIL.fullmatch(settings.contact or "")
        return Catalogue(Publisher(settings.publisher, mail[1] if mail else None, services.base_url(request)))

    def answer(request: Request, body: bytes) -> Response:
        asks_description = DESCRIPTION_FORMAT in request.headers.get("accept", "")
        if request.method != "POST" and asks_description and not request.url.query:
            return description(request)
        address = f"{services.base_url(request)}/{PATH}"
        try:
            asked = _asked(request, body)
        except CswError as problem:
            return _refused(_dialect_of(request, body), problem)
        try:
            with services.index.reading() as cursor:
                return _response(catalogue_for(request).answer(cursor, address, asked))
        except CswError as problem:
            return _refused(asked.dialect, problem)

    lane = services.lane("catalogue requests", _AT_ONCE)

    async def answer_in_lane(request: Request) -> Response:
        return await lane.run(answer, request, await read_body(request))

    def description(request: Request) -> Response:
        return _response(catalogue_for(request).description(f"{services.base_url(request)}/{PATH}"))

    return [
        Route(f"/{PATH}", answer_in_lane, methods=["GET", "HEAD", "POST"]),
        Route(f"/{PATH}/opensearch", description, methods=["GET", "HEAD"]),
    ]


def _asked(request: Request, body: bytes) -> Asked:
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    if request.method != "POST":
        return reading.of_pairs(pairs)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _FORM and not body.lstrip().startswith(b"<"):
        return reading.of_pairs([*pairs, *parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)])
    return reading.of_document(body)


def _dialect_of(request: Request, body: bytes) -> Dialect:
    """Return the version in which a request is refused that has no valid one."""
    of_two = "2.0.2" in request.url.query or CSW_2.csw.encode() in body
    return CSW_2 if of_two else CSW_3


def _response(answer: Answer) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(answer.body, headers=headers, media_type=answer.media_type)


def _refused(dialect: Dialect, problem: CswError) -> Response:
    status = problem.status if dialect.is_3 else HTTPStatus.OK
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(documents.report(dialect, problem), status, headers, XML)


PROTOCOL = Protocol(
    name="csw",
    title="CSW 2.0.2 and 3.0, OpenSearch",
    path=PATH,
    routes=_routes,
    prepare=queryables.prepare,
    needs=("cql2",),
)
