"""SQL over the catalogue's file: what it answers, what it refuses, and how Python opens the same rows."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import d4c_pipeline.catalogue
from d4c_pipeline.catalogue.query import answering, located
from d4c_pipeline.catalogue.stac_geoparquet import write_catalogue
from d4c_pipeline.model.errors import DataError, TransientError, UnknownNameError
from d4c_pipeline_tests.support.releases import PROVINCES, RATES, published

ITEMS = [
    published(RATES, "2025-06-04", "1.0.0"),
    published(PROVINCES, "2021", "0.9.0-beta", after="0.10.0-beta"),
    published(PROVINCES, "2021", "0.10.0-beta", previous="0.9.0-beta"),
]
ORDER = [("exchange_rates", "1.0.0"), ("provinces", "0.9.0-beta"), ("provinces", "0.10.0-beta")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("it's a [home]")
    write_catalogue(ITEMS, folder / "store" / "catalogue" / "stac.parquet")
    return folder


@pytest.fixture
def file(home: Path) -> Path:
    return home / "store" / "catalogue" / "stac.parquet"


def texts(file: Path, sql: str) -> list[tuple[str | None, ...]]:
    with answering(sql, file) as answer:
        return list(answer.texts())


def test_rows_come_as_text_and_as_json(file: Path) -> None:
    sql = "SELECT version, rows, is_latest, torrent_url IS NULL AS none, published, NULL AS n FROM releases LIMIT 1"
    assert texts(file, sql) == [("1.0.0", "90086", "true", "false", "2026-11-22 01:02:03+00", None)]
    sql = "SELECT rows, [1, NULL] AS list, 'NaN'::DOUBLE AS x, 1 AS a, 2 AS a FROM releases LIMIT 1"
    with answering(sql, file) as got:
        assert got.columns == ("rows", "list", "x", "a", "a")
        assert list(got.documents()) == [{"rows": 90086, "list": [1, None], "x": None, "a": 1, "a_1": 2}]
    assert texts(file, "SELECT dataset FROM releases WHERE false") == []
    assert texts(file, "WITH n AS (FROM releases) SELECT count(*) FROM n; -- all") == [("3",)]
    assert texts(file, "DESCRIBE releases")[0][:2] == ("dataset", "VARCHAR")
    assert texts(file, "SHOW TABLES") == [("releases",)]
    assert texts(file, "SELECT dataset, version FROM releases") == ORDER


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT nothing FROM releases", r'The query failed: Binder Error: .*"nothing" not found'),
        ("SELECT * FROM datasets", "The query failed: Catalog Error: Table with name datasets does not exist"),
        ("SELEC 1", 'is not a SELECT that DuckDB understands: syntax error at or near "SELEC"'),
        ("", "has 0 statements"),
        ("SELECT 1; SELECT 2", "has 2 statements"),
        ("SELECT ?", "The query failed"),
        ("SELECT error('no')", "The query failed: Invalid Input Error: no"),
        ("SELECT (title || id)::INT FROM releases", "The query failed: Conversion Error"),
        ("DROP VIEW releases", "is not a SELECT"),
        ("EXPLAIN ANALYZE SELECT 1", "is not a SELECT"),
        ("ATTACH 'x.db'", "is not a SELECT"),
        ("COPY releases TO 'out.csv'", "is not a SELECT"),
        ("FROM read_text('/etc/hostname')", "Permission Error"),
        ("FROM '/etc/hostname.csv'", "Permission Error"),
        ("FROM read_parquet('https://example.org/a.parquet')", "Permission Error"),
        ("FROM enable_logging(storage = 'file', storage_path = '/tmp/logs')", "calls enable_logging, which it may not"),
        ("FROM query('SELECT 1')", "calls query"),
    ],
)
def test_other_sql_is_refused_with_a_sentence(file: Path, sql: str, message: str) -> None:
    before = file.read_bytes()
    with pytest.raises(DataError, match=message) as caught:
        texts(file, sql)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    assert file.read_bytes() == before


def test_sql_can_t_overwrite_the_catalogue_that_it_reads(file: Path) -> None:
    with pytest.raises(DataError, match="is not a SELECT"):
        texts(file, f"COPY (SELECT 1) TO '{str(file).replace(chr(39), chr(39) * 2)}'")
    assert pq.read_metadata(file).num_rows == 3


def test_open_takes_file_store_home_and_the_setting(home: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (file, str(file), home / "store", home):
        assert d4c_pipeline.catalogue.open(place).project("dataset, version").fetchall() == ORDER
    monkeypatch.setenv("D4C_HOME", str(home))
    latest = d4c_pipeline.catalogue.open().filter("is_latest AND dataset = 'provinces'")
    assert latest.project("doi").fetchall() == [("10.5072/d4c.2021.0.10.0-beta",)]


@pytest.fixture
def site(home: Path) -> Iterator[str]:
    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=home / "store")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_open_takes_the_address_of_a_store(site: str) -> None:
    assert located(f"{site}/") == located(site) == f"{site}/catalogue/stac.parquet"
    assert d4c_pipeline.catalogue.open(site).project("dataset, version").fetchall() == ORDER
    with pytest.raises(TransientError, match="can't be read"):
        d4c_pipeline.catalogue.open(f"{site}/none.parquet")


def test_what_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"No catalogue is at .*d4c publish"):
        d4c_pipeline.catalogue.open(tmp_path)
    with pytest.raises(UnknownNameError, match="s3://bucket is neither a path nor"):
        d4c_pipeline.catalogue.open("s3://bucket")
    (tmp_path / "text.parquet").write_text("no Parquet")
    with pytest.raises(DataError, match="is not a catalogue"):
        d4c_pipeline.catalogue.open(tmp_path / "text.parquet")
    pq.write_table(pa.table({"dataset": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="is not a catalogue: it has no column vintage, version"):
        d4c_pipeline.catalogue.open(tmp_path / "other.parquet")


def test_the_package_opens_catalogues_and_loads_duckdb_only_then() -> None:
    program = (
        "import sys, d4c_pipeline; d4c_pipeline.catalogue.open; "
        "print([name for name in ('duckdb', 'dagster', 'pydantic', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
