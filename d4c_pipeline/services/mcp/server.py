"""The tools behind the official SDK: its server without state, a transport for each request, answers as JSON.

https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import orjson
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.services.bodies import MOST_BYTES
from d4c_pipeline.services.lanes import Lane
from d4c_pipeline.services.mcp import arguments
from d4c_pipeline.services.mcp.answers import Answers
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Services
from d4c_pipeline.services.protocols.search import search_lane
from d4c_pipeline.services.subsetting import subset_lane, subset_service

_QUERIES = 1
"""Queries at a time: each is a process with up to 600 MB."""
_INSTRUCTIONS = (
    "Open data in English and French. Call search for datasets, describe for licence, citation, versions and files, "
    "schema for columns, then sample or query. All tools only read. Cite the release that an answer names."
)


@dataclass(frozen=True)
class _Tool:
    arguments: type[Any]
    answer: Callable[[str, Any], dict[str, Any]]
    lane: Lane


class McpServer:
    """The application of `/mcp`, for POST."""

    def __init__(self, services: Services) -> None:
        self._services = services
        answers = Answers(services, subset_service(services))
        searches, queries = search_lane(services), services.lane("queries", _QUERIES)
        files = subset_lane(services)
        self._tools = {
            "search": _Tool(arguments.Search, answers.search, searches),
            "describe": _Tool(arguments.Describe, answers.describe, searches),
            "schema": _Tool(arguments.Schema, answers.schema, files),
            "sample": _Tool(arguments.Sample, answers.sample, queries),
            "query": _Tool(arguments.Query, answers.query, queries),
        }
        self._server = Server("d4c_pipeline", version("d4c_pipeline"), instructions=_INSTRUCTIONS)
        self._server.list_tools()(self._listed)
        # `arguments` checks: a sentence for each argument, and no schema of strangers is compiled.
        self._server.call_tool(validate_input=False)(self._called)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing of it stays."""
        manager = StreamableHTTPSessionManager(
            self._server, json_response=True, stateless=True, max_request_body_size=MOST_BYTES
        )
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    async def _listed(self) -> list[types.Tool]:
        return [
            types.Tool(
                name=name,
                description=tool.arguments.__doc__,
                inputSchema=tool.arguments.model_json_schema(),
                annotations=types.ToolAnnotations(readOnlyHint=True, idempotentHint=True, openWorldHint=False),
            )
            for name, tool in self._tools.items()
        ]

    async def _called(self, name: str, given: dict[str, Any]) -> types.CallToolResult:
        try:
            tool = self._tools.get(name)
            if tool is None:
                return _refused(f"No tool is called {name[:60]}", f"Call one of {', '.join(self._tools)}")
            request = self._server.request_context.request
            base = self._services.base_url(request) if isinstance(request, Request) else ""
            found = await tool.lane.run(tool.answer, base, arguments.read(tool.arguments, given))
        except (ProblemError, D4CError) as error:
            problem = error if isinstance(error, ProblemError) else ProblemError.of(error)
            return _refused(problem.detail, problem.remedy)
        text = orjson.dumps(found, default=str)
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=text.decode())], structuredContent=orjson.loads(text)
        )


def _refused(cause: str, remedy: str) -> types.CallToolResult:
    text = " ".join(f"{each.rstrip('.')}." for each in (cause, remedy) if each)
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], isError=True)
