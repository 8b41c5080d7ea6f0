"""The changes of a release at its address: counts, rows by column, kind and key, in three formats, and refusals."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.errors import IntegrityError, TransientError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.release_changes import ChangedRows, Wanted
from d4c_pipeline.services.subset.engine import Engine
from d4c_pipeline.services.subset.source import Sources
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.served import protocols

FIRST, SECOND = "/datasets/places/2021/0.1.0-beta", "/datasets/places/2021/0.1.1-beta"
CHANGES = f"{SECOND}/changes"


@pytest.fixture(scope="module")
def client(published: Settings) -> Iterator[httpx.Client]:
    with protocols(published) as opened:
        yield opened


def test_the_counts_with_words_and_the_file(client: httpx.Client) -> None:
    answer = client.get(CHANGES, headers={"Accept": "text/html,*/*;q=0.8"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json()
    assert (found["kind"], found["column"], found["carried"]) == ({"modified": 1}, {"population": 1}, True)
    assert found["since"].endswith("_2021_v0.1.0-beta")
    assert found["words"]["fr"][1:] == [
        "enregistrements dont des valeurs diffèrent : 1",
        "valeurs changées par colonne : population 1",
    ]
    assert "rows" not in found
    (link,) = [each["href"] for each in found["links"] if each["rel"] == "enclosure"]
    assert link.endswith("_changes.parquet")
    related = client.head(SECOND, headers={"Accept": "application/ld+json"}).headers["link"]
    assert f'{CHANGES}>; rel="related"; type="application/json"' in related
    assert "/changes>" not in client.head(FIRST, headers={"Accept": "application/ld+json"}).headers["link"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("column=population", 1),
        ("column=name,population", 1),
        ("column=name", 0),
        ("kind=modified", 1),
        ("kind=added,removed", 0),
        ("key=3", 1),
        ("key=*3", 1),
        ("key=*", 1),
        ("key=_", 0),  # no wildcard of SQL
        ("key=%25", 0),
        ("key=3&column=population&kind=modified", 1),
        ("kind=modified&offset=1", 1),
    ],
)
def test_rows_by_column_kind_and_key(client: httpx.Client, query: str, count: int) -> None:
    found = client.get(f"{CHANGES}?{query}").json()
    assert found["numberMatched"] == count
    shown = [] if "offset" in query or not count else [3]
    assert [row["key"]["id"] for row in found["rows"]] == shown
    for row in found["rows"]:
        assert (row["kind"], row["columns"]) == ("modified", ["population"])
        assert set(row["old"]) == set(row["new"]) == {"population"}
        assert row["old"]["population"] != row["new"]["population"]


def test_csv_parquet_and_the_file_itself(client: httpx.Client) -> None:
    table = client.get(f"{CHANGES}?kind=modified", headers={"Accept": "text/csv"})
    assert table.headers["content-type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(table.text))
    assert (row["key.id"], row["columns"], row["old.name"]) == ("3", "population", "")
    assert row["old.population"] != row["new.population"]
    everything = client.get(f"{CHANGES}?format=csv").text
    assert everything == table.text
    rows = client.get(f"{CHANGES}?key=3&format=parquet")
    read = pq.read_table(io.BytesIO(rows.content))
    assert read.column("kind").to_pylist() == ["modified"]
    assert rows.headers["content-disposition"].endswith('_changes.parquet"')
    moved = client.get(f"{CHANGES}?format=parquet")
    assert moved.status_code == 303
    assert moved.headers["location"].endswith("_v0.1.1-beta_changes.parquet")


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        (f"{CHANGES}?column=nothing", 400, "population"),
        (f"{CHANGES}?kind=moved", 400, "geometry_modified"),
        (f"{CHANGES}?key={'a' * 1_001}", 400, "Shorten"),
        (f"{CHANGES}?key=1&key=2", 400, "once"),
        (f"{CHANGES}?bbox=1,2,3,4", 400, "column"),
        (f"{CHANGES}?format=xlsx", 400, "parquet"),
        (f"{CHANGES}?kind=added&limit=0", 400, "whole number"),
        (f"{FIRST}/changes", 404, "after the first"),
        ("/datasets/places/2021/9.9.9/changes", 404, "catalog.json"),
    ],
)
def test_a_wrong_request_is_a_problem_document(client: httpx.Client, address: str, status: int, words: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert words in answer.json()["remedy"]


def test_another_type_is_refused(client: httpx.Client) -> None:
    answer = client.get(CHANGES, headers={"Accept": "image/png"})
    assert (answer.status_code, "text/csv" in answer.json()["remedy"]) == (406, True)


def test_too_many_values_are_refused(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_SUBSET_SYNC_CELLS", "5")
    answer = client.get(f"{CHANGES}?format=csv")
    assert (answer.status_code, "download" in answer.json()["remedy"]) == (413, True)


def shapes(path: Path, rows: int, size: int) -> Path:
    """Write the changes of `rows` geometries with `size` bytes each, before and now."""
    side = pa.StructArray.from_arrays([pa.array([bytes(size)] * rows), pa.array(["é"] * rows)], ["geometry", "name"])
    key = pa.StructArray.from_arrays([pa.array(range(rows))], ["id"])
    kinds, columns = ["modified"] * rows, [["geometry", "name"]] * rows
    table = {"kind": kinds, "columns": columns, "row": range(rows), "key": key, "old": side, "new": side}
    pq.write_table(pa.table({name: pa.array(values) for name, values in table.items()}), path, use_dictionary=False)
    return path


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(threads=1) as opened:
        yield opened


def test_a_page_has_a_limit_in_bytes(engine: Engine, tmp_path: Path) -> None:
    path = shapes(tmp_path / "changes.parquet", 10, 1_000_000)

    def page(limit: int) -> tuple[int, list[dict[str, Any]]]:
        return ChangedRows(engine, str(path), Wanted((), (), None, limit=limit), most_cells=1_000).page()

    count, rows = page(2)  # of 4 MB in hexadecimal digits each
    assert (count, [len(row["old"]["geometry"]) for row in rows]) == (10, [2_000_000] * 2)
    with pytest.raises(ProblemError, match="lower limit") as caught:
        page(3)
    assert caught.value.status == 413
    assert caught.value.detail == "The rows have 12,000,015 bytes; 8,388,608 are allowed"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_that_exceed_memory_are_too_large_not_wrong(engine: Engine, tmp_path: Path, form: str) -> None:
    path = shapes(tmp_path / "changes.parquet", 13, 4 << 20)
    rows = ChangedRows(engine, str(path), Wanted((), ("modified",), None), most_cells=1_000)
    with pytest.raises(ProblemError, match="download the file") as caught:
        list(rows.written(form, tmp_path))
    assert caught.value.status == 413
    assert rows.count() == 13


def test_parquet_of_more_rows_than_memory_holds(engine: Engine, tmp_path: Path) -> None:
    path = shapes(tmp_path / "changes.parquet", 40_000, 3_000)  # 240 MB, the engine has 200
    rows = ChangedRows(engine, str(path), Wanted((), ("modified",), None), most_cells=10**6)
    (tmp_path / "rows.parquet").write_bytes(b"".join(rows.written("parquet", tmp_path)))
    assert pq.read_metadata(tmp_path / "rows.parquet").num_rows == 40_000


@pytest.mark.parametrize("content", [None, b"PAR1 damaged PAR1"])
def test_a_file_of_this_machine_that_fails_names_no_folder(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    path = tmp_path / "changes.parquet"
    if content is not None:
        path.write_bytes(content)
    for read in (
        ChangedRows(engine, str(path), Wanted((), (), None), most_cells=1).page,
        lambda: Sources(engine).of((str(path),), ""),
    ):
        with pytest.raises(IntegrityError, match="can't be read") as caught:  # which is answered with 500
            read()
        assert str(tmp_path) not in str(caught.value)
        assert str(tmp_path) in caplog.text
        caplog.clear()


def test_an_address_that_does_not_answer_is_temporary(engine: Engine) -> None:
    address = f"http://127.0.0.1:{free_port()}/changes.parquet"
    with pytest.raises(TransientError) as caught:
        ChangedRows(engine, address, Wanted((), (), None), most_cells=1).page()
    assert str(caught.value) == "The file of changes can't be read. Ask again later."


def test_a_file_that_left_the_store_is_503_without_its_folder(client: httpx.Client, published: Settings) -> None:
    (path,) = published.home.rglob("releases/**/*_v0.1.1-beta_changes.parquet")
    aside = path.rename(path.with_name("aside"))
    try:
        answer = client.get(f"{CHANGES}?kind=modified")
    finally:
        aside.rename(path)
    assert (answer.status_code, answer.json()["detail"]) == (
        503,
        f"{path.name} is not in the store. Tell the operator: d4c fixity repairs it.",
    )
