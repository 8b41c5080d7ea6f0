"""The HTTP client of all sources: pooled connections, checked redirects, credentials only for declared origins.

Requests and the meaning of responses belong to the protocols, a file with ranges and checks to `download.py`, retries
to `transport.patience`. Addresses are rewritten (`origins.py`) when a request is sent, and nowhere else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from http.client import RemoteDisconnected
from http.cookiejar import CookieJar
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import Request

import urllib3
from urllib3.exceptions import ProtocolError, SSLError

from d4c_pipeline.model import secrets
from d4c_pipeline.model.errors import NeedsPersonError, SourceError, TransientError
from d4c_pipeline.model.sources import ArcGisSource, CkanSource, HttpSource, S3Source, StatCanTableSource
from d4c_pipeline.sources.fetch import not_data
from d4c_pipeline.sources.fetch.origins import origin_of, rewrite
from d4c_pipeline.sources.fetch.pools import pools, proxy_of, require_chain
from d4c_pipeline.sources.fetch.public import require_public
from d4c_pipeline.transport.hosts import HOSTS
from d4c_pipeline.transport.identity import announced
from d4c_pipeline.transport.patience import HttpStatusError, Patience, is_retryable, persist, retry_after

Answer = urllib3.BaseHTTPResponse
WebDeclaration = HttpSource | StatCanTableSource | CkanSource | ArcGisSource | S3Source
"""A declaration of a source that is fetched over HTTP."""
_MOST_REDIRECTS = 10
_PEEK = 1 << 16
_REFUSED = frozenset({403, 406})
_BROWSER = "Mozilla/5.0 (compatible)"
_LONGEST_DOCUMENT = 256 << 20
# 2xx without a file: "accepted" (ArcGIS Hub while it exports) and "no content".
_EMPTY = frozenset({202, 204, 205})


class Web:
    """The HTTP client of one source. Thread-safe.

    `origins`: origin -> origin that serves it instead. `authorization`: the value of that header, sent only to the
    origins of `declared` addresses. `public_only`: whether to refuse private addresses before connecting. Declared and
    rewritten origins are exempt, so the rule applies to redirects and to addresses in documents of the source.
    `user_agent`: the prefix of our User-Agent.
    """

    def __init__(
        self,
        *,
        origins: Mapping[str, str],
        patience: Patience,
        per_host: int = 4,
        declared: tuple[str, ...] = (),
        authorization: str | None = None,
        public_only: bool = True,
        user_agent: str | None = None,
    ) -> None:
        self._origins = dict(origins)
        self.patience = patience
        self._per_host = per_host
        self._declared = frozenset(origin_of(url) for url in declared)
        self._authorization = authorization
        self._public_only = public_only
        self._user_agent = user_agent
        # A redirect may set a cookie and require it: kept as long as this object, which is one fetch.
        self._cookies = CookieJar()
        options: dict[str, Any] = {
            "maxsize": per_host,
            "retries": False,
            "timeout": urllib3.Timeout(connect=patience.connect_timeout, read=patience.read_timeout),
        }
        self._pools = cache(partial(pools, options))  # one manager per scheme, proxy and rule

    def places(self, urls: Iterable[str]) -> int:
        """Return how many requests to `urls` may run at once."""
        return self._per_host * len({urlsplit(rewrite(url, self._origins)).netloc for url in urls})

    @contextmanager
    def answer(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        passing: tuple[int, ...] = (),
        body: bytes | None = None,
        label: str | None = None,
    ) -> Generator[Answer]:
        """Send a request, follow redirects (each hop is rewritten, none leaves http), yield the open response.

        `label`: the address in error messages, if `url` carries a secret. Raises HttpStatusError for a status that is
        neither a success (2xx without 202, 204 and 205) nor in `passing`, and SourceError for an invalid or forbidden
        redirect.
        """
        name = label or self.label(url)
        target = url
        for _ in range(_MOST_REDIRECTS + 1):
            requested = rewrite(target, self._origins)
            with HOSTS.turn(urlsplit(requested).netloc, self._per_host):
                response = self._send(method, target, requested, headers, body)
                try:
                    self._keep_cookies(response, target)
                    location = response.get_redirect_location()
                    if not location:
                        if response.status in _REFUSED - {*passing} and body is None:
                            self._require_welcome(method, target, requested, headers, name)
                        self._require_success(response, requested, passing)
                        yield response
                        # An unread rest of the body is cheaper to discard with the connection.
                        return
                    target = _redirected(target, location, name)
                finally:
                    _release(response)
        raise SourceError(
            f"{name} redirects more than {_MOST_REDIRECTS} times", "Correct the address: it redirects in a loop"
        )

    def json(
        self,
        url: str,
        *,
        body: bytes | None = None,
        media_type: str = "application/json",
        passing: tuple[int, ...] = (),
    ) -> Any:
        """Return a JSON document, with retries by the source's patience: by GET, or by POST with a `body`.

        `media_type`: of the body. `passing`: statuses whose document is returned too. Raises SourceError if the
        response is not JSON, and the errors of `persist`.
        """
        requested = partial(self.json_once, url, body=body, media_type=media_type, passing=passing)
        return persist(requested, self.label(url), self.patience)

    def json_once(
        self,
        url: str,
        *,
        body: bytes | None = None,
        media_type: str = "application/json",
        passing: tuple[int, ...] = (),
    ) -> Any:
        """Return a JSON document as `json` does, in one attempt. Raises the unexplained errors of the attempt."""
        sent_headers = {"Accept": "application/json"} | ({} if body is None else {"Content-Type": media_type})
        with self.answer("GET" if body is None else "POST", url, sent_headers, passing=passing, body=body) as response:
            content = response.read(_LONGEST_DOCUMENT, decode_content=True)
            if len(content) == _LONGEST_DOCUMENT:
                raise SourceError(f"{self.label(url)} sent a document of 256 MiB or more", "Correct the address")
        try:
            return json.loads(content)
        except ValueError as error:
            if not_data.is_page(content[:_PEEK]):
                raise not_data.html_instead(self.label(url)) from error
            # Proxies truncate documents; a text that does not begin as JSON is a permanent error.
            if content.lstrip()[:1] in (b"{", b"["):
                raise TransientError(f"{self.label(url)} sent a broken document: {error}", "Try again later") from error
            raise SourceError(f"{self.label(url)} sent no JSON", "Open the address in a browser") from error

    def label(self, url: str) -> str:
        """Return the address for error messages: with the host that serves it, if that differs."""
        requested = rewrite(url, self._origins)
        return url if requested == url else f"{url} (served by {urlsplit(requested).netloc})"

    def _send(
        self, method: str, target: str, requested: str, headers: Mapping[str, str] | None, body: bytes | None
    ) -> Answer:
        send = partial(
            self._manager(target, requested).request,
            method,
            requested,
            headers=self._headers(target, headers),
            body=body,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            return send()
        except SSLError as error:
            if not (
                self._guarded(target, requested)
                or proxy_of(urlsplit(requested).scheme, urlsplit(requested).hostname or "")
            ):
                require_chain(requested, error)
            raise
        except ProtocolError as error:
            # The server closed an idle connection: not a failure of the request. All requests are safe to repeat.
            if not any(isinstance(each, (RemoteDisconnected, ConnectionError)) for each in error.args):
                raise
            return send()

    def _headers(self, target: str, headers: Mapping[str, str] | None) -> dict[str, str]:
        # Lengths, ranges and checksums refer to the plain file, so no compression on the way.
        out = {
            "User-Agent": announced(self._user_agent),
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            **(headers or {}),
        }
        if self._authorization is not None and origin_of(target) in self._declared:
            out["Authorization"] = self._authorization
        sent_headers = Request(target)  # noqa: S310 - nothing is opened: the jar reads and writes its header
        self._cookies.add_cookie_header(sent_headers)
        if (cookie := sent_headers.get_header("Cookie")) is not None:
            out["Cookie"] = cookie
        return out

    def _keep_cookies(self, response: Answer, target: str) -> None:
        if "Set-Cookie" in response.headers:
            wrapped: Any = SimpleNamespace(info=lambda: response.headers)
            self._cookies.extract_cookies(wrapped, Request(target))  # noqa: S310

    def _require_welcome(
        self, method: str, target: str, requested: str, headers: Mapping[str, str] | None, name: str
    ) -> None:
        """Raise SourceError if the server refuses only our User-Agent: it answers the same request of a browser."""
        if self._user_agent is not None:
            return
        renamed = {**(headers or {}), "User-Agent": announced(_BROWSER)}
        with HOSTS.turn(urlsplit(requested).netloc, self._per_host):
            response = self._send(method, target, requested, renamed, None)
            try:
                welcome = response.status < 400
            finally:
                _release(response)
        if welcome:
            raise SourceError(
                f"{name} refuses the User-Agent '{announced(None)}', but not that of a browser",
                f"Declare source.user_agent: '{_BROWSER}', which is put before ours, or ask the publisher",
            )

    def _require_success(self, response: Answer, requested: str, passing: tuple[int, ...]) -> None:
        if (200 <= response.status < 300 and response.status not in _EMPTY) or response.status in passing:
            return
        error = HttpStatusError(response.status, response.headers)
        rest = retry_after(error, datetime.now(UTC))
        if rest is not None and rest <= self.patience.longest_wait and is_retryable(error):
            HOSTS.rest(urlsplit(requested).netloc, rest)
        raise error

    def _guarded(self, target: str, requested: str) -> bool:
        """Return whether an address must be public: it is neither declared nor rewritten."""
        return self._public_only and requested == target and origin_of(target) not in self._declared

    def _manager(self, target: str, requested: str) -> urllib3.PoolManager:
        parts = urlsplit(requested)
        guarded = self._guarded(target, requested)
        proxy = proxy_of(parts.scheme, parts.hostname or "")
        if guarded and proxy is not None:
            require_public(requested)  # the proxy resolves the name itself
        return self._pools(parts.scheme == "https", proxy, guarded)


def web_of(
    addresses: tuple[str, ...],
    declared: WebDeclaration,
    *,
    origins: Mapping[str, str],
    patience: Patience | None,
    guarded: bool = False,
) -> Web:
    """Return the HTTP client of a declared source with its `addresses`; `patience` overrides the declared time-outs.

    `declared.authorization` names the environment variable that holds the value of the header. `guarded`: the addresses
    must be public like those of redirects, and get no header. Raises NeedsPersonError if that variable is not set.
    """
    authorization = None
    if declared.authorization is not None:
        authorization = os.environ.get(declared.authorization)
        if not authorization:
            raise NeedsPersonError(
                f"The variable {declared.authorization} is not set", "Set it to the source's credentials"
            )
        secrets.declare(authorization, authorization.rpartition(" ")[2])
    timeouts = declared.timeouts
    return Web(
        origins=origins,
        patience=patience
        or Patience(connect_timeout=timeouts.connect, read_timeout=timeouts.read, whole_timeout=timeouts.whole),
        per_host=declared.per_host,
        declared=() if guarded else addresses,
        authorization=authorization,
        public_only=guarded or not declared.private_addresses,
        user_agent=declared.user_agent,
    )


def _release(response: Answer) -> None:
    # A body read to its end returns its connection to the pool. A small rest is drained to keep the connection.
    left = getattr(response, "length_remaining", None)
    if isinstance(left, int) and 0 <= left <= 1 << 16 and not response.closed:
        try:
            response.drain_conn()
        finally:
            response.release_conn()
    else:
        response.close()
        response.release_conn()


def _redirected(base: str, location: str, label: str) -> str:
    # Headers are read as Latin-1: characters beyond ASCII are the bytes of the address.
    location = "".join(letter if letter.isascii() else f"%{ord(letter):02X}" for letter in location)
    try:
        target = urljoin(base, location)
        scheme = urlsplit(target).scheme
    except ValueError as error:
        raise SourceError(f"{label} redirects to '{location}', not an address", "Correct the address") from error
    if scheme not in ("http", "https"):
        raise SourceError(f"{label} redirects to '{location}', which is not http", "Correct the address")
    return target
