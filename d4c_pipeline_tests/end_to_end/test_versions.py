"""Versions are computed: what a change of the processing, a new vintage or nothing at all makes of a release."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb

from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.inspection import check_release, drafts, published, records, sha256, tree
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES, Origin, corrected, define, geojson

FIRST = "SELECT id, name, population, geometry FROM source"
CORRECTED = "SELECT id, name, CASE id WHEN 3 THEN 7430 ELSE population END AS population, geometry FROM source"
WITH_COLUMN = "SELECT *, length(name) AS letters FROM (" + CORRECTED + ")"
RENAMED = "SELECT id, name, population AS inhabitants, letters, geometry FROM (" + WITH_COLUMN + ")"
REMOVED = "SELECT id, name, letters, geometry FROM (" + WITH_COLUMN + ")"


def catalogued(home: Path) -> list[tuple[Any, ...]]:
    """Vintage, version, latest, deprecated of every row of the catalogue."""
    path = home / "store" / "catalogue" / "stac.parquet"
    columns = '"d4c:vintage", version, "d4c:latest", deprecated'
    return duckdb.sql(f"SELECT {columns} FROM read_parquet('{path}')").fetchall()


def served(home: Path) -> dict[str, str]:
    """What /processed/ serves, by the end of its name."""
    return {path.stem.rpartition("foundation_")[2]: sha256(path) for path in (home / "store" / "processed").iterdir()}


def test_versions_follow_from_what_changed(d4c: D4C, origin: Origin, definitions: Path) -> None:
    origin.put(f"{HOST}/places_2021.geojson", geojson())
    history: list[dict[str, Any]] = []

    def publish(sql: str, *options: str) -> dict[str, Any]:
        """Publish; whatever was published before must be the same byte for byte afterwards."""
        define(definitions, sql=sql)
        releases = d4c.home / "store" / "releases"
        before = tree(releases) if releases.exists() else {}
        row = d4c.ok("publish", "places", *options)
        after = tree(releases)
        assert {name: after.get(name) for name in before} == before
        assert served(d4c.home) == {"places_2021": row["sha256"]}
        history.append(row)
        return row

    first = publish(FIRST)
    assert (first["version"], first["reasons"]) == ("0.1.0-beta", ["first release"])
    whole = published(d4c.home)
    again = publish(FIRST + " -- another way to say the same")
    assert (again["outcome"], again["version"], again["doi"]) == ("unchanged", "0.1.0-beta", first["doi"])
    assert published(d4c.home) == whole
    assert len(records(d4c.home)) == 1

    assert (publish(CORRECTED)["version"], history[-1]["change"]) == ("0.1.1-beta", "patch")
    assert (publish(WITH_COLUMN)["version"], history[-1]["reasons"]) == ("0.2.0-beta", ["column letters added"])
    renamed = publish(RENAMED)
    assert renamed["version"] == "1.0.0-beta"
    assert renamed["reasons"][0].startswith("column population")
    removed = publish(REMOVED)
    assert (removed["version"], removed["reasons"]) == ("2.0.0-beta", ["column inhabitants removed"])
    # The operator may ask for more than was measured, and never gets less.
    raised = publish(REMOVED, "--bump", "minor")
    assert (raised["version"], raised["sha256"]) == ("2.1.0-beta", removed["sha256"])
    lowered = publish(FIRST, "--bump", "patch")
    assert (lowered["version"], lowered["change"]) == ("3.0.0-beta", "major")
    check_release(d4c.home, lowered, {"places_2021.geojson": hashlib.sha256(geojson()).hexdigest()})

    dois = [row["doi"] for row in history]
    assert dois[0] == dois[1]
    assert len(set(dois)) == 7
    assert {row["concept_doi"] for row in history} == {first["concept_doi"]}
    assert {record["doi"] for record in records(d4c.home)} == set(dois)
    assert drafts(d4c.home) == []
    versions = ["0.1.0-beta", "0.1.1-beta", "0.2.0-beta", "1.0.0-beta", "2.0.0-beta", "2.1.0-beta", "3.0.0-beta"]
    assert catalogued(d4c.home) == [
        ("2021", version, version == "3.0.0-beta", version != "3.0.0-beta") for version in versions
    ]
    assert [row["version"] for row in d4c.ok("releases", "places")] == versions


def test_corrected_data_at_the_source_is_a_patch_and_both_natives_stay(
    d4c: D4C, origin: Origin, definitions: Path
) -> None:
    define(definitions)
    url = f"{HOST}/places_2021.geojson"
    origin.put(url, geojson())
    first = d4c.ok("publish", "places")
    origin.put(url, corrected(), DAY + timedelta(days=1))
    second = d4c.ok("publish", "places")
    assert (second["version"], second["change"]) == ("0.1.1-beta", "patch")
    kept = tree(d4c.home / "store" / "raw")
    assert set(kept.values()) == {hashlib.sha256(native).hexdigest() for native in (geojson(), corrected())}
    # Rows that were added while all earlier keys are still there: coverage grew.
    grown = [*PLACES, (5, "Montréal", 1762949, -73.567, 45.502)]
    origin.put(url, geojson(grown), DAY + timedelta(days=2))
    third = d4c.ok("publish", "places")
    assert (third["version"], third["change"], third["rows"]) == ("0.2.0-beta", "minor", 5)
    assert first["concept_doi"] == second["concept_doi"] == third["concept_doi"]


def test_editions_stay_products_of_their_own(d4c: D4C, origin: Origin, definitions: Path) -> None:
    define(definitions, vintages=["2021", "2016"])
    origin.put(f"{HOST}/places_2021.geojson", geojson())
    origin.put(f"{HOST}/places_2016.geojson", geojson(PLACES[:2]))
    newest = d4c.ok("publish", "places")
    older = d4c.ok("publish", "places", "--vintage", "2016")
    assert (newest["vintage"], older["vintage"]) == ("2021", "2016")  # without a word, the newest vintage
    assert older["concept_doi"] != newest["concept_doi"]
    assert served(d4c.home) == {"places_2021": newest["sha256"], "places_2016": older["sha256"]}
    assert catalogued(d4c.home) == [("2016", "0.1.0-beta", True, False), ("2021", "0.1.0-beta", True, False)]


def test_a_rolling_series_goes_on_and_never_back(d4c: D4C, origin: Origin, definitions: Path) -> None:
    def declare(sql: str) -> None:
        define(definitions, sql=sql, series="rolling", vintages=["2024-05", "2024-06"])

    declare(FIRST)
    origin.put(f"{HOST}/places_2024-05.geojson", geojson(PLACES[:3]))
    origin.put(f"{HOST}/places_2024-06.geojson", geojson())
    may = d4c.ok("publish", "places", "--vintage", "2024-05")
    assert served(d4c.home) == {"places": may["sha256"]}
    june = d4c.ok("publish", "places", "--vintage", "2024-06")
    assert served(d4c.home) == {"places": june["sha256"]}
    assert may["sha256"] != june["sha256"]
    assert catalogued(d4c.home) == [("2024-05", "0.1.0-beta", False, True), ("2024-06", "0.1.0-beta", True, False)]

    # New code for the old vintage: a new version of it, and readers of the series stay where they were.
    declare(WITH_COLUMN)
    backfilled = d4c.ok("publish", "places", "--vintage", "2024-05")
    assert (backfilled["version"], backfilled["concept_doi"]) == ("0.2.0-beta", may["concept_doi"])
    assert backfilled["latest_url"].endswith("_places.parquet")
    assert served(d4c.home) == {"places": june["sha256"]}
    assert catalogued(d4c.home) == [
        ("2024-05", "0.1.0-beta", False, True),
        ("2024-05", "0.2.0-beta", False, True),
        ("2024-06", "0.1.0-beta", True, False),
    ]


def test_a_discovered_vintage_can_be_worked_on_after_the_source_left_it(
    d4c: D4C, origin: Origin, definitions: Path
) -> None:
    def declare(sql: str) -> None:
        source = {"kind": "http", "urls": [f"{HOST}/places.geojson"]}
        define(definitions, sql=sql, series="rolling", vintages="discovered", source=source)

    declare(FIRST)
    origin.put(f"{HOST}/places.geojson", geojson(PLACES[:3]))
    monday = d4c.ok("publish", "places")
    assert monday["vintage"] == "2024-05-06"
    origin.put(f"{HOST}/places.geojson", geojson(), DAY + timedelta(days=1))
    tuesday = d4c.ok("publish", "places")
    assert tuesday["vintage"] == "2024-05-07"

    declare(WITH_COLUMN)
    again = d4c.ok("publish", "places", "--vintage", "2024-05-06")
    assert (again["vintage"], again["version"], again["rows"]) == ("2024-05-06", "0.2.0-beta", 3)
    assert served(d4c.home) == {"places": tuesday["sha256"]}
    never = d4c("publish", "places", "--vintage", "2024-05-05").sentence
    assert never.startswith("The source of places has no vintage 2024-05-05. It serves 2024-05-07 now")
