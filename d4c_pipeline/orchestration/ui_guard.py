"""The guard of Dagster's webserver: which browser requests pass, and as which user. Does not import dagster.

Dagster executes GraphQL mutations sent by GET, under any Host and from any Origin, so any page that an operator opens
could publish. Fetch metadata: https://www.w3.org/TR/fetch-metadata/. DNS rebinding: a foreign name in Host.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qs, urlsplit

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from d4c_pipeline.model.ui_access import UiAccess
from d4c_pipeline.orchestration.confirmation import MUTATION, Confirmations

SIGNED_IN: ContextVar[str | None] = ContextVar("d4c_signed_in", default=None)
"""The user who sent the current request."""

_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
_BODY_LIMIT = 16 << 20  # bytes; the largest request of the UI, a backfill over 8,000 partitions, has under 1 MB
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """An ASGI application that lets requests through to `app` by the rules of `access`.

    Refused with 403 and the reason: a Host other than the UI's, a foreign Origin, a request from another site's page
    (except a plain link), a mutation by GET, and every change without a signed-in user. A websocket and each of its
    messages follow the same rules. Every answer forbids framing. `confirmation` asks before a very large backfill.
    """

    def __init__(self, app: ASGIApp, access: UiAccess) -> None:
        self._app, self._access = app, access
        self._hosts = frozenset(urlsplit(origin).netloc for origin in access.origins)
        self._confirmations = Confirmations()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Apply the rules to one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        header = self._access.user_header
        client = scope.get("client")
        who = self._access.who(client[0] if client else None, headers.get(header) if header else None)
        answer = "d4c refused this request: {}. docs/operations.md has the rules of the UI.\n"
        refusal = self._foreign(scope, headers)
        body: list[Message] = []
        if refusal is None and scope["type"] == "http":
            refusal = await self._changing(scope, headers, receive, body, who)
        if refusal is not None:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": refusal[:120]})
                return
            await PlainTextResponse(answer.format(refusal), 403)(scope, receive, _unframed(send))
            return
        for request in _objects(_decoded(content)) if MUTATION in (content := _content(body)) else ():
            if (question := self._confirmations.question(who, request)) is not None:
                await JSONResponse(question)(scope, receive, _unframed(send))
                return
        token = SIGNED_IN.set(who)
        try:
            if scope["type"] == "websocket":
                await self._app(scope, _messages(receive), send)
            else:
                await self._app(scope, _replayed(body, receive), _unframed(send))
        finally:
            SIGNED_IN.reset(token)

    def _foreign(self, scope: Scope, headers: Headers) -> str | None:
        hosts = headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        if host not in self._hosts and _LOOPBACK.fullmatch(host) is None:
            return f"its Host '{_shown(host)}' is not an address of the UI (D4C_UI_URL names the public one)"
        for origin in headers.getlist("origin"):
            own = origin.lower() in self._access.origins
            if not own and (host in self._hosts or origin.lower() not in (f"http://{host}", f"https://{host}")):
                return f"it comes from the foreign Origin '{_shown(origin)}'"
        site = headers.get("sec-fetch-site", "none").lower()
        # A link in a mail or a wiki may open a page; scripts and forms must come from the UI itself.
        linked = (
            scope["type"] == "http"
            and scope["method"] == "GET"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
            and not scope["path"].rstrip("/").endswith("/graphql")
        )
        if site not in ("same-origin", "none") and not linked:
            return f"a page of another site sent it (Sec-Fetch-Site: {_shown(site)})"
        return None

    async def _changing(
        self, scope: Scope, headers: Headers, receive: Receive, body: list[Message], who: str | None
    ) -> str | None:
        method = scope["method"]
        documents = parse_qs(scope["query_string"].decode("latin-1")).get("query", [])
        if method in _READING:
            if any(map(_mutates, documents)):
                return "a mutation by GET is never executed: send it by POST"
            return None
        content = await _read(receive, body)
        if content is None:
            return f"its body is longer than {_BODY_LIMIT:,} bytes"
        if who is not None:
            return None
        documents += _documents(content)
        is_query = method == "POST" and scope["path"].rstrip("/").endswith("/graphql")
        if not is_query or any(map(_mutates, documents)):
            how = f"the proxy has to name a user in {self._access.user_header}" if self._access.user_header else None
            return f"the UI is read-only where nobody signed in ({how or 'see D4C_UI_USER_HEADER'})"
        return None


def _shown(text: str) -> str:
    return "".join(char if char.isascii() and char.isprintable() else "?" for char in text)[:100]


async def _read(receive: Receive, body: list[Message]) -> bytes | None:
    """Return the complete body, its messages kept in `body`; None if it exceeds the limit."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        body.append(message)
        if message["type"] != "http.request":
            break
        chunks.append(message.get("body", b""))
        if sum(map(len, chunks)) > _BODY_LIMIT:
            return None
        if not message.get("more_body", False):
            break
    return b"".join(chunks)


def _content(body: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in body)


def _documents(content: bytes) -> list[str]:
    """Every text of a body that Dagster may parse as a GraphQL document, under any Content-Type."""
    found = [content.decode("utf-8", "replace")]
    try:
        decoded = json.loads(content)
    except ValueError:  # neither JSON nor text
        return found
    return [*found, *(request["query"] for request in _objects(decoded) if isinstance(request.get("query"), str))]


def _objects(decoded: Any) -> Iterator[dict[str, Any]]:
    for value in decoded if isinstance(decoded, list) else [decoded]:
        if isinstance(value, dict):
            yield value


def _mutates(document: str) -> bool:
    """Whether a GraphQL document holds a mutation under any operation name. Invalid documents hold none."""
    try:
        definitions = parse(document, no_location=True).definitions
    except (GraphQLError, RecursionError):
        # Dagster uses the same parser and answers the same error.
        return False
    return any(
        isinstance(node, OperationDefinitionNode) and node.operation is OperationType.MUTATION for node in definitions
    )


def _replayed(body: list[Message], receive: Receive) -> Receive:
    kept = iter(body)

    async def again() -> Message:
        return next(kept, None) or await receive()

    return again


def _messages(receive: Receive) -> Receive:
    """Pass a websocket's messages; a mutation closes it, since the UI sends subscriptions only."""

    async def judged() -> Message:
        message = await receive()
        if message["type"] != "websocket.receive":
            return message
        content = message.get("bytes") or (message.get("text") or "").encode()
        payloads = [request.get("payload") for request in _objects(_decoded(content))]
        documents = [str(payload.get("query", "")) for payload in payloads if isinstance(payload, dict)]
        if any(map(_mutates, documents)):
            return {"type": "websocket.disconnect", "code": 1008}
        return message

    return judged


def _decoded(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:  # the application answers invalid JSON
        return None


def _unframed(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            # Added to the policy of the page: a browser enforces all of them.
            headers.append("Content-Security-Policy", "frame-ancestors 'none'")
            headers["X-Frame-Options"] = "DENY"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            headers["X-Content-Type-Options"] = "nosniff"
        await send(message)

    return sending
