"""The DuckLake over released files: newest rows, earlier ones by version and time, nothing copied, nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.catalogue.lake import Lake, write_lake
from d4c_pipeline.metadata.published import PublishedFile, PublishedMetadata
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.tables.duckdb_engine import connect
from d4c_pipeline_tests.support.published import a_published
from d4c_pipeline_tests.support.releases import RATES


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    opened = connect(extensions=("ducklake", "httpfs"))
    yield opened
    opened.close()


def _released(folder: Path) -> list[PublishedMetadata]:
    """Two vintages of a rolling table, the second with a column more, and an edition in three parts."""
    released = [
        a_published(RATES, "2025-06-04"),
        a_published(RATES, "2025-06-05", day=1),
        a_published(day=1, parts=3),
    ]
    number = 0
    for release in released:
        for file in release.data_files:
            number += 1
            columns: dict[str, list[object]] = {"number": [number], 'it\'s "odd"': ["é"]}
            if release.vintage.text == "2025-06-05":
                columns["added"] = [True]
            path = folder / file.address
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(columns), path)
    return released


def _written(folder: Path, connection: duckdb.DuckDBPyConnection, moved_to: Path | None = None) -> Lake:
    def local(_release: PublishedMetadata, file: PublishedFile) -> str:
        return str(folder / file.address)

    def public(_release: PublishedMetadata, file: PublishedFile) -> str:
        return str((moved_to or folder) / file.address)

    return write_lake(connection, folder / "lake.ducklake", _released(folder), readable=local, address=public)


def test_tables_are_the_released_files_and_versions_are_releases(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    lake = _written(tmp_path, connection)
    assert {table: [number for number, _ in numbers] for table, numbers in lake.tables.items()} == {
        "exchange_rates": [1, 2],
        "provinces_2021": [3],
    }
    before = sorted(tmp_path.rglob("*.parquet"))
    connection.execute(f"ATTACH 'ducklake:{lake.path}' AS l (READ_ONLY)")

    def rows(table: str) -> list[tuple[object, ...]]:
        return connection.execute(f"FROM l.{table} ORDER BY number").fetchall()

    assert rows("exchange_rates") == [(2, "é", True)]
    assert rows("exchange_rates AT (VERSION => 1)") == [(1, "é")]
    assert rows("exchange_rates AT (TIMESTAMP => TIMESTAMP '2026-11-22 12:00:00')") == [(1, "é")]
    assert [row[0] for row in rows("provinces_2021")] == [3, 4, 5]
    (message,) = connection.execute("SELECT commit_message FROM l.snapshots() WHERE snapshot_id = 2").fetchone() or (
        "",
    )
    assert message.endswith("2025-06-05_v1.0.0")
    with pytest.raises(duckdb.Error, match="read-only"):
        connection.execute("DELETE FROM l.exchange_rates")
    assert sorted(tmp_path.rglob("*.parquet")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake.ducklake", "releases"]


def test_the_lake_names_the_addresses_of_readers_and_no_folder_of_this_machine(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    served = tmp_path / "served"
    lake = _written(tmp_path, connection, served)
    (tmp_path / "releases").rename(tmp_path / "elsewhere")
    served.mkdir()
    (tmp_path / "elsewhere").rename(served / "releases")
    connection.execute(f"ATTACH 'ducklake:{lake.path}' AS l (READ_ONLY)")
    assert connection.execute("SELECT count(*) FROM l.provinces_2021").fetchone() == (3,)
    connection.execute("DETACH l")
    connection.execute(f"ATTACH '{lake.path}' AS m (READ_ONLY)")
    assert connection.execute("SELECT value FROM m.ducklake_metadata WHERE key = 'data_path'").fetchone() == ("rows/",)


def test_a_release_whose_file_is_gone_is_named_and_the_lake_before_stays(
    tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    _written(tmp_path, connection)
    before = (tmp_path / "lake.ducklake").read_bytes()
    release = a_published(version="2.0.0")
    with pytest.raises(PermanentError, match=r"can't hold ca_statcan_.*_v2\.0\.0"):
        write_lake(
            connection,
            tmp_path / "lake.ducklake",
            [release],
            readable=lambda _release, file: str(tmp_path / file.address),
            address=lambda _release, file: str(tmp_path / file.address),
        )
    assert (tmp_path / "lake.ducklake").read_bytes() == before
    _written(tmp_path, connection)  # what the failure left behind is in nobody's way
