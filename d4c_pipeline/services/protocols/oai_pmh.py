"""OAI-PMH 2.0 at `/oai`: harvesting of all records, by GET and POST. The protocol itself is `services.oai`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.services.bodies import FORM, read_body
from d4c_pipeline.services.oai import sets
from d4c_pipeline.services.oai.repository import Repository
from d4c_pipeline.services.oai.tokens import Tokens
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Protocol, Services

_PATH = "oai"
_MOST_BYTES = 16 << 10
_AT_ONCE = 1
_MAIL = re.compile(r"(?:mailto:)?(\S+@(?:\S+\.)+\S+)")
_NO_MAIL = "not-stated@invalid.invalid"
"""The schema requires an address of mail; that of a publisher who states none (`D4C_CONTACT`) can't exist."""


def _routes(services: Services) -> Sequence[BaseRoute]:
    settings = services.settings
    mail = _MAIL.fullmatch(settings.contact or "")
    repository = Repository(Tokens(services.key), settings.publisher, mail[1] if mail else _NO_MAIL)

    lane = services.lane("harvests", _AT_ONCE)

    async def answer(request: Request) -> Response:
        pairs = parse_qsl(request.url.query, keep_blank_values=True)
        if request.method == "POST":
            pairs += await _form(request)
        base = f"{services.base_url(request)}/{_PATH}"
        return await lane.run(_answered, services, repository, base, pairs)

    return [Route(f"/{_PATH}", answer, methods=["GET", "HEAD", "POST"])]


def _answered(services: Services, repository: Repository, base: str, pairs: list[tuple[str, str]]) -> Response:
    with services.index.reading() as cursor:
        content = repository.answer(cursor, base, pairs)
    return Response(content, headers={"Cache-Control": "no-store"}, media_type="text/xml; charset=utf-8")


async def _form(request: Request) -> list[tuple[str, str]]:
    body = await read_body(request, FORM, most=_MOST_BYTES)
    try:
        return parse_qsl(body.decode(), keep_blank_values=True)
    except UnicodeDecodeError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The body is not UTF-8", "Encode it as UTF-8") from error


PROTOCOL = Protocol(name="oai-pmh", title="OAI-PMH 2.0", path=_PATH, routes=_routes, prepare=sets.prepare)
