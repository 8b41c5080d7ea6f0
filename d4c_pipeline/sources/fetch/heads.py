"""The headers of a file without its body: by HEAD, or by a GET whose body is hardly read.

Many servers refuse HEAD, answer it with an error or a page, or do not answer. The protocols choose the files and
interpret the marks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from urllib3.exceptions import ProtocolError, ReadTimeoutError

from d4c_pipeline.sources import files
from d4c_pipeline.sources.fetch import not_data
from d4c_pipeline.sources.fetch.part import CONTENT_RANGE, length
from d4c_pipeline.sources.fetch.web import Answer, Web
from d4c_pipeline.sources.port import FileMark
from d4c_pipeline.transport.hosts import HOSTS
from d4c_pipeline.transport.patience import HttpStatusError, persist

_SURE = frozenset({407, 429})
"""Statuses that hold for GET too: of the proxy, and of too many requests."""

_NO_RANGES = frozenset({400, 405, 406, 412, 416, 501})


def read_mark(web: Web, url: str, name: str) -> FileMark:
    """Return the server's mark of the file at `url`, which gets the name `name`, in one attempt.

    Raises the errors of `Web.answer`, and SourceError if a web page is in the place of the file.
    """
    mark = _by_head(web, url, name)
    if mark is not None and (mark.etag or mark.last_modified):
        return mark
    try:
        return _by_get(web, url, name, "bytes=0-0")
    except HttpStatusError as error:
        if error.status not in _NO_RANGES:
            raise
    return _by_get(web, url, name, None)  # some servers refuse requests for ranges


def mark_of(
    web: Web, url: str, name: str, mirrors: tuple[str, ...], pause: Callable[[float], None] = time.sleep
) -> FileMark:
    """Return the mark of the file at `url` from the healthiest of `mirrors`. Raises the errors of `persist`."""
    mirror = HOSTS.healthiest_first(mirrors)[0]
    mark = persist(partial(read_mark, web, mirror, name), web.label(mirror), web.patience, pause)
    return FileMark(url, mark.etag, mark.last_modified, mark.length)


def stated_length(web: Web, url: str, name: str, *, label: str | None = None) -> int | None:
    """Return the length in bytes that the server states by HEAD for a file sent without one; None if not stated."""
    mark = _by_head(web, url, name, label=label)
    return None if mark is None else mark.length


def _by_head(web: Web, url: str, name: str, *, label: str | None = None) -> FileMark | None:
    """Return the mark by HEAD; None if the response is not reliable."""
    host = urlsplit(url).netloc
    if not HOSTS.answers_head(host):
        return None
    try:
        with web.answer("HEAD", url, label=label) as response:
            page = not_data.is_html_type(response.headers.get("Content-Type"), name)
            return None if page else _mark(response, url)
    except HttpStatusError as error:
        if error.status in _SURE:
            raise
    except ReadTimeoutError:
        HOSTS.record_unanswered_head(host)
    except ProtocolError:
        pass  # the server hung up, but may answer GET
    return None


def _by_get(web: Web, url: str, name: str, span: str | None) -> FileMark:
    with web.answer("GET", url, {} if span is None else {"Range": span}) as response:
        mark = _mark(response, url)
        page = not_data.is_html_type(response.headers.get("Content-Type"), name)
        whole = response.status == 200
        start = response.read(files.START, decode_content=False) if page and whole else b""
    if page and not whole:  # one byte does not identify a page
        with web.answer("GET", url, {"Range": f"bytes=0-{files.START - 1}"}) as response:
            start = response.read(files.START, decode_content=False)
    if page and not_data.is_page(start):
        raise not_data.html_instead(url)
    return mark


def _mark(response: Answer, url: str) -> FileMark:
    span = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    whole = length(response) if span is None else int(span["total"]) if span["total"] != "*" else None
    return FileMark(url, response.headers.get("ETag"), response.headers.get("Last-Modified"), whole)
