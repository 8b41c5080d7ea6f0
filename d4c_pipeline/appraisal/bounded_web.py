"""An HTTP client for foreign documents with a limit of time and number over all its requests.

For what is read about a source beside its data. Fetching files belongs to `delivered`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.sources.fetch.web import Answer, Web
from d4c_pipeline.transport.patience import Patience

_LARGEST = 8 << 20  # bytes of a document; a package of 1,000 resources has 3 MB


class SpentError(Exception):
    """The limit of time or requests is reached."""


class BoundedWeb(Web):
    """A client that sends no request past its limits, and none to an address that is not public.

    `origins`: origin -> origin that serves it instead. `seconds`, `requests`: the limits.
    """

    def __init__(self, origins: Mapping[str, str], seconds: float, requests: int) -> None:
        patience = Patience(attempts=1, connect_timeout=5, read_timeout=10, whole_timeout=seconds)
        # No address is declared: a stranger wrote it, so that the rule of public addresses applies.
        super().__init__(origins=origins, patience=patience, declared=())
        self._until, self._left = time.monotonic() + seconds, requests

    @contextmanager
    def answer(self, method: str, url: str, *arguments: Any, **named: Any) -> Generator[Answer]:
        """Send a request, as `Web.answer`. Raises SpentError past the limits."""
        self._require_time()
        if self._left <= 0:
            raise SpentError
        self._left -= 1
        with super().answer(method, url, *arguments, **named) as response:
            yield response

    def _require_time(self) -> None:
        if time.monotonic() >= self._until:
            raise SpentError

    def content(self, url: str, body: bytes | None = None) -> bytes:
        """Return a document: by GET, or by POST with a `body` of JSON.

        Raises SourceError for one of more than 8 MiB, and the errors of `answer`.
        """
        headers = {} if body is None else {"Content-Type": "application/json"}
        found = bytearray()
        with self.answer("GET" if body is None else "POST", url, headers, body=body) as response:
            # In pieces as they arrive: a server that sends a byte at a time must not outlast the limit.
            while piece := response.read1(1 << 16, decode_content=True):
                self._require_time()
                found += piece
                if len(found) > _LARGEST:
                    raise SourceError(f"{url} sent a document of more than {_LARGEST:,} bytes", "Open it in a browser")
        return bytes(found)

    def document(self, url: str, body: bytes | None = None) -> Any:
        """Return a JSON document. Raises SourceError if it is none, and the errors of `content`."""
        try:
            return json.loads(self.content(url, body))
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{url} sent no JSON", "Open the address in a browser") from error
