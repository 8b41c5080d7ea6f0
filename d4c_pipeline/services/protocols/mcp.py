"""MCP (Model Context Protocol) at `/mcp`: streamable HTTP without state; tools that read. They are `services.mcp`.

The SDK takes a second and 50 MB to import, so the first request does that, not the start of the server.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from d4c_pipeline.services.bodies import JSON, require_type
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Protocol, Services

if TYPE_CHECKING:
    from d4c_pipeline.services.mcp.server import McpServer

PATH = "mcp"


def _routes(services: Services) -> Sequence[BaseRoute]:
    # GET would be a stream of messages that the server never sends: 405, as the specification allows.
    return [Route(f"/{PATH}", _Endpoint(services), methods=["POST"])]


class _Endpoint:
    def __init__(self, services: Services) -> None:
        self._services, self._lock = services, threading.Lock()
        self._server: McpServer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check(request := Request(scope))
        require_type(request, JSON)
        server = self._server or await anyio.to_thread.run_sync(self._made)
        await server(scope, receive, send)

    def _made(self) -> McpServer:
        with self._lock:
            if self._server is None:
                from d4c_pipeline.services.mcp.server import McpServer  # noqa: PLC0415 - see above

                self._server = McpServer(self._services)
            return self._server

    def _check(self, request: Request) -> None:
        """Refuse what a page of another site sends, also one whose name resolves to this machine (DNS rebinding).

        Such a request has a name in Host that is none of ours; an address or localhost is no such name. Raises
        ProblemError: 421 for the host, 403 for the origin.
        """
        settings, proxied = self._services.settings, False
        if request.client is not None:
            proxied = self._services.access.is_proxy(request.client.host)
        ours = {urlsplit(each).hostname for each in (settings.portal_url, settings.store_url) if each}
        host = _host(f"//{request.headers.get('host', '')}")
        if not (proxied or host in ours or _is_local(host)):
            raise ProblemError(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"{(host or 'No host')[:100]} is not a name of this server",
                "Use its address; the operator states its name by D4C_PORTAL_URL",
            )
        origin = request.headers.get("origin")
        if origin is not None and (from_ := _host(origin)) not in {*ours, host, "localhost", "127.0.0.1", "::1"}:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                f"Pages of {from_ or 'an unknown host'} may not call this server",
                "Call it from a program",
            )


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _is_local(host: str | None) -> bool:
    """Return whether a host is localhost or an address, which no foreign name server answers for."""
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return True


PROTOCOL = Protocol(
    name="mcp",
    title="Model Context Protocol: search, describe, schema, sample, query",
    path=PATH,
    routes=_routes,
    needs=("mcp", "cql2"),
)
