"""`d4c notice` and `d4c failed` as an operator types them, and what they advise."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.instance import embedded_instance
from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.samples import HOST, PLACES_URL, Origin, define, geojson


def test_what_changed_is_due_until_it_is_published(released: D4C, origin: Origin) -> None:
    assert released("notice", "places", "--json").json == [
        {"dataset": "places", "listed": 1, "due": [], "failed": None}
    ]
    origin.put(PLACES_URL, geojson(), modified=datetime(2025, 1, 1, tzinfo=UTC))
    assert released("notice", "places", "--json").json[0]["due"] == ["2021"]
    released.ok("publish", "places", "--vintage", "2021")
    assert released("notice", "places", "--json").json[0]["due"] == []


def test_how_far_files_are_stands_in_the_log_of_the_run(d4c: D4C, origin: Origin, definitions: Path) -> None:
    origin.put(PLACES_URL, geojson())
    define(definitions)
    d4c.ok("publish", "places", "--vintage", "2021")
    with embedded_instance(Settings(home=d4c.home)) as instance:
        (run,) = instance.get_runs()
        said = [entry.user_message for entry in instance.all_logs(run.run_id)]
    assert [line for line in said if line.startswith("places_2021.geojson fetched, ")]


def test_what_failed_is_listed_with_the_command_that_recovers_it(d4c: D4C, origin: Origin, definitions: Path) -> None:
    define(definitions)
    assert d4c("failed").stdout.strip() == "No failed partitions"
    assert d4c("publish", "places", "--vintage", "2021").code == 1
    (row,) = d4c("failed", "places", "--json").json
    assert (row["dataset"], row["partition"], row["step"], row["kind"]) == ("places", "2021", "raw", "SourceError")
    assert "does not exist (the server answered 404)" in row["cause"]
    assert row["remedy"] == "Correct the address or the vintage"
    shown = d4c("failed").stdout
    assert "places 2021 failed at 'raw'" in shown
    assert f"recovery  {row['command']}" in shown
    assert "1 failed partitions" in shown

    origin.put(PLACES_URL, geojson())
    tool, *advised = shlex.split(row["command"])
    assert tool == "d4c"
    d4c.ok(*advised)
    assert d4c("failed", "--json").json == []


def test_a_source_that_can_not_be_asked_is_told_and_remembered(d4c: D4C, origin: Origin, definitions: Path) -> None:
    define(definitions)
    done = d4c("notice", "places", "--json")
    assert done.code == 1
    assert "does not exist" in done.json[0]["failed"]
    (row,) = d4c("failed", "--json").json
    assert (row["step"], row["command"]) == ("observe", "d4c notice places")
    origin.put(PLACES_URL, geojson())
    assert d4c("notice", "places").code == 0
    assert d4c("failed", "--json").json == []


def test_names_that_nothing_has_are_told(d4c: D4C, definitions: Path) -> None:
    define(definitions)
    assert d4c("notice", "plces").sentence.startswith("There is no dataset 'plces'. Did you mean places?")
    assert d4c("failed", "plces").sentence.startswith("There is no dataset 'plces'.")
    assert d4c("publish", "places", "--member", "1").sentence == "places is not a family. Omit --member."
    assert d4c("publish", "statcan_tables").sentence == (
        "statcan_tables is a family. Name a member with --member; its current vintage is published."
    )


def test_a_listing_that_shrank_is_believed_when_a_person_says_so(d4c: D4C, definitions: Path, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    for vintage in ("2021", "2022"):
        (drop / vintage).mkdir(parents=True)
        (drop / vintage / "places.geojson").write_bytes(geojson())
    define(
        definitions,
        vintages="discovered",
        source={"kind": "folder", "path": f"{drop}/{{vintage}}", "pattern": "*.geojson", "stable_seconds": 0},
    )
    assert d4c("notice", "places", "--json").json[0]["listed"] == 2
    (drop / "2021" / "places.geojson").unlink()
    (drop / "2021").rmdir()
    refused = d4c("notice", "places", "--json")
    assert refused.code == 1
    assert "lists 1 where it listed 2 before (gone: 2021)" in refused.json[0]["failed"]
    assert "d4c notice places --accept" in refused.json[0]["failed"]
    assert d4c("notice", "places", "--json").code == 1, "still"
    believed = d4c("notice", "places", "--accept", "--json")
    assert (believed.code, believed.json[0]["listed"], believed.json[0]["due"]) == (0, 1, ["2022"])
    assert d4c("notice", "places").code == 0
    assert HOST not in believed.stdout
