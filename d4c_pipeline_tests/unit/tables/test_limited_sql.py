"""SQL that people write: one SELECT over the given files, for a dataset's own SQL and for the catalogue's alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.processing import transform
from d4c_pipeline.tables.duckdb_engine import connect
from d4c_pipeline.tables.limited_sql import confine, foreign_functions, parsed_select


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    for name in ("open[1].parquet", "closed.parquet"):
        pq.write_table(pa.table({"id": [1]}), tmp_path / name)
    opened = connect()
    confine(opened, [tmp_path / "open[1].parquet"])
    yield opened
    opened.close()


def test_only_the_given_file_is_read_and_the_limit_stays(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    assert connection.sql(f"FROM read_parquet('{tmp_path}/open[[]1].parquet')").fetchall() == [(1,)]
    for sql in (
        f"FROM read_parquet('{tmp_path}/closed.parquet')",
        "FROM read_text('/etc/hostname')",
        "FROM 'http://127.0.0.1:9/x.parquet'",
        "FROM glob('/etc/*')",
        "SET enable_external_access = true",
        "SET allowed_paths = ['/etc/hostname']",
        f"COPY (SELECT 1) TO '{tmp_path}/new.csv'",
    ):
        with pytest.raises(duckdb.Error, match=r"disabled by configuration|locked|Cannot|can not"):
            connection.sql(sql)
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("COPY (SELECT 1) TO 'x.csv'", "The SQL of a.sql is not a SELECT"),
        ("SELEC 1", "The SQL of a.sql is not a SELECT that DuckDB understands: syntax error"),
        ("SELECT 1; SELECT 2", "The SQL of a.sql has 2 statements"),
        ("-- nothing", "The SQL of a.sql has 0 statements"),
    ],
)
def test_other_than_one_select_is_refused(connection: duckdb.DuckDBPyConnection, sql: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parsed_select(connection, sql, "The SQL of a.sql", "Write one SELECT")
    assert caught.value.remedy == "Write one SELECT"


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("FROM range(3), unnest([1])", set()),
        ("FROM read_parquet('a')", set()),  # DuckDB rejects it by the name of the file
        ("FROM enable_logging(storage = 'file', storage_path = '/tmp/x')", {"enable_logging"}),
        ("DESCRIBE FROM Query('SELECT 1')", {"query"}),
        ("WITH a AS (FROM duckdb_settings()) SELECT (SELECT 1 FROM force_checkpoint()) FROM a",
         {"duckdb_settings", "force_checkpoint"}),
    ],
)  # fmt: skip
def test_table_functions_that_do_more_than_compute_are_found(
    connection: duckdb.DuckDBPyConnection, sql: str, names: set[str]
) -> None:
    assert foreign_functions(parsed_select(connection, sql, "", "")) == names


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT id + 1 AS id FROM source JOIN other USING (id)", None),
        (
            "COPY source TO 'x.csv'",
            r"The SQL of t.sql is not a SELECT\. Write one SELECT over the table source, other",
        ),
        ("SELECT 1; SELECT 2", "The SQL of t.sql has 2 statements"),
        ("SELECT * FROM source, query('SELECT 1')", "uses query, whose result changes between runs"),
        ("SELECT s.* FROM duckdb_settings() s", "uses duckdb_settings"),
        ("FROM read_text('/etc/hostname')", "The SQL of t.sql failed: Permission Error"),
    ],
)
def test_a_dataset_s_own_sql_has_these_limits(tmp_path: Path, sql: str, message: str | None) -> None:
    other, file = tmp_path / "other.parquet", tmp_path / "t.sql"
    pq.write_table(pa.table({"id": [1]}), other)
    file.write_text(sql)
    source = pa.table({"id": [1, 2]}).to_reader()

    def run() -> pa.Table:
        options = {"variables": {}, "with_geometry": False, "spill": tmp_path, "inputs": {"other": [other]}}
        return transform.stream(file, source, **options).read_all()

    if message is None:
        assert run().to_pydict() == {"id": [2]}
        return
    with pytest.raises(DataError, match=message):
        run()
