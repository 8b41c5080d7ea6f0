"""MCP by the SDK's own client over HTTP: the tools, their errors in sentences, SQL that may not, hosts, the start."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, TextContent

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.mcp.confined import queried
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset import Engine, Sources
from d4c_pipeline_tests.support.served import serving

TOOLS = ["search", "describe", "schema", "sample", "query"]


@pytest.fixture(scope="module")
def url(published: Settings) -> Iterator[str]:
    """`d4c serve` of the home with data, as a process of its own."""
    with serving(published) as (address, _):
        yield address


def asked(url: str, *calls: tuple[str, dict[str, Any]]) -> list[CallToolResult]:
    """The results of calls of tools in one session."""

    async def session() -> list[CallToolResult]:
        async with streamable_http_client(f"{url}/mcp") as (read, write, _), ClientSession(read, write) as client:
            await client.initialize()
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(session())


def answer(url: str, tool: str, **arguments: Any) -> dict[str, Any]:
    (result,) = asked(url, (tool, arguments))
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert not result.isError, content.text
    assert json.loads(content.text) == result.structuredContent
    return json.loads(content.text)


def refused(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert result.isError, content.text
    assert result.structuredContent is None
    return content.text


def test_tools_are_listed_with_schemas(url: str) -> None:
    async def listed() -> Any:
        async with streamable_http_client(f"{url}/mcp") as (read, write, _), ClientSession(read, write) as client:
            greeting = await client.initialize()
            return greeting, (await client.list_tools()).tools

    greeting, tools = asyncio.run(listed())
    assert greeting.serverInfo.name == "d4c_pipeline"
    assert "Cite the release" in greeting.instructions
    assert [each.name for each in tools] == TOOLS
    assert all(each.annotations.readOnlyHint for each in tools)
    query = tools[-1]
    assert query.inputSchema["required"] == ["dataset", "sql"]
    assert query.inputSchema["properties"]["limit"]["maximum"] == 500
    assert "at most 500" in query.description


@pytest.mark.parametrize(("language", "title", "words"), [("en", "Places", "places"), ("fr", "Lieux", "lieux")])
def test_search_in_both_languages(url: str, language: str, title: str, words: str) -> None:
    found = answer(url, "search", query=words, language=language)
    places = next(each for each in found["results"] if each["dataset"] == "places")
    assert places["title"].startswith(title)
    assert (places["vintage"], places["version"]) == ("2021", "0.1.1-beta")


def test_search_counts_and_pages(url: str) -> None:
    found = answer(url, "search", limit=2, facets=True)
    assert (found["numberMatched"], found["numberReturned"], found["nextOffset"]) == (3, 2, 2)
    assert sum(each["count"] for each in found["facets"]["licence"]) == 3
    assert "nextOffset" not in answer(url, "search", limit=2, offset=2)


@pytest.mark.parametrize(
    ("language", "title", "description"), [("en", "Places", "A few places."), ("fr", "Lieux", "Quelques lieux.")]
)
def test_describe(url: str, language: str, title: str, description: str) -> None:
    found = answer(url, "describe", dataset="places", language=language)
    assert (found["title"], found["version"], found["rows"]) == (title, "0.1.1-beta", 4)
    assert description in found["description"]
    assert title in found["citation"]
    assert found["licence"]["url"].startswith("https://")
    versions = [(each["vintage"], each["version"], each["is_latest"]) for each in found["versions"]]
    assert ("2021", "0.1.1-beta", True) in versions
    assert ("2021", "0.1.0-beta", False) in versions
    assert len(versions) == 3
    address = found["addresses"]["subset"]
    assert httpx.get(address).status_code == 200
    data = next(each for each in found["files"] if each["role"] == "data")
    assert len(data["sha256"]) == 64


def test_an_older_version_by_its_name(url: str) -> None:
    found = answer(url, "describe", dataset="places", vintage="2021", version="0.1.0-beta")
    assert (found["version"], found["is_latest"]) == ("0.1.0-beta", False)


def test_describe_needs_no_file_and_the_tools_that_read_say_that_one_is_missing(services_url: str) -> None:
    found = answer(services_url, "describe", dataset="set_000001", vintage="2001", version="1.2.0")
    assert (found["dataset"], found["vintage"], found["version"]) == ("set_000001", "2001", "1.2.0")
    data = next(each for each in found["files"] if each["role"] == "data")
    assert data["url"].endswith(f"/releases/set_000001/2001/v1.2.0/{data['name']}")
    for tool, more in (("schema", {}), ("sample", {}), ("query", {"sql": "SELECT 1"})):
        (missing,) = asked(services_url, (tool, {"dataset": "set_000001", **more}))
        assert "is not in the store. Tell the operator: d4c fixity repairs it." in refused(missing)


def test_schema(url: str) -> None:
    found = answer(url, "schema", dataset="places")
    columns = {each["name"]: each["type"] for each in found["columns"]}
    assert columns["population"] in ("BIGINT", "INTEGER")
    assert columns["geometry"] == "GEOMETRY"
    assert (found["table"], found["geometry"], found["rows"], found["key"]) == ("data", "geometry", 4, ["id"])
    assert "geometry" not in answer(url, "schema", dataset="rates")


def test_sample(url: str) -> None:
    found = answer(url, "sample", dataset="places", rows=2, columns=["name", "geometry"])
    assert found["columns"][0] == {"name": "name", "type": "VARCHAR"}
    assert len(found["rows"]) == 2
    assert found["rows"][0][1].startswith("POINT (")
    assert found["release"]["version"] == "0.1.1-beta"
    assert "1.2725" in str(answer(url, "sample", dataset="rates")["rows"])


def test_query_computes_and_cites(url: str) -> None:
    sql = "SELECT count(*) AS n, sum(population) AS people, max(ST_Y(geometry)) AS north FROM data"
    found = answer(url, "query", dataset="places", sql=sql, language="fr")
    assert [each["name"] for each in found["columns"]] == ["n", "people", "north"]
    assert found["rows"][0][:2] == [4, 549459 + 139163 + 7430 + 662248]
    assert found["rows"][0][2] == pytest.approx(63.747)
    assert found["release"]["title"] == "Lieux"
    older = answer(url, "query", dataset="places", vintage="2021", version="0.1.0-beta", sql=sql)
    assert older["rows"][0][1] == 549459 + 139163 + 7429 + 662248
    parted = answer(url, "query", dataset="parted", sql="SELECT count(*) FROM data")
    assert parted["rows"] == [[4]]


def test_query_ends_at_its_limits(url: str) -> None:
    long, rows, size = asked(
        url,
        ("query", {"dataset": "rates", "sql": "SELECT repeat('é', 5000) AS x"}),
        ("query", {"dataset": "rates", "sql": "SELECT * FROM range(1000)", "limit": 3}),
        ("query", {"dataset": "rates", "sql": "SELECT repeat('x', 1900) FROM range(1000)", "limit": 500}),
    )
    assert long.structuredContent is not None
    assert rows.structuredContent is not None
    assert size.structuredContent is not None
    assert len(long.structuredContent["rows"][0][0]) == 2_001
    assert rows.structuredContent["rows"] == [[0], [1], [2]]
    assert "limit of rows" in rows.structuredContent["notice"]
    assert len(size.structuredContent["rows"]) == 105
    assert "limit of bytes" in size.structuredContent["notice"]


def test_errors_are_sentences(url: str) -> None:
    expected = {
        ("describe", ("dataset", "nothing")): "No dataset is called nothing. List the datasets: /search.",
        ("describe", ()): "dataset: field required",
        ("search", ("bbox", (1.0, 2.0))): "bbox",
        ("search", ("limit", 51)): "limit: input should be less than or equal to 50",
        ("search", ("language", "de")): "'en' or 'fr'",
        ("search", ("nothing", 1)): "nothing: extra inputs are not permitted",
        ("search", ("datetime", "yesterday")): "datetime='yesterday' is neither a time nor an interval",
        ("sing", ()): "No tool is called sing. Call one of search, describe, schema, sample, query.",
    }
    calls = [(tool, dict([given]) if given else {}) for tool, given in expected]
    calls = [(tool, {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}) for tool, given in calls]
    for result, words in zip(asked(url, *calls), expected.values(), strict=True):
        text = refused(result)
        assert words in text
        assert text.endswith(".")
    more = asked(
        url,
        ("sample", {"dataset": "rates", "columns": ["nope"]}),
        ("query", {"dataset": "rates", "sql": "SELECT nope FROM data"}),
        ("describe", {"dataset": "rates", "version": "9.*"}),
    )
    assert refused(more[0]) == "rates has no column nope. Its columns are day, rate."
    assert 'column "nope" not found' in refused(more[1])
    assert "no release with version 9.*" in refused(more[2])


def test_a_query_that_takes_too_much_ends_and_the_server_answers_on(url: str) -> None:
    results = asked(
        url,
        ("query", {"dataset": "rates", "sql": "SELECT list(range) FROM range(100000000)"}),
        ("query", {"dataset": "rates", "sql": "SELECT count(*) FROM data"}),
    )
    assert "memory" in refused(results[0])
    assert results[1].structuredContent is not None
    assert results[1].structuredContent["rows"] == [[2]]


def test_a_query_that_duckdb_does_not_interrupt_ends_with_its_process(tmp_path: Path) -> None:
    """A text of gigabytes is made without a look at the interrupt: 53 s in a process without this limit."""
    pq.write_table(pa.table({"id": [1]}), path := tmp_path / "a.parquet")
    with Engine() as engine:
        source = Sources(engine).of((str(path),), "")
    began = time.monotonic()
    with pytest.raises(ProblemError, match=r"The query (was ended|took longer)"):
        queried("SELECT length(repeat('x', 4000000000))", source, seconds=0.5)
    assert time.monotonic() - began < 30
    with pytest.raises(ProblemError, match="10,001 characters"):
        queried("x" * 10_001, source)
    assert queried("SELECT id FROM data", source).rows == [[1]]


def test_pages_of_other_sites_are_refused(url: str) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}

    def status(**headers: str) -> int:
        return httpx.post(f"{url}/mcp", json=message, headers={**accept, **headers}).status_code

    assert status() == 200
    assert status(Host="localhost:9999") == 200
    assert status(Host="rebound.example.com") == 421
    assert status(Origin="http://localhost:6274") == 200
    assert status(Origin="https://evil.example.com") == 403
    assert status(Origin="http://203.0.113.5") == 403
    refusal = httpx.post(f"{url}/mcp", json=message, headers={**accept, "Host": "rebound.example.com"}).json()
    assert refusal["detail"].startswith("rebound.example.com is not a name of this server. Use its address")


def test_other_requests_get_answers_of_http(url: str) -> None:
    for answer in (httpx.get(f"{url}/mcp"), httpx.delete(f"{url}/mcp")):
        assert (answer.status_code, answer.headers["Allow"]) == (405, "OPTIONS, POST")
    accept = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    assert httpx.post(f"{url}/mcp", content=b"{", headers=accept).status_code == 400
    assert httpx.post(f"{url}/mcp", content=b" " * (2 << 20), headers=accept).status_code == 413


def test_the_sdk_is_imported_with_the_first_request_only() -> None:
    code = (
        "import sys; from d4c_pipeline.services.protocol import all_protocols; "
        "assert all_protocols()['mcp'].is_installed; print('mcp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == (
        "False\n"
    )
