"""Several processes at once on one home: they end with one release, one record, one catalogue."""

from __future__ import annotations

from pathlib import Path

import duckdb

from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.inspection import ask_ledger, check_release, drafts, records, sha256, states
from d4c_pipeline_tests.support.samples import HOST, PLACES, PLACES_URL, Origin, define, geojson


def test_two_that_publish_the_same_vintage(d4c: D4C, origin: Origin, definitions: Path) -> None:
    define(definitions)
    native = origin.put(PLACES_URL, geojson())
    # Also the home is new to both: one of them makes ledger, instance and archive.
    running = [d4c.start("publish", "places", "--json") for _ in range(2)]
    done = [one.wait() for one in running]
    assert [one.code for one in done] == [0, 0], [one.stderr for one in done]
    first, second = (one.json for one in done)
    for key in ("version", "doi", "concept_doi", "info_hash", "sha256"):
        assert first[key] == second[key]
    assert states(d4c.home) == [("2021", "0.1.0-beta", "published")]
    assert [record["doi"] for record in records(d4c.home)] == [first["doi"]]
    assert drafts(d4c.home) == []
    assert ask_ledger(d4c.home, "SELECT key FROM lease") == []
    check_release(d4c.home, first, {native.name: sha256(native)})


def test_two_vintages_of_a_rolling_series(d4c: D4C, origin: Origin, definitions: Path) -> None:
    vintages = ["2024-05", "2024-06"]
    define(definitions, series="rolling", vintages=vintages)
    for number, vintage in enumerate(vintages, 3):
        origin.put(f"{HOST}/places_{vintage}.geojson", geojson(PLACES[:number]))
    running = [d4c.start("publish", "places", "--vintage", vintage, "--json") for vintage in reversed(vintages)]
    done = [one.wait() for one in running]
    assert [one.code for one in done] == [0, 0], [one.stderr for one in done]
    june, may = (one.json for one in done)
    (latest,) = (d4c.home / "store" / "processed").iterdir()
    assert sha256(latest) == june["sha256"] != may["sha256"]
    catalogue = d4c.home / "store" / "catalogue" / "stac.parquet"
    columns = '"d4c:vintage", "d4c:latest"'
    rows = duckdb.sql(f"SELECT {columns} FROM read_parquet('{catalogue}')").fetchall()
    assert rows == [("2024-05", False), ("2024-06", True)]
