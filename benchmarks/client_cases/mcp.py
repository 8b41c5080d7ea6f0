"""The official SDK of MCP lists the tools, searches, describes; other tools read files, which this catalogue lacks."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

from client_cases import case

_CLIENT = "mcp"


def _called(url: str, tool: str, **arguments: Any) -> CallToolResult:
    async def session() -> CallToolResult:
        async with streamable_http_client(f"{url}/mcp") as (read, write, _), ClientSession(read, write) as client:
            await client.initialize()
            return await client.call_tool(tool, arguments)

    return asyncio.run(session())


def _text(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def _answer(url: str, tool: str, **arguments: Any) -> dict[str, Any]:
    result = _called(url, tool, **arguments)
    assert not result.isError, _text(result)
    assert json.loads(_text(result)) == result.structuredContent
    return json.loads(_text(result))


@case(_CLIENT, "initialize, tools/list")
def _(url: str, _releases: int) -> str:
    async def session() -> tuple[str | int, list[str]]:
        async with streamable_http_client(f"{url}/mcp") as (read, write, _), ClientSession(read, write) as client:
            greeting = await client.initialize()
            return greeting.protocolVersion, [each.name for each in (await client.list_tools()).tools]

    version, names = asyncio.run(session())
    assert names == ["search", "describe", "schema", "sample", "query"], names
    return f"{version}: {', '.join(names)}"


@case(_CLIENT, "search in both languages")
def _(url: str, _releases: int) -> str:
    counts = []
    for language, words in (("en", "boundaries"), ("fr", "limites")):
        began = time.perf_counter()
        found = _answer(url, "search", query=words, language=language, facets=True)
        assert found["numberReturned"] == len(found["results"]) > 0, found
        counts.append(f"{words}: {found['numberMatched']:,} in {(time.perf_counter() - began) * 1000:.0f} ms")
    return "; ".join(counts)


@case(_CLIENT, "describe in both languages")
def _(url: str, _releases: int) -> str:
    first = _answer(url, "search", limit=1)["results"][0]
    place = {name: first[name] for name in ("dataset", "vintage", "version")}
    english, french = (_answer(url, "describe", **place, language=language) for language in ("en", "fr"))
    assert english["title"] != french["title"]
    assert english["id"] == french["id"] == first["id"]
    return f"{english['title']} / {french['title']}: {english['licence']['name']}"


@case(_CLIENT, "errors of tools")
def _(url: str, _releases: int) -> str:
    result = _called(url, "describe", dataset="nothing")
    assert result.isError
    return _text(result)
