"""Wrong requests to all protocols of one server: a problem document at once, for what a person or a scanner sends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset import Engine, plan
from d4c_pipeline_tests.support.served import protocols
from d4c_pipeline_tests.support.subsets import Subsets

EXECUTION = "/processes/subset/execution"
BOXES = ("nan,0,1,1", "inf,0,1,1", "1,2,3", "1,2,3,4,5", "0,10,5,5", ",,,", "1e400,0,1,1", "0x1,0,1,1", "1_0,0,20,1",
         "٣,0,4,1", "' OR 1=1", "0;0;1;1", "0,0,1,1,", "-180.1,0,0,1")  # fmt: skip
TIMES = ("2020-13-01", "2020-02-30", "..", "2020-01-01/2019-01-01", "now", "2020-01-01T25:00:00Z", "0000-00-00",
         "-2020-01-01", "1 OR 1=1", "2020-01-01/2020-01-02/2020-01-03", "2020-W01-1", "20200101",
         "٢٠٢٠-01-01")  # fmt: skip
FILTERS = ("(" * 5_000, "NOT " * 2_400 + "1 = 1", "id = 1; DROP TABLE releases", "read_csv('/etc/passwd') = 1",
           "a\x00b = 1", "id IN (" + ",".join("1" * 4_000) + ")", "'", "id", "x" * 10_001, "id = DATE('2020-99-99')",
           "S_INTERSECTS(geometry, POINT(nan nan))", "id + 1")  # fmt: skip
NAMES = ("' OR 1=1 --", "a" * 5_000, "places\x00", "../../../etc/passwd", "places;DROP TABLE releases", "%", "é")
TOKENS = ("x", "a.b", "A" * 4_000, "eyJ=.abc", "null", "%00")
SLICES = ("rows.name[5:1]", "rows.name[0:0:5]", "rows.name[-1:2]", "rows.name[a]", "rows.nope", "f(rows.name)",
          "rows.name[0:99999999999999999999]", "rows.name&rows.name>nan", "rows.%00", "rows.name;DROP")  # fmt: skip


@pytest.fixture(scope="module")
def client(published: Settings) -> Iterator[httpx.Client]:
    with protocols(published) as opened:
        yield opened


def refused(answer: httpx.Response, what: Any) -> None:
    assert 400 <= answer.status_code < 500, (what, answer.status_code, answer.text[:300])
    assert answer.headers["Content-Type"] == "application/problem+json", (what, answer.text[:300])
    assert answer.json()["detail"], what
    assert "No dataset" not in answer.json()["detail"] or "a" * 9 in str(what) or "dataset" in str(what), what
    assert answer.elapsed.total_seconds() < 2, what


def test_boxes(client: httpx.Client) -> None:
    for box in BOXES:
        refused(client.get(EXECUTION, params={"dataset": "places", "bbox": box}), box)
        refused(client.get("/search", params={"bbox": box}), box)


def test_times(client: httpx.Client) -> None:
    for text in TIMES:
        refused(client.get("/search", params={"datetime": text}), text)
        refused(client.get(EXECUTION, params={"dataset": "places", "vintage": text}), text)
        query = {"verb": "ListIdentifiers", "metadataPrefix": "oai_dc", "from": text}
        assert 'code="badArgument"' in client.get("/oai", params=query).text, text


def test_filters(client: httpx.Client) -> None:
    for text in FILTERS:
        refused(client.get("/search", params={"filter": text}), text[:40])
        refused(client.get("/downloads", params={"filter": text}), text[:40])
    for depth in (40, 400, 1_200, 20_000):
        nested = b'{"op":"not","args":[' * depth + b"true" + b"]}" * depth
        body = b'{"inputs":{"dataset":"places","filter":' + nested + b"}}"
        refused(client.post(EXECUTION, content=body), depth)


def test_names(client: httpx.Client) -> None:
    for name in NAMES:
        for field in ("dataset", "columns", "crs", "format", "version", "vintage", "filter-lang", name[:40]):
            refused(client.get(EXECUTION, params={"dataset": "places", field: name}), (field, name))
        for field in ("sort", "facet", "limit", "offset", "lang", "versions", name[:40]):
            refused(client.get("/search", params={field: name}), (field, name))
        for field in ("dataset", "tool", "job"):
            refused(client.get("/downloads", params={field: name}), (field, name))
        answer = client.get(f"/dap/{quote(name, safe='')}.dds")
        assert answer.status_code in (400, 404), name


def test_tokens(client: httpx.Client) -> None:
    for token in TOKENS:
        answer = client.get("/oai", params={"verb": "ListRecords", "resumptionToken": token})
        assert 'code="badResumptionToken"' in answer.text, token
        refused(client.get("/jobs", headers={"Authorization": f"Bearer {token}"}), token)
        assert client.get("/jobs", headers={"Cookie": f"d4c_session={token}"}).json()["jobs"] == [], token
        refused(client.get(f"/jobs/{quote(token)}"), token)


def test_slices_of_opendap(client: httpx.Client) -> None:
    for constraint in SLICES:
        answer = client.get(f"/dap/places.dods?{constraint}")
        assert (answer.status_code, answer.text[:7]) == (400, "Error {"), (constraint, answer.text[:200])


def test_a_polygon_of_a_million_vertices_and_other_shapes(client: httpx.Client) -> None:
    shapes: tuple[Any, ...] = (
        [[["a"]]], [[[0, 0], [1, 1]]], [], "x", {"a": 1}, [[[None, 0], [1, 0], [1, 1], [None, 0]]],
        [[[1e308, 1e308], [-1e308, 1], [0, 0], [1e308, 1e308]]], [[[0, 0], [1, 0], [1, 1], [0, 1]]],
    )  # fmt: skip
    for coordinates in shapes:
        polygon = {"type": "Polygon", "coordinates": coordinates}
        refused(client.post(EXECUTION, json={"inputs": {"dataset": "places", "geometry": polygon}}), coordinates)
    ring = json.dumps([[0.1, 0.1]] * 1_000_000)
    body = f'{{"inputs":{{"dataset":"places","geometry":{{"type":"Polygon","coordinates":[{ring}]}}}}}}'
    began = time.monotonic()
    refused(client.post(EXECUTION, content=body), "a million vertices")
    assert time.monotonic() - began < 2


def test_ten_billion_cells_are_refused_before_a_row_is_read(tmp_path: Path) -> None:
    """Only the footer says so: the file has two rows."""
    pq.write_table(pa.table({name: [1, 2] for name in "abcd"}), path := tmp_path / "large.parquet")
    with Engine(threads=1) as engine:
        small = Subsets(engine, tmp_path).plan(path, format="csv")
        groups = small.source.groups.copy()
        groups[:, 0] = 2_500_000_000
        with pytest.raises(ProblemError, match="10,000,000,000 values; at most 2,000,000,000") as problem:
            plan(small.request, small.release, replace(small.source, groups=groups))
    assert problem.value.status == 413
