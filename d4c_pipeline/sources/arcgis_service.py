"""Requests to one ArcGIS layer: by POST, or by GET where POST is blocked. Errors of the service become `ServiceError`.

The service reports errors with status 200 and a document (https://developers.arcgis.com/rest/services-reference/
enterprise/error-handling.htm). Parameters and the meaning of a response belong to `arcgis.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from urllib.parse import urlencode

from urllib3.exceptions import ProtocolError, ReadTimeoutError

from d4c_pipeline.model.errors import NeedsPersonError, SourceError
from d4c_pipeline.sources.fetch.web import Web
from d4c_pipeline.transport.patience import HttpStatusError, persist

Document = dict[str, Any]
LONGEST_QUERY = 1500  # characters; servers and proxies refuse longer addresses, some from 2,000 on
_FORM = "application/x-www-form-urlencoded"
_TOKEN_WANTED = frozenset({401, 403, 498, 499})
_UNSUPPORTED = frozenset({400, 404, 405, 501})
_POST_BLOCKED = frozenset({400, 403, 404, 405, 406, 411, 413, 415, 501})


class ServiceError(HttpStatusError):
    """An error document of the service in a response with status 200. `code`: the service's error number."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(status, {}, message if status == code else f"its error {code}: {message}")
        self.code = code


class Service:
    """The layer at `url`. `pause` is called with the seconds to wait between attempts."""

    def __init__(self, web: Web, url: str, pause: Callable[[float], None]) -> None:
        self.web = web
        self.url = url
        self._pause = pause
        self._posted = False
        self.by_get = False

    def patiently(self, path: str, **parameters: str) -> Document:
        """Send a request, with retries by the source's patience. Raises the errors of `persist`."""
        return persist(partial(self.ask, path, **parameters), self.web.label(self.url), self.web.patience, self._pause)

    def if_supported(self, path: str, **parameters: str) -> Document | None:
        """Return the response, None if the service does not support the request. Raises the errors of `persist`."""

        def attempt() -> Document | None:
            try:
                return self.ask(path, **parameters)
            except ServiceError as error:
                if error.code in _UNSUPPORTED:
                    return None
                raise

        return persist(attempt, self.web.label(self.url), self.web.patience, self._pause)

    def ask(self, path: str, **parameters: str) -> Document:
        """Send a request once. Raises ServiceError, and NeedsPersonError if the service requires a token."""
        answer = self._answer(f"{self.url}{path}", urlencode({**parameters, "f": "json"}))
        document = cast("Document", answer) if isinstance(answer, dict) else {}
        error = document.get("error") or (document if document.get("status") == "error" else None)
        if error is None:
            return document
        code, message = _code_and_message(error)
        if code in _TOKEN_WANTED:
            raise NeedsPersonError(
                f"{self.url} requires a token ({message})", "Declare the variable that holds it as authorization"
            )
        # A page that is too large for the server fails with 400 too.
        raise ServiceError(500 if code == 400 and "objectIds" in parameters else code, code, message)

    def _answer(self, url: str, query: str) -> Any:
        if self.by_get:
            return self.web.json_once(f"{url}?{query}")
        try:
            answer = self.web.json_once(url, body=query.encode(), media_type=_FORM)
        except (HttpStatusError, SourceError, ReadTimeoutError, ProtocolError) as error:
            blocked = not isinstance(error, HttpStatusError) or error.status in _POST_BLOCKED
            if self._posted or not blocked or len(query) > LONGEST_QUERY:
                raise
            answer = self.web.json_once(f"{url}?{query}")
            self.by_get = True
            return answer
        self._posted = True
        return answer


def _code_and_message(error: object) -> tuple[int, str]:
    """Return the code and the text of an error document: its message and its details, each once."""
    if not isinstance(error, dict):
        return 500, str(error)
    document = cast("Document", error)
    found: list[object] = [document.get("message")]
    for more in (document.get("details"), document.get("messages")):
        found += cast("list[object]", more) if isinstance(more, list) else [more]
    words = [" ".join(re.sub(r"<[^>]*>", " ", str(each)).split()) for each in found if each]
    code = str(document.get("code") or "")
    return int(code) if code.isdigit() and int(code) >= 400 else 500, "; ".join(dict.fromkeys(words)) or "no words"
