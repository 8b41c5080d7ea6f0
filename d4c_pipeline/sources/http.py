"""Native files over HTTP(S): discovered by Last-Modified, observed by HEAD, fetched by streaming conditional GET.

What is worth trying again and how often is in `transport.patience`, names and checks of files in `files.py`; other
protocols have modules of their own. Addresses are rewritten (`origins.py`) when a request is made and nowhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from d4c_pipeline.model.dataset import HttpSource
from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources import files
from d4c_pipeline.sources.http_part import CONTENT_RANGE, Part, length
from d4c_pipeline.sources.origins import rewrite
from d4c_pipeline.sources.port import Fetched, FileMark, Fingerprint, Progress
from d4c_pipeline.transport.identity import user_agent
from d4c_pipeline.transport.patience import Patience, http_date, is_retryable, persist

_MOST_REDIRECTS = 10


class HttpFiles:
    """The files behind declared HTTP(S) addresses (a `Source`, see `port.py`).

    `origins`: origin -> origin that serves it instead. `vintages`: the declared ones; None when they are discovered,
    which means that the addresses only ever serve one vintage, the UTC day of their newest Last-Modified. `pause` is
    called with the seconds to wait between attempts.
    """

    def __init__(
        self,
        declared: HttpSource,
        *,
        origins: Mapping[str, str],
        vintages: Sequence[Vintage] | None = None,
        patience: Patience | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._declared = declared
        self._origins = dict(origins)
        self._vintages = None if vintages is None else tuple(vintages)
        self._patience = patience or Patience()
        self._pause = pause

    def discover(self) -> tuple[Vintage, ...]:
        """Return the declared vintages, or the one that the source serves now. See `Source.discover`."""
        if self._vintages is not None:
            return self._vintages
        marks = self._marks(tuple(url.format() for url in self._declared.urls))
        return (_served_vintage([(mark.url, mark.last_modified) for mark in marks]),)

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return ETag, Last-Modified and length of each file. See `Source.observe`."""
        return Fingerprint(self._marks(self._declared.addresses(vintage)))

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch the files of a vintage into `into`. See `Source.fetch`.

        Where vintages are discovered, raises SourceError when the source serves another one than `vintage`.
        """
        with files.writing(into):
            into.mkdir(parents=True, exist_ok=True)
        urls = self._declared.addresses(vintage)
        if self._vintages is None:
            self._require_served(vintage, [(mark.url, mark.last_modified) for mark in self._marks(urls)])
        with self._client() as client:
            fetched = tuple(
                self._fetch_file(client, url, into / name, _known(url, known), progress)
                for url, name in zip(urls, files.file_names(urls), strict=True)
            )
        if self._vintages is None:  # the source may have moved on since it was asked
            self._require_served(vintage, [(each.file.url, each.file.last_modified) for each in fetched])
        return fetched

    def _require_served(self, vintage: Vintage, dates: Sequence[tuple[str, str | None]]) -> None:
        served = _served_vintage(dates)
        if served != vintage:
            raise SourceError(
                f"The source serves vintage {served} now, not {vintage}: {dates[0][0]}",
                f"Publish vintage {served}; an earlier one is only left where its native files were retained",
            )

    def _marks(self, urls: Sequence[str]) -> tuple[FileMark, ...]:
        with self._client() as client:
            return tuple(
                persist(partial(self._mark, client, url, name), self._label(url), self._patience, self._pause)
                for url, name in zip(urls, files.file_names(urls), strict=True)
            )

    def _mark(self, client: httpx.Client, url: str, name: str) -> FileMark:
        try:
            with self._answer(client, "HEAD", url) as response:
                mark = _read_mark(response, url, name)
            if mark.etag or mark.last_modified:
                return mark
        except httpx.HTTPStatusError as error:
            if is_retryable(error) and error.response.status_code != 501:
                raise
        # Some servers refuse HEAD, or answer it with less than they say to GET.
        with self._answer(client, "GET", url, {"Range": "bytes=0-0"}) as response:
            return _read_mark(response, url, name)

    def _fetch_file(
        self, client: httpx.Client, url: str, target: Path, known: NativeFile | None, progress: Progress | None
    ) -> Fetched:
        part = Part(target.with_name(f"{target.name}.part"))
        attempt = partial(self._attempt, client, url, target, part, known, progress)
        try:
            return persist(attempt, self._label(url), self._patience, self._pause)
        finally:
            with files.writing(target.parent):
                part.path.unlink(missing_ok=True)

    def _attempt(
        self,
        client: httpx.Client,
        url: str,
        target: Path,
        part: Part,
        known: NativeFile | None,
        progress: Progress | None,
    ) -> Fetched:
        label = self._label(url)
        asking = part.continuing() or _conditions(known)
        with self._answer(client, "GET", url, asking, passing=(304, 416)) as response:
            if known is not None and (response.status_code == 304 or _is_known(response, known)):
                return Fetched(known, path=None, unchanged=True)
            if response.status_code in (304, 416):
                part.restart()
                raise TransientError(f"{label} answered {response.status_code} to a plain request", "Try again later")
            if files.is_html_type(response.headers.get("Content-Type"), target.name):
                raise files.html_instead(label)
            total = part.begin(response, label)
            if total is not None:
                files.require_room(target.parent, total - part.done, target.name)
            part.receive(response, total, partial(progress, target.name) if progress else None)
            headers = response.headers
        if total is not None and part.done != total:
            raise TransientError(f"{label} sent {part.done:,} bytes of {total:,}", "Try again later")
        try:
            files.inspect(part.path, target.name, label)
        except TransientError:
            part.restart()  # what is here is whole by its length and still broken: continuing it can't help
            raise
        with files.writing(target.parent):
            files.move_into_place(part.path, target)
        native = NativeFile(
            name=target.name,
            url=url,
            sha256=part.digest.hexdigest(),
            size=part.done,
            etag=headers.get("ETag"),
            last_modified=headers.get("Last-Modified"),
            content_type=headers.get("Content-Type"),
        )
        return Fetched(native, path=target, unchanged=False)

    @contextmanager
    def _answer(
        self,
        client: httpx.Client,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        passing: tuple[int, ...] = (),
    ) -> Generator[httpx.Response]:
        """Send a request, follow redirects (by hand: each hop is rewritten, none leaves http), yield the open answer.

        Raises httpx.HTTPStatusError for a status that is neither 2xx nor in `passing`.
        """
        target = url
        for _ in range(_MOST_REDIRECTS + 1):
            request = client.build_request(method, rewrite(target, self._origins), headers=headers)
            response = client.send(request, stream=True)
            try:
                if not response.has_redirect_location:
                    if response.status_code not in passing:
                        response.raise_for_status()
                    yield response
                    return
                target = _redirected(target, response.headers["Location"], self._label(url))
            finally:
                response.close()
        raise SourceError(
            f"{self._label(url)} redirects more than {_MOST_REDIRECTS} times",
            "Correct the address, it leads in a circle",
        )

    def _client(self) -> httpx.Client:
        patience = self._patience
        return httpx.Client(
            timeout=httpx.Timeout(patience.read_timeout, connect=patience.connect_timeout),
            # Lengths, ranges and checksums are of the file as it is, so no compression on the way.
            headers={"User-Agent": user_agent(), "Accept": "*/*", "Accept-Encoding": "identity"},
            # A proxy of the environment can't reach what listens on this machine alone.
            mounts={"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None},
        )

    def _label(self, url: str) -> str:
        asked = rewrite(url, self._origins)
        return url if asked == url else f"{url} (served by {urlsplit(asked).netloc})"


def _read_mark(response: httpx.Response, url: str, name: str) -> FileMark:
    if files.is_html_type(response.headers.get("Content-Type"), name):
        raise files.html_instead(url)
    span = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    whole = length(response) if span is None else int(span["total"]) if span["total"] != "*" else None
    return FileMark(url, response.headers.get("ETag"), response.headers.get("Last-Modified"), whole)


def _known(url: str, known: Sequence[NativeFile]) -> NativeFile | None:
    found = [file for file in known if file.url == url and (file.etag or file.last_modified)]
    return found[-1] if found else None


def _conditions(known: NativeFile | None) -> dict[str, str]:
    if known is None:
        return {}
    conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {header: value for header, value in conditions.items() if value}


def _is_known(response: httpx.Response, known: NativeFile) -> bool:
    """Whether a server that ignored the conditions names the same file: its strong ETag, else date and length."""
    if response.status_code != 200 or length(response) not in (None, known.size):
        return False
    etag = response.headers.get("ETag")
    if etag and known.etag:
        return etag == known.etag and not etag.startswith("W/")
    date = response.headers.get("Last-Modified")
    return date is not None and date == known.last_modified and length(response) == known.size


def _served_vintage(dates: Sequence[tuple[str, str | None]]) -> Vintage:
    moments: list[datetime] = []
    for url, text in dates:
        moment = http_date(text)
        if moment is None:
            raise SourceError(
                f"{url} does not say when it was last modified, so its vintage can't be discovered",
                "List the vintages in the dataset's definition",
            )
        moments.append(moment)
    return Vintage.of_day(max(moments))


def _redirected(base: str, location: str, label: str) -> str:
    try:
        target = urljoin(base, location)
        scheme = urlsplit(target).scheme
    except ValueError as error:
        raise SourceError(f"{label} redirects to '{location}', which is no address", "Correct the address") from error
    if scheme not in ("http", "https"):
        raise SourceError(f"{label} redirects to '{location}', which is not http", "Correct the address")
    return target
