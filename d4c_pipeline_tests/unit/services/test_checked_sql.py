"""SQL of strangers over a release: one SELECT over `data`; attacks are refused with a sentence before they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.services.mcp.checked_sql import answer

MOST = {"rows": 5, "bytes": 20_000, "seconds": 1.0}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sql") / "secret[1] place" / "a.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"id": list(range(10)), "name": [f"n{i}" for i in range(10)]}), path)
    return path


def asked(file: Path, sql: str) -> dict[str, Any]:
    return answer(sql, [str(file)], None, (), MOST)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT count(*) FROM data", [[10]]),
        ("SELECT sum(id) FROM data; -- all", [[45]]),
        ("SELECT 'é;' AS x /* ; */ ;", [["é;"]]),
        ("WITH a AS (FROM data WHERE id > 7) SELECT name FROM a ORDER BY id DESC", [["n9"], ["n8"]]),
        ("SELECT max(l.id) FROM data l JOIN data r USING (id)", [[9]]),
        ("VALUES (2::HUGEINT, 10::HUGEINT ** 30, 'NaN'::DOUBLE, DATE '2021-05-11', [1, NULL])",
         [[2, 1e30, None, "2021-05-11", "[1, NULL]"]]),
        ("SELECT 9007199254740993", [["9007199254740993"]]),
        ("SELECT column_name FROM (DESCRIBE data)", [["id"], ["name"]]),
        ("WITH RECURSIVE t AS (SELECT 1 i UNION ALL SELECT i + 1 FROM t WHERE i < 4) SELECT sum(i) FROM t", [[10]]),
    ],
)  # fmt: skip
def test_a_select_over_the_release(file: Path, sql: str, rows: list[Any]) -> None:
    assert asked(file, sql)["rows"] == rows


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("COPY data TO '/tmp/x.csv'", "is not a SELECT"),
        ("ATTACH '/tmp/x.db'", "is not a SELECT"),
        ("INSTALL httpfs", "is not a SELECT"),
        ("LOAD spatial", "is not a SELECT"),
        ("SET enable_external_access = true", "is not a SELECT"),
        ("PRAGMA database_list", "is not a SELECT"),
        ("CREATE TABLE x AS SELECT 1", "is not a SELECT"),
        ("EXPORT DATABASE '/tmp/x'", "is not a SELECT"),
        ("CALL pragma_version()", "is not a SELECT"),
        ("EXPLAIN SELECT 1", "is not a SELECT"),
        ("SELECT 1; SELECT 2", "has 2 statements"),
        ("SELECT 1) UNION ALL (SELECT 2", "syntax error"),
        ("", "has 0 statements"),
        ("FROM read_csv('/etc/passwd')", "calls read_csv"),
        ("FROM read_parquet('a.parquet')", "calls read_parquet"),
        ("SELECT (SELECT content FROM read_text('/etc/passwd'))", "calls read_text"),
        ("WITH a AS (FROM glob('/etc/*')) FROM a", "calls glob"),
        ("FROM st_read('/etc/passwd')", "calls st_read"),
        ("FROM query('SELECT 1')", "calls query"),
        ("FROM duckdb_settings()", "calls duckdb_settings"),
        ("FROM enable_logging(storage = 'file')", "calls enable_logging"),
        ("FROM '/etc/passwd'", "reads /etc/passwd"),
        ("FROM 'https://example.com/x.parquet'", "reads https://example.com/x.parquet"),
        ("SELECT * FROM data WHERE id IN (SELECT 1 FROM duckdb_views)", "reads duckdb_views"),
        ("FROM information_schema.tables", "reads tables"),
        ("FROM memory.main.data", "reads data"),
        ("WITH duckdb_views AS (SELECT 1) SELECT (SELECT sql FROM duckdb_views)", "defines duckdb_views"),
        ("SHOW TABLES", "shows tables"),
        ("SELECT getenv('HOME')", "calls getenv"),
        ("SELECT current_setting('allowed_paths')", "calls current_setting"),
        ("SELECT list_transform([1], x -> current_setting('allowed_paths'))", "calls current_setting"),
        ("SELECT sleep_ms(100000)", "calls sleep_ms"),
        ("SELECT write_log('x')", "calls write_log"),
        ("SELECT count(*) FROM range(1000000) a, range(1000000) b", "longer than 1 seconds"),
        ("WITH RECURSIVE t AS (SELECT 1 i UNION ALL SELECT i + 1 FROM t) SELECT count(*) FROM t", "longer than 1"),
        (f"SELECT {', '.join(['1'] * 201)}", "201 columns"),
        ("SELECT nope FROM data", 'column "nope" not found'),
        ("SELECT " + "(" * 3_000 + "1", "syntax error"),
    ],
)  # fmt: skip
def test_all_else_is_refused(file: Path, sql: str, words: str) -> None:
    cause, remedy = asked(file, sql)["problem"]
    assert words in cause
    assert remedy
    assert "secret" not in cause


def test_a_query_has_its_own_limit_of_memory(file: Path) -> None:
    sql = "SELECT list(range) FROM range(100000000)"
    problem = answer(sql, [str(file)], None, (), {**MOST, "seconds": 60.0})["problem"]
    assert problem[0] == "The query needs more memory than a query may use"


def test_an_error_of_a_file_names_no_folder(tmp_path: Path) -> None:
    (path := tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    (cause, _) = asked(path, "FROM data")["problem"]
    assert "a.parquet" in cause
    assert str(tmp_path) not in cause
