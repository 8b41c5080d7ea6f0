"""OPeNDAP and THREDDS, read by pydap and siphon."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.dap import Table
from d4c_pipeline.services.dap.constraint import read_constraint
from d4c_pipeline.services.dap.variables import variables
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.subset import Engine, Sources
from d4c_pipeline_tests.support.served import protocols
from d4c_pipeline_tests.support.subsets import Subsets

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # webob imports cgi
    from pydap.client import open_url
    from siphon.catalog import TDSCatalog


@pytest.fixture(scope="module")
def home(published: Settings) -> Settings:
    return published


@pytest.fixture(scope="module")
def client(home: Settings) -> Iterator[httpx.Client]:
    with protocols(home, "opendap", "processes", "downloads") as opened:
        yield opened


def rows(client: httpx.Client, path: str, *, constraint: str | None = None) -> list[tuple[Any, ...]]:
    """The rows of a sequence as pydap reads them."""
    address = f"{client.base_url}/dap/{path}".replace("//dap", "/dap")
    opened = open_url(f"{address}?{constraint}" if constraint else address, protocol="dap2")
    sequence: Any = opened["rows"]
    return [tuple(map(unescaped, row)) for row in sequence.iterdata()]


def unescaped(value: Any) -> Any:
    return json.loads(f'"{value}"') if isinstance(value, str) and "\\" in value else value


def subset(client: httpx.Client, **inputs: Any) -> list[dict[str, Any]]:
    answer = client.post("/processes/subset/execution", json={"inputs": {**inputs, "format": "geojson"}})
    return [feature["properties"] for feature in answer.json()["features"]]


def test_pydap_reads_a_table(client: httpx.Client) -> None:
    opened = open_url(f"{client.base_url}/dap/rates".replace("//dap", "/dap"), protocol="dap2")
    assert list(opened["rows"].keys()) == ["day", "rate"]
    assert rows(client, "rates") == [("2021-01-04", 1.2725), ("2021-01-05", 1.268)]
    assert str(opened.attributes).count("_2021_v0.1.0-beta")
    sequence: Any = opened["rows"]
    chosen = sequence[sequence["rate"] > 1.27]
    assert [tuple(row) for row in chosen.iterdata()] == [("2021-01-04", 1.2725)]


def test_pydap_reads_features_as_the_subset_has_them(client: httpx.Client) -> None:
    found = rows(client, "places/2021/0.1.1-beta")
    wanted = subset(client, dataset="places", version="0.1.1-beta")
    assert len(found) == len(wanted)
    names = list(wanted[0])
    for row, properties in zip(found, wanted, strict=True):
        assert list(row[: len(names)]) == list(properties.values())
    assert all(str(row[-1]).startswith("POINT (") for row in found)
    assert len(rows(client, "places", constraint="rows[1:2:4]")) == len(found[1:5:2])
    assert [row[0] for row in rows(client, "parted")] == [row["id"] for row in subset(client, dataset="parted")]


def test_siphon_reads_the_catalogue(client: httpx.Client) -> None:
    catalogue = TDSCatalog(f"{client.base_url}/thredds/catalog.xml".replace("//thredds", "/thredds"))
    assert list(catalogue.catalog_refs) == ["parted", "places", "rates"]
    below = catalogue.catalog_refs["places"].follow()
    assert len(below.datasets) == 3
    address = below.datasets[0].access_urls["dap" if "dap" in below.datasets[0].access_urls else "OPENDAP"]
    assert httpx.get(f"{address}.dds").text.startswith("Dataset {\n    Sequence {")


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("rows.nope", 400, "no variable rows.nope"),
        ("rows.day&rows.rate=%22a%22", 400, "Compare it with a number"),
        ("rows.day&rows.rate>1;2", 400, "is no value"),
        ("rows[3:1]", 400, "is no slice"),
        ("rows[0:0:5]", 400, "is no slice"),
        ("rows.day[0:1],rows.rate[0:2]", 400, "Slice all variables alike"),
        ("linear_scale(rows.rate)", 400, "no variable"),
        ("x" * 8_193, 400, "8,193 characters"),
        ("&".join(["", *["rows.rate>1"] * 101]), 400, "101 comparisons"),
        ("rows.day&rows.day=~%22" + "(a*)*" * 60 + "%22", 400, "short pattern"),
    ],
)
def test_wrong_constraints_are_errors_of_dap(client: httpx.Client, query: str, status: int, words: str) -> None:
    answer = client.get(f"/dap/rates.dods?{query}")
    assert (answer.status_code, answer.headers["Content-Description"]) == (status, "dods_error")
    assert answer.text.startswith("Error {")
    assert words in answer.text


def test_unknown_datasets(client: httpx.Client) -> None:
    assert client.get("/dap/nothing.dds").status_code == 404
    assert client.get("/thredds/nothing/catalog.xml").status_code == 404


def test_texts_beyond_ascii(client: httpx.Client) -> None:
    names = [row["name"] for row in subset(client, dataset="places") if not row["name"].isascii()]
    assert names
    query = "rows&rows.name=%22" + names[0].encode("ascii", "backslashreplace").decode().replace("\\x", "\\u00")
    assert rows(client, "places", constraint=query + "%22")[0][1] == names[0]


def test_a_pattern_selects_texts(client: httpx.Client) -> None:
    answer = client.get("/dap/rates.dods?rows.rate&rows.day=~%222021-01-0%22")
    assert answer.content.endswith(b"\xa5\0\0\0")
    assert answer.content.count(b"\x5a\0\0\0") == 2


def test_types_of_dap_lose_nothing_unseen(tmp_path: Path) -> None:
    table = pa.table(
        {
            "small": pa.array([1, -2], pa.int64()),
            "wide": pa.array([2**40, 1], pa.int64()),
            "huge": pa.array([2**60 + 1, 1], pa.int64()),
            "holes": pa.array([7, None], pa.int32()),
            "text": pa.array(["é\U0001f697", None]),
            "yes": pa.array([True, None]),
            "at": pa.array([1_700_000_000_123_456, None], pa.timestamp("us", "UTC")),
            "single": pa.array([0.5, None], pa.float32()),
            "list": pa.array([[1, 2], None], pa.list_(pa.int64())),
        }
    )
    pq.write_table(table, path := tmp_path / "types.parquet")
    with Engine() as engine:
        planned = Subsets(engine, tmp_path).plan(path)
        statistics = Sources(engine).statistics((str(path),), "")
        kinds = {each.name: each.kind for each in variables(planned.source, statistics)}
        assert kinds == {
            "small": "Int32", "wide": "Float64", "huge": "String", "holes": "Float64", "text": "String",
            "yes": "Float64", "at": "String", "single": "Float32", "list": "String",
        }  # fmt: skip
        served = Table(planned, statistics, most_cells=100)
        data = b"".join(served.dods("", engine)).partition(b"\nData:\n")[2]
        text = b"\\u00e9\\ud83d\\ude97"
        first = (
            b"\x5a\0\0\0" + np.array(1, ">i4").tobytes() + np.array(2.0**40, ">f8").tobytes()
            + b"\0\0\0\x13" + str(2**60 + 1).encode() + b"\0" + np.array(7.0, ">f8").tobytes()
            + b"\0\0\0\x12" + text + b"\0\0" + np.array(1.0, ">f8").tobytes()
        )  # fmt: skip
        assert data.startswith(first)
        assert json.loads('"2023-11-14T22:13:20.123456Z"').encode() in data
        assert "missing values are NaN" in served.das()
        with pytest.raises(ProblemError, match="18 values"):
            Table(planned, statistics, most_cells=10).dods("", engine)
        known = {each.name: each for each in variables(planned.source, statistics)}
        with pytest.raises(ProblemError, match="can't be compared"):
            read_constraint("rows.small&rows.huge>1", "rows", known)


def test_the_examples_of_the_page_work(client: httpx.Client) -> None:
    page = Path(__file__).parents[3].joinpath("docs", "services.md").read_text("utf-8")
    addresses = [
        address
        for address in re.findall(r'"http://127\.0\.0\.1:8763(/[^"]+)"', page)
        if address.startswith(("/processes", "/downloads", "/dap"))
    ]
    assert len(addresses) == 3
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.text)
    (body,) = re.findall(r"execution --json '([^']+)'", page)
    answer = client.post("/processes/subset/execution", content=body)
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"SQLite format 3")
