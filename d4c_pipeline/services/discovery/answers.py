"""Answers in JSON: bytes by orjson, an ETag of the catalogue's state, 304 for a reader who has it."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

JSON = "application/json"
GEOJSON = "application/geo+json"
SCHEMA = "application/schema+json"


def json_answer(
    request: Request, document: Mapping[str, Any] | bytes, media_type: str = JSON, *, identity: str | None = None
) -> Response:
    """Return a document, or its bytes, as JSON.

    With the `identity` of the catalogue's state it has an ETag and is revalidated.
    """
    headers = {"Cache-Control": "no-cache" if identity else "no-store", "X-Content-Type-Options": "nosniff"}
    if identity:
        tag = f'W/"{hashlib.sha256(f"{identity} {request.url} {media_type}".encode()).hexdigest()[:32]}"'
        headers["ETag"] = tag
        if has_current(request, tag):
            return Response(status_code=304, headers=headers)
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return Response(body, headers=headers, media_type=media_type)


def has_current(request: Request, tag: str) -> bool:
    """Return whether the client of a GET or HEAD has the answer with this ETag, by If-None-Match (RFC 9110, 13.1.2).

    Tags are compared weakly; `*` stands for every answer. A tag of ours has no comma.
    """
    asked = {each.strip().removeprefix("W/") for each in ",".join(request.headers.getlist("if-none-match")).split(",")}
    return request.method in ("GET", "HEAD") and not asked.isdisjoint(("*", tag.removeprefix("W/")))


class RecentAnswers:
    """The bytes of the answers that were given last, `most` bytes of them. Safe in several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._kept: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, key: tuple[str, ...]) -> bytes | None:
        """Return the answer with `key` if it is kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def get(self, key: tuple[str, ...], make: Callable[[], bytes]) -> bytes:
        """Return the answer with `key`, which names the state of the catalogue; what `make` raises is not kept."""
        if (found := self.known(key)) is not None:
            return found
        made = make()
        with self._lock:
            self._size += len(made) - len(self._kept.pop(key, b""))
            self._kept[key] = made
            while self._size > self._most:
                self._size -= len(self._kept.popitem(last=False)[1])
        return made


def link(relation: str, href: str, media_type: str = JSON, title: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a link of a STAC or OGC API document."""
    stated = {"rel": relation, "href": href, "type": media_type, "title": title, **more}
    return {name: value for name, value in stated.items() if value is not None}
