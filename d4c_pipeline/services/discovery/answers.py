"""Answers in JSON: bytes by orjson, an ETag of the catalogue's state, 304 for a reader who has it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"
GEOJSON = "application/geo+json"
SCHEMA = "application/schema+json"


def json_answer(
    request: Request, document: Mapping[str, Any], media_type: str = JSON, *, identity: str | None = None
) -> Response:
    """Return a document as JSON. With the `identity` of the catalogue's state it has an ETag and is revalidated."""
    headers = {"Cache-Control": "no-cache" if identity else "no-store", "X-Content-Type-Options": "nosniff"}
    if identity:
        tag = f'W/"{hashlib.sha256(f"{identity} {request.url} {media_type}".encode()).hexdigest()[:32]}"'
        headers["ETag"] = tag
        asked = request.headers.get("if-none-match", "")
        if request.method in ("GET", "HEAD") and tag in {each.strip() for each in asked.split(",")}:
            return Response(status_code=304, headers=headers)
    return Response(orjson.dumps(document), headers=headers, media_type=media_type)


def link(relation: str, href: str, media_type: str = JSON, title: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a link of a STAC or OGC API document."""
    stated = {"rel": relation, "href": href, "type": media_type, "title": title, **more}
    return {name: value for name, value in stated.items() if value is not None}
