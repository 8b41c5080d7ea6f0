"""One download in the making: the `.part` file, its running sha256, and the rules of ranges to continue it.

Sending requests and trying again belongs to `http.py`. What is here lives as long as one fetch; nothing of it is
found again by the next process, which starts the file over.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import httpx

from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.sources import files

CONTENT_RANGE = re.compile(r"bytes (?P<first>\d+)-\d+/(?P<total>\d+|\*)")


class Part:
    """The file under construction: what is here already, its running sha256, and what identifies it at the server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restart()

    def restart(self) -> None:
        """Forget what is here; the next bytes are the first."""
        self.done = 0
        self.digest = hashlib.sha256()
        self.validator: str | None = None

    def continuing(self) -> dict[str, str]:
        """Return the headers that ask for the rest (RFC 9110, 13.1.5 and 14.2); empty when it can't be asked for."""
        if not self.done or self.validator is None:
            return {}
        return {"Range": f"bytes={self.done}-", "If-Range": self.validator}

    def begin(self, response: httpx.Response, label: str) -> int | None:
        """Take up an answer: continue with a fitting 206, start over with a 200. Return the whole length, if given."""
        if response.status_code == 206:
            span = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if span is None or int(span["first"]) != self.done or validator(response) != self.validator:
                self.restart()
                raise TransientError(f"{label} sent another range than asked for", "Try again later")
            return None if span["total"] == "*" else int(span["total"])
        self.restart()
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding == "identity":
            self.validator = validator(response)
            return length(response)
        if encoding not in ("gzip", "deflate"):
            raise SourceError(f"{label} sends the encoding '{encoding}'", "Ask the publisher for the plain file")
        return None  # the length is that of the compressed body, and so would be a range

    def receive(
        self, response: httpx.Response, total: int | None, progress: Callable[[int, int | None], None] | None
    ) -> None:
        """Write and hash the body as it arrives, and sync it; raises StorageError."""
        folder = self.path.parent
        # Closing is inside `writing` too: it writes again what a full disk refused.
        with files.writing(folder), self.path.open("ab" if self.done else "wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
                file.flush()  # what `done` counts is in the file, also after an exception
                self.digest.update(chunk)
                self.done += len(chunk)
                if progress is not None:
                    progress(self.done, total)
            os.fsync(file.fileno())


def length(response: httpx.Response) -> int | None:
    """The length of the file in bytes, None when the answer doesn't say (or says that of a compressed body)."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() and "Content-Encoding" not in response.headers else None


def validator(response: httpx.Response) -> str | None:
    """What If-Range may name: a strong ETag, else the date."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
